//! The checker alone: what it lets through and what it does not.

use super::{Action, read};
use crate::db::kind::Dialect;
use magic_contract::ErrorCode;
use std::time::{Duration, Instant};

/// Refusals of PostgreSQL's dialect, by the rule that refuses; `misuse` where it cannot be read.
#[test]
fn what_is_refused() {
    for (sql, rule) in [
        ("SET ROLE postgres", "statement-kind"),
        ("SET statement_timeout = 0", "statement-kind"),
        ("SET SESSION AUTHORIZATION postgres", "statement-kind"),
        ("RESET ALL", "statement-kind"),
        ("COPY t TO PROGRAM 'id'", "statement-kind"),
        ("COPY t FROM '/etc/passwd'", "statement-kind"),
        ("DO $$ BEGIN END $$", "misuse"),
        ("CALL p()", "statement-kind"),
        ("LISTEN x", "statement-kind"),
        ("NOTIFY x", "statement-kind"),
        ("LOCK TABLE t", "statement-kind"),
        ("PREPARE x AS SELECT 1", "statement-kind"),
        ("EXECUTE x", "statement-kind"),
        ("EXPLAIN ANALYZE SELECT 1", "statement-kind"),
        ("VACUUM", "statement-kind"),
        ("BEGIN", "statement-kind"),
        ("COMMIT", "statement-kind"),
        ("ROLLBACK", "statement-kind"),
        ("SAVEPOINT a", "statement-kind"),
        ("CREATE TABLE t (a int)", "statement-kind"),
        ("CREATE TABLE t AS SELECT 1", "statement-kind"),
        ("DROP TABLE t", "statement-kind"),
        ("ALTER TABLE t ADD a int", "statement-kind"),
        ("TRUNCATE t", "statement-kind"),
        ("GRANT ALL ON t TO PUBLIC", "statement-kind"),
        ("SELECT 1; SELECT 2", "statements"),
        ("SELECT 1; DROP TABLE t", "statements"),
        ("", "statements"),
        ("-- nothing", "statements"),
        ("SELECT * INTO n FROM t", "select-into"),
        ("TABLE t", "misuse"),
        ("SELECT 1 UNION TABLE t", "table-command"),
        ("SELECT pg_sleep(1)", "function"),
        ("SELECT PG_SLEEP(1)", "function"),
        ("SELECT \"pg_sleep\"(1)", "function"),
        ("SELECT pg_catalog.pg_sleep(1)", "function"),
        ("SELECT public.f(1)", "function"),
        ("SELECT lo_import('/etc/passwd')", "function"),
        ("SELECT pg_read_file('/etc/passwd')", "function"),
        ("SELECT set_config('role', 'postgres', false)", "function"),
        ("SELECT current_setting('data_directory')", "function"),
        ("SELECT pg_advisory_lock(1)", "function"),
        (
            "SELECT query_to_xml('SELECT 1', true, true, '')",
            "function",
        ),
        ("SELECT dblink('', 'SELECT 1')", "function"),
        ("SELECT setval('s', 1)", "function"),
        ("SELECT repeat('x', 1000000000)", "function"),
        ("SELECT * FROM pg_ls_dir('/')", "function"),
        ("SELECT * FROM LATERAL pg_ls_dir('/') AS x", "function"),
        (
            "SELECT count(*) FILTER (WHERE pg_sleep(1) IS NULL) FROM t",
            "function",
        ),
        ("SELECT 1 FROM t ORDER BY pg_sleep(1)", "function"),
        (
            "SELECT 1 FROM t LIMIT length(pg_read_file('x'))",
            "function",
        ),
        ("INSERT INTO t VALUES (pg_sleep(1))", "function"),
        (
            "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = pg_sleep(1)",
            "function",
        ),
        ("INSERT INTO t VALUES (1) RETURNING pg_sleep(1)", "function"),
        ("UPDATE t SET a = 1 FROM pg_ls_dir('/') AS x", "function"),
        ("SELECT * FROM pg_authid", "reserved-table"),
        ("SELECT * FROM PG_AUTHID", "reserved-table"),
        ("SELECT * FROM \"pg_authid\"", "reserved-table"),
        ("SELECT * FROM pg_catalog.pg_authid", "reserved-table"),
        ("SELECT * FROM information_schema.tables", "reserved-table"),
        ("SELECT * FROM magic.outbox", "reserved-table"),
        ("SELECT * FROM \"magic\".outbox", "reserved-table"),
        ("SELECT * FROM magic_state.api_keys", "reserved-table"),
        ("SELECT * FROM \"magic_state\".api_keys", "reserved-table"),
        ("UPDATE magic_state.deployments SET a = 1", "reserved-table"),
        ("SELECT (SELECT 1 FROM pg_authid LIMIT 1)", "reserved-table"),
        (
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM t JOIN pg_authid ON true)",
            "reserved-table",
        ),
        (
            "WITH x AS (SELECT * FROM pg_authid) SELECT * FROM x",
            "reserved-table",
        ),
        ("DELETE FROM magic.outbox", "reserved-table"),
        ("UPDATE magic.outbox SET a = 1", "reserved-table"),
        ("DELETE FROM t USING pg_authid", "reserved-table"),
        ("SELECT * FROM a.b.c", "table-name"),
        (
            "WITH x AS (INSERT INTO t VALUES (1) RETURNING a) SELECT * FROM x",
            "change-in-with",
        ),
        (
            "WITH x AS (DELETE FROM t RETURNING a) INSERT INTO u SELECT * FROM x",
            "change-in-with",
        ),
        ("SELECT 1 OPERATOR(public.+) 2", "operator"),
        ("SELECT $2", "misuse"),
        ("SELECT $0", "misuse"),
        ("SELECT ?", "misuse"),
        ("SELECT :a", "misuse"),
        ("SELECT 'open", "misuse"),
        ("this is no SQL", "misuse"),
    ] {
        let parameters = usize::from(sql.contains('$') && !sql.contains("$$"));
        let Err(failure) = read(Dialect::Postgres, sql, parameters) else {
            panic!("let through: {sql}");
        };
        let found = failure
            .details
            .get("rule")
            .and_then(serde_json::Value::as_str)
            .unwrap_or("misuse");
        assert_eq!(found, rule, "{sql}: {failure}");
        let code = if rule == "misuse" {
            ErrorCode::ControllerFailed
        } else {
            ErrorCode::TargetNotAllowed
        };
        assert_eq!(failure.code, code, "{sql}");
    }
}

