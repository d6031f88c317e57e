//! Budgets: rows and bytes that come back, rows that are changed.

use crate::db::testing::{Bench, LIMITS};
use magic_contract::ErrorCode;
use serde_json::json;

const SCHEMA: &str = "
    CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT);
    INSERT INTO words VALUES (1, 'a'), (2, 'b'), (3, 'c');";

#[tokio::test]
async fn rows_and_bytes_are_bounded() {
    for mut bench in Bench::both(SCHEMA).await {
        bench.limits.rows_per_call = 2;
        let failure = bench
            .call("db.query", &json!({"table": "words"}))
            .await
            .unwrap_err();
        assert_eq!(failure.code, ErrorCode::BudgetExceeded, "{}", bench.name());
        assert_eq!(failure.details["budget"], "rows");
        assert!(failure.message.contains("`limit`"), "{failure}");
        let failure = bench
            .call("db.raw", &json!({"sql": "SELECT * FROM words"}))
            .await
            .unwrap_err();
        assert_eq!(failure.details["budget"], "rows");
        let page = json!({"table": "words", "limit": 2});
        assert!(bench.call("db.query", &page).await.is_ok());

        bench.limits = LIMITS;
        bench.limits.bytes_per_call = 4_096;
        let long = "x".repeat(3_000);
        for id in [10, 11] {
            bench
                .sql(&format!("INSERT INTO words VALUES ({id}, '{long}')"))
                .await;
        }
        let one = json!({"table": "words", "where": {"id": 10}});
        assert!(bench.call("db.query", &one).await.is_ok());
        for (method, params) in [
            ("db.query", json!({"table": "words"})),
            ("db.raw", json!({"sql": "SELECT * FROM words ORDER BY id"})),
            (
                "db.update",
                json!({"table": "words", "set": {"id": 12}, "where": {"id": {"gte": 11}},
                       "returning": ["id", "word"]}),
            ),
        ] {
            if method == "db.update" {
                bench.limits.bytes_per_call = 2_048;
            }
            let failure = bench.call(method, &params).await.unwrap_err();
            assert_eq!(
                failure.code,
                ErrorCode::BudgetExceeded,
                "{}: {failure}",
                bench.name()
            );
            assert_eq!(
                failure.details["budget"],
                "bytes",
                "{}: {method}",
                bench.name()
            );
        }
    }
}

#[tokio::test]
async fn changed_rows_are_bounded() {
    let all = json!({"table": "words", "set": {"word": "z"}, "where": {"id": {"gt": 0}}});
    for mut bench in Bench::both(SCHEMA).await {
        bench.may("[db:read, {db:write: {tables: [words], max_rows: 2}}, db:rawsql]");
        let failure = bench.call("db.update", &all).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::BudgetExceeded);
        assert_eq!(failure.details["budget"], "rows");
        assert_eq!(
            failure.details["line"],
            "- db:write: { tables: [words], max_rows: 3 }"
        );
        let raw = json!({"sql": "UPDATE words SET word = 'z'"});
        let failure = bench.call("db.raw", &raw).await.unwrap_err();
        assert_eq!(
            failure.details["line"],
            "- db:write: { tables: [words], max_rows: 3 }"
        );
        // Refused, and therefore not done.
        let changed = json!({"table": "words", "where": {"word": "z"}});
        assert_eq!(bench.call("db.count", &changed).await.unwrap(), json!(0));
        bench.may("[db:read, {db:write: {tables: [words], max_rows: 3}}]");
        bench.limits.writes_left = 4;
        assert_eq!(
            bench.call("db.update", &all).await.unwrap(),
            json!({"count": 3})
        );
        assert_eq!(bench.facts["row_count"], json!(3));
        assert_eq!(bench.limits.writes_left, 1);
        let failure = bench.call("db.update", &all).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::BudgetExceeded);
        let two = json!({"table": "words", "rows": [{"id": 20}, {"id": 21}]});
        let failure = bench.call("db.insert", &two).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::BudgetExceeded);
        let one = json!({"table": "words", "rows": [{"id": 20}]});
        assert!(bench.call("db.insert", &one).await.is_ok());
        assert_eq!(bench.limits.writes_left, 0);
    }
}
