//! The only maker of SQL text.
//!
//! A [`Writer`] takes words of our own, which the compiler makes us write into the source, names,
//! which it quotes, and values, which it binds. There is no way to append any other text, so the
//! text of a statement depends on names of the catalogue and on the shape of a call and never on a
//! value; that this is so is a matter of types and not of care.
//!
//! The one exception is [`CheckedSql`], the raw SQL of an author, which only the checker in `raw`
//! makes.

use super::kind::Dialect;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// A value on its way into a statement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Bound {
    /// SQL's NULL.
    Null,
    /// A whole number.
    Integer(i64),
    /// A floating point number. SQLite only; PostgreSQL is sent text.
    Real(f64),
    /// Text, which PostgreSQL casts to the column's type.
    Text(String),
    /// Bytes. SQLite only; PostgreSQL is sent text.
    Bytes(Vec<u8>),
}

/// The name of a type as SQL text. Only a catalogue makes it, from what the server itself prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TypeName(String);

impl TypeName {
    /// The name as PostgreSQL's `format_type` printed it: quoted where it must be.
    pub(super) fn printed_by_the_server(name: String) -> Self {
        Self(name)
    }

    /// For messages.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Raw SQL that was read, judged and printed again by the checker.
#[derive(Debug, Clone)]
pub(crate) struct CheckedSql(String);

impl CheckedSql {
    /// For the checker alone.
    pub(super) fn vouched_for(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// SQL text and the values that its placeholders stand for.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    text: String,
    values: Vec<Bound>,
}

/// Statements with more placeholders than this are not kept prepared: their shape is seldom seen
/// again, and each one kept pushes out another.
const PLACEHOLDERS_WORTH_KEEPING: usize = 100;

impl Statement {
    /// The SQL text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The values, in the order of their placeholders.
    pub(crate) fn values(&self) -> &[Bound] {
        &self.values
    }

    /// Whether the server should keep it prepared.
    pub(crate) fn is_worth_keeping(&self) -> bool {
        self.values.len() <= PLACEHOLDERS_WORTH_KEEPING
    }
}

/// Identifies statements by their text alone: the first 16 hexadecimal digits of its SHA-256.
pub(crate) fn query_hash<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text.as_bytes());
        hasher.update(b"\n");
    }
    let mut hash = String::with_capacity(16);
    for byte in hasher.finalize().iter().take(8) {
        let _ = write!(hash, "{byte:02x}");
    }
    hash
}

/// Writes one statement.
#[derive(Debug)]
pub(crate) struct Writer {
    dialect: Dialect,
    text: String,
    values: Vec<Bound>,
}

impl Writer {
    /// An empty statement.
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            text: String::new(),
            values: Vec::new(),
        }
    }

    /// The dialect that is written.
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Appends words of our own.
    pub(crate) fn words(&mut self, words: &'static str) -> &mut Self {
        self.text.push_str(words);
        self
    }

    /// Appends a name, quoted as standard SQL quotes it.
    pub(crate) fn name(&mut self, name: &str) -> &mut Self {
        self.text.push('"');
        for character in name.chars() {
            if character == '"' {
                self.text.push('"');
            }
            self.text.push(character);
        }
        self.text.push('"');
        self
    }

    /// Appends a name that consists of a letter and a number, such as `c7`.
    pub(crate) fn numbered(&mut self, letter: char, number: usize) -> &mut Self {
        let letter = if letter.is_ascii_lowercase() {
            letter
        } else {
            'x'
        };
        let _ = write!(self.text, "{letter}{number}");
        self
    }

    /// Appends an author's own SQL.
    pub(crate) fn checked(&mut self, sql: &CheckedSql) -> &mut Self {
        self.text.push_str(&sql.0);
        self
    }

    /// Binds a value. PostgreSQL is told that it is text, and casts it to `cast`.
    pub(crate) fn bind(&mut self, value: Bound, cast: Option<&TypeName>) -> &mut Self {
        self.placeholder(value);
        if let (Dialect::Postgres, Some(cast)) = (self.dialect, cast) {
            self.text.push_str("::");
            self.text.push_str(&cast.0);
        }
        self
    }

    /// Binds a list of values of type `of`, as the text of an array. PostgreSQL only.
    pub(crate) fn bind_list(&mut self, values: Bound, of: &TypeName) -> &mut Self {
        self.bind(values, Some(of));
        self.text.push_str("[]");
        self
    }

    /// Binds a number of rows or bytes.
    pub(crate) fn bind_count(&mut self, count: u64) -> &mut Self {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        match self.dialect {
            Dialect::Sqlite => self.placeholder(Bound::Integer(count)),
            Dialect::Postgres => {
                self.placeholder(Bound::Text(count.to_string()));
                self.text.push_str("::int8");
            }
        }
        self
    }

    fn placeholder(&mut self, value: Bound) {
        self.values.push(value);
        match self.dialect {
            // Numbered ones SQLite looks up one by one, each in a list as long as there are many.
            Dialect::Sqlite => self.text.push('?'),
            Dialect::Postgres => {
                let _ = write!(self.text, "${}::text", self.values.len());
            }
        }
    }

    /// Takes over the values of a statement that was written before this one, whose placeholders
    /// are part of what comes next. Nothing may have been bound yet.
    pub(crate) fn values_before(&mut self, values: Vec<Bound>) -> &mut Self {
        debug_assert!(self.values.is_empty(), "placeholders would be renumbered");
        self.values = values;
        self
    }

    /// Writes `items`, each by `write`, with `between` between them.
    pub(crate) fn list<T>(
        &mut self,
        items: &[T],
        between: &'static str,
        mut write: impl FnMut(&mut Self, &T),
    ) -> &mut Self {
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.words(between);
            }
            write(self, item);
        }
        self
    }

    /// Writes `items` joined by a binary operator as a balanced tree. SQLite limits the depth of an
    /// expression, and `a AND b AND c` is as deep as it is long.
    pub(crate) fn tree<T>(
        &mut self,
        items: &[T],
        operator: &'static str,
        write: &mut impl FnMut(&mut Self, &T),
    ) {
        match items {
            [] => {}
            [one] => write(self, one),
            many => {
                let (left, right) = many.split_at(many.len() / 2);
                self.words("(");
                self.tree(left, operator, write);
                self.words(operator);
                self.tree(right, operator, write);
                self.words(")");
            }
        }
    }

    /// The finished statement.
    pub(crate) fn finish(self) -> Statement {
        Statement {
            text: self.text,
            values: self.values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_values_are_bound() {
        let mut writer = Writer::new(Dialect::Postgres);
        let uuid = TypeName::printed_by_the_server("uuid".to_owned());
        writer
            .words("SELECT ")
            .name("a\"; DROP TABLE b; --")
            .words(" = ")
            .bind(Bound::Text("x' OR 1=1".to_owned()), Some(&uuid));
        let statement = writer.finish();
        assert_eq!(
            statement.text(),
            "SELECT \"a\"\"; DROP TABLE b; --\" = $1::text::uuid"
        );
    }

    #[test]
    fn a_tree_is_as_deep_as_the_logarithm_of_its_leaves() {
        let mut writer = Writer::new(Dialect::Sqlite);
        writer.tree(&[1, 2, 3, 4], " AND ", &mut |writer, number| {
            writer.numbered('c', *number);
        });
        assert_eq!(writer.finish().text(), "((c1 AND c2) AND (c3 AND c4))");
    }
}