#[test]
fn what_sqlite_refuses() {
    for sql in [
        "PRAGMA writable_schema = 1",
        "ATTACH DATABASE 'x' AS y",
        "VACUUM INTO 'x'",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM SQLITE_SCHEMA",
        "SELECT * FROM main.sqlite_schema",
        "SELECT * FROM temp.t",
        "SELECT * FROM magic_outbox",
        "SELECT * FROM Magic_Outbox",
        "SELECT * FROM [magic_outbox]",
        "SELECT * FROM `magic_outbox`",
        "SELECT * FROM pragma_table_info('t')",
        "SELECT * FROM pragma_database_list",
        "SELECT * FROM dbstat",
        "SELECT load_extension('x')",
        "SELECT readfile('/etc/passwd')",
        "SELECT writefile('x', 'y')",
        "SELECT fts3_tokenizer('x', 'y')",
        "SELECT zeroblob(1000000000)",
        "SELECT printf('%1000000000d', 1)",
        "INSERT INTO sqlite_schema VALUES (1)",
        "DELETE FROM magic_outbox",
        "SELECT 1; SELECT 2",
    ] {
        assert!(read(Dialect::Sqlite, sql, 0).is_err(), "{sql}");
    }
}

#[test]
fn what_is_let_through() {
    for (dialect, sql) in [
        (
            Dialect::Postgres,
            "SELECT a, count(*) FROM t GROUP BY a HAVING count(*) > 1 ORDER BY 2",
        ),
        (
            Dialect::Postgres,
            "SELECT coalesce(a, 'x'), lower(b) FROM s.t WHERE c ILIKE '%x%'",
        ),
        (
            Dialect::Postgres,
            "SELECT a->>'x', b::date, now() - interval '1 day' FROM t",
        ),
        (
            Dialect::Postgres,
            "SELECT DISTINCT ON (a) a, b FROM t ORDER BY a, b DESC NULLS LAST",
        ),
        (
            Dialect::Postgres,
            "SELECT sum(a) OVER (PARTITION BY b ORDER BY c) FROM t",
        ),
        (
            Dialect::Postgres,
            "SELECT * FROM generate_series(1, 3) AS g(n)",
        ),
        (
            Dialect::Postgres,
            "SELECT * FROM t, LATERAL jsonb_array_elements(t.j) AS e",
        ),
        (
            Dialect::Postgres,
            "SELECT CASE WHEN a = 1 THEN 'x' ELSE 'y' END FROM t",
        ),
        (Dialect::Postgres, "SELECT E'a\\'b', $t$it's$t$, 'it''s' "),
        (Dialect::Postgres, "VALUES (1, 2), (3, 4)"),
        (
            Dialect::Postgres,
            "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT * FROM n",
        ),
        (
            Dialect::Postgres,
            "SELECT a FROM t WHERE b IN (SELECT b FROM u) FOR UPDATE SKIP LOCKED",
        ),
        (
            Dialect::Postgres,
            "INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = excluded.a RETURNING a",
        ),
        (
            Dialect::Postgres,
            "UPDATE t SET a = u.b FROM u WHERE t.id = u.id",
        ),
        (
            Dialect::Postgres,
            "SELECT extract(year FROM a), position('x' IN b), substring(b FROM 1 FOR 2), trim(b) FROM t",
        ),
        (
            Dialect::Postgres,
            "SELECT array_agg(a ORDER BY b), string_agg(c, ',') FILTER (WHERE d) FROM t",
        ),
        (
            Dialect::Postgres,
            "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a) FROM t",
        ),
        (
            Dialect::Postgres,
            "SELECT ARRAY[1, 2], (ARRAY[1, 2])[1], ROW(1, 2)",
        ),
        (
            Dialect::Sqlite,
            "SELECT a, group_concat(b) FROM t GROUP BY a",
        ),
        (
            Dialect::Sqlite,
            "SELECT json_extract(j, '$.x') FROM t WHERE a GLOB 'x*'",
        ),
        (
            Dialect::Sqlite,
            "INSERT OR REPLACE INTO t (a) VALUES (1) RETURNING a",
        ),
        (
            Dialect::Sqlite,
            "SELECT e.value FROM t, json_each(t.j) AS e",
        ),
        (
            Dialect::Sqlite,
            "SELECT datetime('now'), strftime('%Y', a) FROM t",
        ),
        (Dialect::Sqlite, "UPDATE main.t SET a = 1"),
    ] {
        let result = read(dialect, sql, 0);
        assert!(result.is_ok(), "{sql}: {result:?}");
    }
}

