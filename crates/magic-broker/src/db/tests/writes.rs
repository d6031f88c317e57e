//! Insert, update and delete, and what the database says about them.

use super::rows;
use crate::db::testing::Bench;
use magic_contract::ErrorCode;
use serde_json::{Value, json};

const SCHEMA: &str = "
    CREATE TABLE accounts (
        id bigserial PRIMARY KEY,
        email TEXT NOT NULL UNIQUE,
        state TEXT DEFAULT 'new',
        balance NUMERIC(12, 2) CHECK (balance >= 0),
        parent INTEGER REFERENCES accounts (id));";

#[tokio::test]
async fn rows_are_written_and_given_back() {
    for mut bench in Bench::both(SCHEMA).await {
        // Rows of different shapes keep their order, and what is missing has its default.
        let answer = bench
            .call(
                "db.insert",
                &json!({"table": "accounts", "returning": ["id", "email", "state", "balance"],
                    "rows": [
                        {"id": 1, "email": "a", "balance": {"$decimal": "1.25"}},
                        {"email": "b", "id": 2, "state": null},
                        {"id": 3, "email": "c", "state": "old"}]}),
            )
            .await
            .unwrap();
        assert_eq!(
            answer,
            json!({"count": 3, "columns": {"balance": "decimal"}, "rows": [
                {"id": 1, "email": "a", "state": "new", "balance": "1.25"},
                {"id": 2, "email": "b", "state": null, "balance": null},
                {"id": 3, "email": "c", "state": "old", "balance": null}]}),
            "{}",
            bench.name()
        );
        assert_eq!(bench.facts["operation"], "insert");
        assert_eq!(bench.facts["table"], "accounts");
        assert_eq!(bench.facts["row_count"], 3);
        assert_eq!(bench.facts["query_hash"].as_str().map(str::len), Some(16));
        let updated = bench
            .call(
                "db.update",
                &json!({"table": "accounts", "set": {"state": "x", "balance": 2},
                        "where": {"id": {"lte": 2}}, "returning": ["balance"]}),
            )
            .await
            .unwrap();
        assert_eq!(updated["count"], json!(2), "{}", bench.name());
        let deleted = bench
            .call(
                "db.delete",
                &json!({"table": "accounts", "where": {"id": 3}, "returning": ["email"]}),
            )
            .await
            .unwrap();
        assert_eq!(
            deleted,
            json!({"count": 1, "columns": {}, "rows": [{"email": "c"}]})
        );
        let none = bench
            .call(
                "db.delete",
                &json!({"table": "accounts", "where": {"id": 3}}),
            )
            .await
            .unwrap();
        assert_eq!(none, json!({"count": 0}));
        let left = rows(
            &mut bench,
            json!({"table": "accounts", "columns": ["state"]}),
        )
        .await;
        assert_eq!(left, json!([{"state": "x"}, {"state": "x"}]));
        let nothing = bench
            .call("db.insert", &json!({"table": "accounts", "rows": []}))
            .await;
        assert_eq!(nothing.unwrap(), json!({"count": 0}));
    }
}

#[tokio::test]
async fn many_rows_in_one_call() {
    for mut bench in Bench::both(SCHEMA).await {
        bench.limits.writes_left = 10_000;
        bench.limits.rows_per_call = 10_000;
        let many: Vec<Value> = (0..10_000)
            .map(|id| json!({"id": id, "email": id.to_string(), "state": "s", "balance": id, "parent": null}))
            .collect();
        let answer = bench
            .call(
                "db.insert",
                &json!({"table": "accounts", "rows": many, "returning": ["id"]}),
            )
            .await
            .unwrap();
        assert_eq!(answer["count"], json!(10_000));
        assert_eq!(
            answer["rows"][9_999],
            json!({"id": 9_999}),
            "{}",
            bench.name()
        );
        let more: Vec<Value> = (0..10_001).map(|id| json!({"id": id})).collect();
        let failure = bench
            .call("db.insert", &json!({"table": "accounts", "rows": more}))
            .await
            .unwrap_err();
        assert!(failure.message.contains("at most 10000"), "{failure}");
    }
}

