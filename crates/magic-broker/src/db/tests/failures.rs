//! What the database says when it fails: which code, whether trying again may help, and no word
//! of the database's own.

use crate::db::testing::Bench;
use magic_contract::ErrorCode;
use serde_json::json;

#[tokio::test]
async fn failures_say_whether_to_try_again() {
    let mut bench = Bench::postgres(
        "CREATE FUNCTION fail(code text) RETURNS int LANGUAGE plpgsql AS
         $$ BEGIN RAISE EXCEPTION 'SECRET' USING ERRCODE = code; END $$;
         CREATE VIEW serialization AS SELECT fail('40001') AS a;
         CREATE VIEW deadlock AS SELECT fail('40P01') AS a;
         CREATE VIEW locked AS SELECT fail('55P03') AS a;
         CREATE VIEW connections AS SELECT fail('53300') AS a;
         CREATE VIEW starting AS SELECT fail('57P03') AS a;
         CREATE VIEW broken AS SELECT fail('XX000') AS a;
         CREATE VIEW raised AS SELECT fail('P0001') AS a;
         CREATE VIEW slow AS SELECT pg_sleep(60)::text AS a;
         CREATE VIEW denied AS SELECT 1 AS a;
         CREATE VIEW fatal AS SELECT pg_terminate_backend(pg_backend_pid()) AS a;",
    )
    .await;
    for (table, retriable) in [
        ("serialization", true),
        ("deadlock", true),
        ("locked", true),
        ("connections", true),
        ("starting", true),
        ("broken", false),
        ("raised", false),
    ] {
        let failure = bench
            .call("db.query", &json!({"table": table}))
            .await
            .unwrap_err();
        assert_eq!(failure.code, ErrorCode::ControllerFailed, "{table}");
        assert_eq!(failure.reason(), Some("backend"), "{table}");
        assert_eq!(
            failure.details["retriable"], retriable,
            "{table}: {failure:?}"
        );
        assert!(
            !serde_json::to_string(&failure).unwrap().contains("SECRET"),
            "{table}"
        );
    }
    bench.sql("SET statement_timeout = '50ms'").await;
    for (method, params) in [
        ("db.query", json!({"table": "slow"})),
        (
            "db.raw",
            json!({"sql": "SELECT count(*) AS n FROM generate_series(1, 1000000000)"}),
        ),
    ] {
        let failure = bench.call(method, &params).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::BudgetExceeded, "{failure:?}");
        assert_eq!(failure.details["budget"], "time");
    }
    bench
        .sql("SET statement_timeout = 0; CREATE ROLE nobody_here; SET ROLE nobody_here")
        .await;
    let failure = bench
        .call("db.query", &json!({"table": "denied"}))
        .await
        .unwrap_err();
    assert_eq!(failure.reason(), Some("backend"));
    assert_eq!(failure.details["retriable"], false, "{failure:?}");
    bench.sql("RESET ROLE").await;
    assert!(
        bench
            .call("db.query", &json!({"table": "denied"}))
            .await
            .is_ok()
    );
    let failure = bench
        .call("db.query", &json!({"table": "fatal"}))
        .await
        .unwrap_err();
    assert_eq!(failure.details["retriable"], true, "{failure:?}");
}

/// A connection that may only read refuses with the line that would allow more.
#[tokio::test]
async fn sqlite_says_the_same() {
    let mut bench = Bench::sqlite(
        "CREATE TABLE t (a INTEGER);
         CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.a = 7
         BEGIN SELECT RAISE(ABORT, 'SECRET'); END;",
    )
    .await;
    let insert = |a: i64| json!({"table": "t", "rows": [{"a": a}]});
    let failure = bench.call("db.insert", &insert(7)).await.unwrap_err();
    assert_eq!(failure.details["retriable"], false);
    assert!(
        failure.message.contains("a rule of the database"),
        "{failure}"
    );
    let outside = serde_json::to_string(&failure).unwrap();
    assert!(!outside.contains("SECRET"), "{outside}");
    assert!(bench.call("db.insert", &insert(8)).await.is_ok());
    bench.sql("PRAGMA query_only = ON").await;
    let failure = bench.call("db.insert", &insert(8)).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::TargetNotAllowed);
    assert_eq!(failure.details["line"], "- db:write: { tables: [t] }");
    assert!(bench.call("db.count", &json!({"table": "t"})).await.is_ok());
}
