//! Tables that may not be touched, each with a twin that may.

use crate::db::testing::Bench;
use magic_contract::ErrorCode;
use serde_json::json;

const SCHEMA: &str = "
    CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE secrets (id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE magic_outbox (id INTEGER PRIMARY KEY);
    CREATE VIEW names AS SELECT name FROM customers;
    INSERT INTO customers VALUES (1, 'Ada');";

#[tokio::test]
async fn only_listed_tables_by_their_one_name() {
    for mut bench in Bench::both(SCHEMA).await {
        bench.may("[{db:read: {tables: [customers, names, nothing, magic_outbox, pg_class]}}]");
        let allowed = bench.call("db.count", &json!({"table": "customers"})).await;
        assert_eq!(allowed.unwrap(), json!(1), "{}", bench.name());
        let view = bench.call("db.count", &json!({"table": "names"})).await;
        assert_eq!(view.unwrap(), json!(1), "{}", bench.name());
        for name in [
            "secrets",
            "Customers",
            "CUSTOMERS",
            "public.customers",
            "main.customers",
            "\"customers\"",
            "customers.",
            ".customers",
            "a.b.customers",
            "U&\"\\0063ustomers\"",
            "customers; DROP TABLE customers",
            "customers\0",
            "pg_catalog.pg_authid",
            "information_schema.tables",
            "sqlite_schema",
            "sqlite_master",
            "pragma_table_info",
            "magic.outbox",
            "",
        ] {
            let failure = bench
                .call("db.count", &json!({"table": name}))
                .await
                .unwrap_err();
            assert_eq!(
                failure.code,
                ErrorCode::TargetNotAllowed,
                "{}: {name}: {failure}",
                bench.name()
            );
            assert!(failure.details.contains_key("layer"), "{failure:?}");
        }
        // Listing them does not help: the database's own tables, and the runtime's, by their prefix
        // where there are no schemas.
        if bench.is_postgres() {
            let failure = bench
                .call("db.count", &json!({"table": "pg_class"}))
                .await
                .unwrap_err();
            assert_eq!(failure.code, ErrorCode::TargetNotAllowed, "{failure}");
        } else {
            for name in ["magic_outbox", "Magic_Outbox"] {
                let failure = bench
                    .call("db.count", &json!({"table": name}))
                    .await
                    .unwrap_err();
                assert_eq!(failure.code, ErrorCode::TargetNotAllowed, "{failure}");
            }
        }
        // A table that is listed and does not exist is no refusal, and nothing unlisted is named.
        let failure = bench
            .call("db.count", &json!({"table": "nothing"}))
            .await
            .unwrap_err();
        assert_eq!(failure.code, ErrorCode::ControllerFailed);
        let listed = failure.details["tables"].to_string();
        assert!(
            listed.contains("customers") && !listed.contains("secrets"),
            "{listed}"
        );
    }
}

/// A bare capability covers all tables, and still each by one name only.
#[tokio::test]
async fn a_bare_capability_has_no_aliases() {
    for mut bench in Bench::both(SCHEMA).await {
        assert!(
            bench
                .call("db.count", &json!({"table": "secrets"}))
                .await
                .is_ok()
        );
        for name in ["public.secrets", "main.secrets"] {
            let refused = bench
                .call("db.count", &json!({"table": name}))
                .await
                .unwrap_err();
            if bench.is_postgres() == name.starts_with("public") {
                assert_eq!(refused.code, ErrorCode::TargetNotAllowed, "{refused}");
                assert!(refused.message.contains("write `secrets`"), "{refused}");
            }
        }
        let refused = bench.call("db.count", &json!({"table": "SECRETS"})).await;
        assert!(refused.is_err(), "{}", bench.name());
        if bench.is_postgres() {
            bench
                .sql(
                    "CREATE SCHEMA billing; CREATE TABLE billing.invoices (id int); \
                      CREATE SCHEMA magic; CREATE TABLE magic.outbox (id int)",
                )
                .await;
            let other = bench
                .call("db.count", &json!({"table": "billing.invoices"}))
                .await;
            assert_eq!(other.unwrap(), json!(0));
            let own = bench
                .call("db.count", &json!({"table": "magic.outbox"}))
                .await;
            assert_eq!(own.unwrap_err().code, ErrorCode::TargetNotAllowed);
        }
    }
}

#[tokio::test]
async fn writing_needs_the_right_to_write() {
    let insert = json!({"table": "customers", "rows": [{"id": 2}]});
    for mut bench in Bench::both(SCHEMA).await {
        bench.may("[db:read]");
        let failure = bench.call("db.insert", &insert).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::CapabilityUndeclared);
        bench.may("[{db:write: {tables: [secrets]}}]");
        let failure = bench.call("db.insert", &insert).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::TargetNotAllowed);
        bench.may("[{db:write: {tables: [customers, names]}}]");
        assert!(bench.call("db.insert", &insert).await.is_ok());
        // A view may have triggers behind it.
        let view = json!({"table": "names", "rows": [{"name": "x"}]});
        let failure = bench.call("db.insert", &view).await.unwrap_err();
        assert!(failure.message.contains("view"), "{failure}");
    }
}
