//! Finds a statement that begins or ends a transaction in a script.
//!
//! Only the first word of each statement counts. Bodies of triggers and
//! functions have semicolons, `BEGIN` and `END` of their own, so inside
//! `CREATE ... TRIGGER|FUNCTION|PROCEDURE ... BEGIN` statements are not told apart
//! until the matching `END`. Strings, comments and dollar quotes are the
//! tokenizer's work. What it cannot read, the database judges.

use sqlparser::dialect::{Dialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::tokenizer::{Token, Tokenizer};

const CONTROL: [&str; 6] = ["BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"];
const WITH_BODY: [&str; 3] = ["TRIGGER", "FUNCTION", "PROCEDURE"];

/// The line, from 1, and the word of the first such statement.
pub(super) fn transaction_control_postgres(sql: &str) -> Option<(u64, String)> {
    transaction_control(&PostgreSqlDialect {}, sql)
}

/// The same for SQLite.
pub(super) fn transaction_control_sqlite(sql: &str) -> Option<(u64, String)> {
    transaction_control(&SQLiteDialect {}, sql)
}

fn transaction_control(dialect: &dyn Dialect, sql: &str) -> Option<(u64, String)> {
    let tokens = Tokenizer::new(dialect, sql).tokenize_with_location().ok()?;
    let mut at_start = true;
    let mut creates = false;
    let mut may_have_body = false;
    let mut depth = 0_u32;
    for token in tokens {
        match token.token {
            Token::Whitespace(_) => {}
            Token::SemiColon if depth == 0 => {
                at_start = true;
                creates = false;
                may_have_body = false;
            }
            Token::Word(word) if word.quote_style.is_none() => {
                let word = word.value.to_ascii_uppercase();
                if at_start {
                    at_start = false;
                    if CONTROL.contains(&word.as_str()) {
                        return Some((token.span.start.line, word));
                    }
                    creates = word == "CREATE";
                } else if creates {
                    may_have_body |= WITH_BODY.contains(&word.as_str());
                    match word.as_str() {
                        "BEGIN" if may_have_body => depth += 1,
                        "CASE" if depth > 0 => depth += 1,
                        "END" => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                }
            }
            _ => at_start = false,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found, and what only looks like it.
    #[test]
    fn control_is_found_where_it_is() {
        for (sql, found) in [
            ("CREATE TABLE a (b int);\nCOMMIT;", Some((2, "COMMIT"))),
            ("/* x */ begin; SELECT 1", Some((1, "BEGIN"))),
            ("-- COMMIT\nSELECT 'x; COMMIT';", None),
            (
                "CREATE TABLE a (\"begin\" int); ;\n\n ROLLBACK",
                Some((3, "ROLLBACK")),
            ),
            (
                "CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE a SET b = CASE WHEN 1 THEN 2 END; SELECT 1; END;\nEND",
                Some((2, "END")),
            ),
            (
                "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;",
                None,
            ),
            (
                "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT 3;",
                None,
            ),
            ("", None),
            ("'", None),
        ] {
            let expected = found.map(|(line, word): (u64, &str)| (line, word.to_owned()));
            assert_eq!(transaction_control_postgres(sql), expected, "{sql}");
            assert_eq!(transaction_control_sqlite(sql), expected, "{sql}");
        }
    }
}