#[tokio::test]
async fn a_where_that_spares_nothing_is_refused() {
    for mut bench in Bench::both(SCHEMA).await {
        for condition in [
            json!(null),
            json!({}),
            json!({"and": []}),
            json!({"not": {"or": []}}),
            json!({"or": [{"id": 1}, {}]}),
            json!({"id": {"not_in": []}}),
        ] {
            for (method, mut params) in [
                (
                    "db.update",
                    json!({"table": "accounts", "set": {"state": "x"}}),
                ),
                ("db.delete", json!({"table": "accounts"})),
            ] {
                params["where"] = condition.clone();
                let failure = bench.call(method, &params).await.unwrap_err();
                assert!(
                    failure.message.contains("which rows"),
                    "{condition}: {failure}"
                );
            }
        }
        let params = json!({"table": "accounts", "where": {"id": {"is_null": false}}});
        assert_eq!(
            bench.call("db.delete", &params).await.unwrap(),
            json!({"count": 0})
        );
    }
}

/// A broken constraint is named, the row's values are not, and trying again is no use.
#[tokio::test]
async fn constraints_are_named() {
    let row = |row: Value| json!({"table": "accounts", "rows": [row]});
    for mut bench in Bench::both(SCHEMA).await {
        let first = row(json!({"id": 1, "email": "SECRET"}));
        assert!(bench.call("db.insert", &first).await.is_ok());
        for (params, kind, named) in [
            (row(json!({"id": 2, "email": "SECRET"})), "unique", "email"),
            (row(json!({"id": 2})), "not_null", "email"),
            (
                row(json!({"id": 2, "email": "x", "balance": -77})),
                "check",
                "balance",
            ),
            (
                row(json!({"id": 2, "email": "x", "parent": 77})),
                "foreign_key",
                "accounts",
            ),
        ] {
            let failure = bench.call("db.insert", &params).await.unwrap_err();
            assert_eq!(failure.code, ErrorCode::ControllerFailed);
            assert_eq!(
                failure.details["kind"],
                kind,
                "{}: {failure:?}",
                bench.name()
            );
            assert_eq!(failure.details["retriable"], false);
            assert!(
                failure.message.contains(named),
                "{}: {failure}",
                bench.name()
            );
            let outside = serde_json::to_string(&failure).unwrap();
            assert!(
                !outside.contains("SECRET") && !outside.contains("77"),
                "{outside}"
            );
        }
        for (params, expected) in [
            (
                json!({"table": "accounts", "set": {}, "where": {"id": 1}}),
                "`set` is empty",
            ),
            (
                json!({"table": "accounts", "set": {"emial": "x"}, "where": {"id": 1}}),
                "`email`?",
            ),
        ] {
            let failure = bench.call("db.update", &params).await.unwrap_err();
            assert!(failure.message.contains(expected), "{failure}");
        }
        let twice = r#"{"table": "accounts", "rows": [{"id": 5, "id": 6}]}"#;
        assert!(bench.text("db.insert", twice).await.is_err());
    }
}

/// A table that changes under the catalogue's description: retriable once, then right.
#[tokio::test]
async fn a_migration_is_noticed() {
    for mut bench in Bench::both(SCHEMA).await {
        let query = json!({"table": "accounts"});
        assert!(bench.call("db.query", &query).await.is_ok());
        bench
            .sql("ALTER TABLE accounts RENAME COLUMN state TO status")
            .await;
        let failure = bench.call("db.query", &query).await.unwrap_err();
        assert_eq!(
            failure.details["retriable"],
            true,
            "{}: {failure:?}",
            bench.name()
        );
        assert!(
            bench.call("db.query", &query).await.is_ok(),
            "{}",
            bench.name()
        );
    }
}
