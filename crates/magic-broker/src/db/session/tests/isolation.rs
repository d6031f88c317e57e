//! What one request does to its database session is nothing to the next one.

use magic_contract::Environment;

use super::super::super::DatabaseOptions;
use super::super::super::fixture::TestDatabase;
use super::super::*;
use super::{LIMITS, READ, WRITE, publish, run, session, soon, statement};

/// Whatever a request does to its session ends with it.
#[tokio::test(flavor = "multi_thread")]
async fn session_state_does_not_leak() {
    let test = TestDatabase::postgres(|options| options.pool_size = 1).await;
    test.run("CREATE ROLE magic_raw NOLOGIN").await;
    let first = session(&test, WRITE);
    let statements = [
        "SELECT set_config('search_path', 'evil', false)",
        "SELECT set_config('statement_timeout', '0', false)",
        "SELECT count(pg_advisory_lock(1))",
        "CREATE TEMPORARY TABLE leak (id int)",
        "PREPARE leak AS SELECT 1",
        "DECLARE leak CURSOR WITH HOLD FOR SELECT 1",
        "LISTEN leak",
    ];
    for sql in statements {
        statement(&first, true, sql).await.unwrap();
    }
    first.commit(Commit::default()).await.unwrap();
    let second = session(&test, WRITE);
    for (sql, expected) in [
        (
            "SELECT count(*) FROM pg_settings WHERE name = 'search_path' AND setting = 'evil'",
            "0",
        ),
        (
            "SELECT count(*) FROM pg_class WHERE relname = 'leak' AND pg_table_is_visible(oid)",
            "0",
        ),
        (
            "SELECT count(*) FROM pg_prepared_statements WHERE name = 'leak'",
            "0",
        ),
        ("SELECT count(*) FROM pg_cursors WHERE name = 'leak'", "0"),
        ("SELECT count(*) FROM pg_listening_channels()", "0"),
        (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
            "0",
        ),
        (
            "SELECT setting::int FROM pg_settings WHERE name = 'client_connection_check_interval'",
            "500",
        ),
    ] {
        assert_eq!(run(&second, sql).await.unwrap(), expected, "{sql}");
    }

    let test = TestDatabase::sqlite(|_| {}).await;
    let first = session(&test, WRITE);
    statement(
        &first,
        true,
        "PRAGMA temp_store = 2; CREATE TEMP TABLE leak (id int)",
    )
    .await
    .unwrap();
    first.commit(Commit::default()).await.unwrap();
    let second = session(&test, WRITE);
    for sql in [
        "SELECT count(*) FROM sqlite_temp_schema",
        "PRAGMA temp_store",
    ] {
        assert_eq!(run(&second, sql).await.unwrap(), "0", "{sql}");
    }
}

/// A role that reaches a schema of the runtime, its state's in the same database included, is refused, with what to type.
#[tokio::test(flavor = "multi_thread")]
async fn raw_roles_reach_no_schema_of_the_runtime() {
    let test = TestDatabase::postgres(|_| {}).await;
    test.run("CREATE ROLE magic_raw NOLOGIN; CREATE SCHEMA magic_state; CREATE TABLE magic_state.api_keys (id int)")
        .await;
    let mut options = DatabaseOptions::new(test.url.clone(), Environment::Production);
    options.raw_role = Some("magic_raw".to_owned());
    Database::open(options.clone()).await.unwrap();
    for (grant, revoke) in [
        (
            "GRANT USAGE ON SCHEMA magic_state TO PUBLIC",
            "REVOKE ALL ON SCHEMA magic_state FROM PUBLIC",
        ),
        (
            "GRANT SELECT ON magic_state.api_keys TO magic_raw",
            "REVOKE ALL ON magic_state.api_keys FROM magic_raw",
        ),
    ] {
        test.run(grant).await;
        let refused = Database::open(options.clone()).await.unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("REVOKE ALL ON SCHEMA magic_state"),
            "{refused}"
        );
        test.run(revoke).await;
        Database::open(options.clone()).await.unwrap();
    }
}

/// Raw SQL has its own role for exactly its own calls, and cannot reach the runtime's tables.
#[tokio::test(flavor = "multi_thread")]
async fn raw_sql_has_a_role_of_its_own() {
    let test = TestDatabase::postgres(|_| {}).await;
    test.run("CREATE ROLE magic_raw NOLOGIN; CREATE TABLE t (id int); GRANT SELECT, INSERT ON t TO magic_raw")
        .await;
    let mut options = DatabaseOptions::new(test.url.clone(), Environment::Production);
    options.raw_role = Some("magic_raw".to_owned());
    let database = Database::open(options).await.unwrap();
    let session = DatabaseSession::new(database, WRITE, soon(), LIMITS);
    let raw =
        "SELECT count(*) FROM pg_roles WHERE rolname = current_user AND rolname = 'magic_raw'";
    for expected in ["0", "1", "0"] {
        let found = statement(&session, expected == "1", raw).await.unwrap();
        assert_eq!(found, expected);
    }
    statement(&session, true, "INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    for refused in [
        "SELECT count(*) FROM magic.outbox",
        "INSERT INTO magic.outbox (request, effect) VALUES ('', '')",
        "DELETE FROM t",
    ] {
        let failure = statement(&session, true, refused).await.unwrap_err();
        assert!(failure.internal.unwrap().contains("permission denied"));
    }
    // The same, as the runtime itself.
    run(&session, "SELECT count(*) FROM magic.outbox")
        .await
        .unwrap();
    statement(&session, true, "INSERT INTO t VALUES (2)")
        .await
        .unwrap();
    let effects = [publish("a")];
    let commit = Commit {
        outbox: &effects,
        idempotency: None,
    };
    session.commit(commit).await.unwrap();
    assert_eq!(test.number("SELECT count(*) FROM t").await, 2);
    assert_eq!(test.number("SELECT count(*) FROM magic.outbox").await, 1);
}

/// In production raw SQL needs confinement; in development it does not.
#[tokio::test(flavor = "multi_thread")]
async fn production_confines_raw_sql() {
    let production =
        TestDatabase::sqlite(|options| options.environment = Environment::Production).await;
    let failure = session(&production, WRITE).check_raw().unwrap_err();
    assert_eq!(failure.code, ErrorCode::CapabilityDenied);
    assert_eq!(failure.details["layer"], "database");
    assert!(failure.message.contains("raw_role"), "{failure}");
    let development = TestDatabase::sqlite(|_| {}).await;
    session(&development, WRITE).check_raw().unwrap();
    session(&development, READ).check_raw().unwrap_err();
}