#[test]
fn actions_are_told() {
    let action = |sql: &str| read(Dialect::Postgres, sql, 0).map(|checked| checked.action);
    for (sql, operation, target, returning) in [
        (
            "INSERT INTO Public.T VALUES (1)",
            "insert",
            vec!["public", "t"],
            false,
        ),
        (
            "INSERT INTO \"T\" VALUES (1) RETURNING a",
            "insert",
            vec!["T"],
            true,
        ),
        (
            "WITH x AS (SELECT 1) UPDATE t SET a = 1",
            "update",
            vec!["t"],
            false,
        ),
        (
            "DELETE FROM ONLY_T WHERE a = 1 RETURNING *",
            "delete",
            vec!["only_t"],
            true,
        ),
        (
            "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE",
            "merge",
            vec!["t"],
            false,
        ),
    ] {
        let expected = Action::Change {
            operation,
            target: target.into_iter().map(ToOwned::to_owned).collect(),
            returning,
        };
        assert_eq!(action(sql).ok(), Some(expected), "{sql}");
    }
    let locked = action("SELECT 1 FROM (SELECT a FROM t FOR SHARE) AS q");
    assert_eq!(locked.ok(), Some(Action::Read { locks: true }));
}

/// No text makes the checker slow, or its tree too deep for the stack.
#[test]
fn hostile_shapes_end_soon() {
    let many = |text: &str, times: usize| text.repeat(times);
    for sql in [
        format!("SELECT {}1", many("1+", 1_900)),
        format!("SELECT {}1", many("1+", 20_000)),
        format!("SELECT {}1{}", many("(", 12), many(")", 12)),
        format!("SELECT {}1{}", many("(", 1_000), many(")", 1_000)),
        format!("SELECT * FROM {}t{}", many("(", 12), many(")", 12)),
        format!("SELECT * FROM {}(SELECT 1){}", many("(", 11), many(")", 11)),
        format!("SELECT {}a", many("NOT ", 3_000)),
        format!("SELECT {}a", many("- ", 3_000)),
        format!(
            "SELECT {}1{}",
            many("CASE WHEN ", 1_000),
            many(" THEN 1 END", 1_000)
        ),
        format!("SELECT a{}", many("::int", 1_300)),
        format!("SELECT 1 {}", many("UNION SELECT 1 ", 1_200)),
        format!("SELECT {}", many("a.", 1_900)),
        format!("SELECT {}", many("a[1]", 900)),
        format!("SELECT {}x{}", many("f(", 12), many(")", 12)),
        format!("SELECT 1 WHERE {}1", many("a BETWEEN 1 AND ", 700)),
        format!(
            "{}SELECT 1{}",
            many("WITH a AS (", 12),
            many(") SELECT 1", 12)
        ),
        format!("SELECT {}1", many("EXISTS ", 1_000)),
        format!("SELECT * FROM t {}", many("JOIN t ON true ", 700)),
        many("(", 3_000),
        many("[", 3_000),
        many("'", 3_001),
        many("/*", 3_000),
        many("$$", 3_001),
    ] {
        for dialect in [Dialect::Postgres, Dialect::Sqlite] {
            let started = Instant::now();
            let _ = read(dialect, &sql, 0);
            let took = started.elapsed();
            let shown: String = sql.chars().take(40).collect();
            assert!(took < Duration::from_secs(5), "{shown}: {took:?}");
        }
    }
}
