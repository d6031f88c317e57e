//! Opening a database, and what is said when that cannot be.

use std::os::unix::fs::PermissionsExt;

use tokio::task::JoinSet;

use super::super::fixture::{TestDatabase, connect};
use super::super::postgres_server::Postgres;
use super::*;

fn options(url: DatabaseUrl) -> DatabaseOptions {
    DatabaseOptions::new(url, Environment::Production)
}

/// A new file and its folder are their owner's alone.
#[tokio::test(flavor = "multi_thread")]
async fn files_are_private() {
    let test = TestDatabase::sqlite(|_| {}).await;
    let DatabasePlace::Sqlite(path) = test.url.place() else {
        panic!("a file");
    };
    let mode = |path: &std::path::Path| {
        let about = std::fs::metadata(path).unwrap();
        about.permissions().mode() & 0o777
    };
    assert_eq!(mode(path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    test.run("CREATE TABLE t (id int)").await;
    for beside in ["-wal", "-shm"] {
        let mut name = path.clone().into_os_string();
        name.push(beside);
        if let Ok(about) = std::fs::metadata(&name) {
            assert_eq!(about.permissions().mode() & 0o777, 0o600);
        }
    }
}

/// Several programs may open a new database at once.
#[tokio::test(flavor = "multi_thread")]
async fn several_may_open_at_once() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().unwrap();
    for url in [
        DatabaseUrl::sqlite(folder.path().join("a.db")),
        DatabaseUrl::parse(&server.url("postgres")).unwrap(),
    ] {
        let mut programs = JoinSet::new();
        for _ in 0..6 {
            programs.spawn(Database::open(options(url.clone())));
        }
        while let Some(database) = programs.join_next().await {
            let database = database.unwrap().unwrap();
            assert_eq!(database.outbox().depth().await.unwrap(), 0);
        }
    }
}

/// A later version's tables are not touched.
#[tokio::test(flavor = "multi_thread")]
async fn later_tables_are_refused() {
    for test in TestDatabase::both().await {
        test.run(if test.server.is_some() {
            "INSERT INTO magic.version (number) VALUES (99)"
        } else {
            "INSERT INTO magic_version (number) VALUES (99)"
        })
        .await;
        let error = Database::open(options(test.url.clone())).await.unwrap_err();
        assert!(
            matches!(error, DatabaseError::Later { found: 99, .. }),
            "{error}"
        );
    }
}

/// What cannot be opened says what to do, and never its password.
#[tokio::test(flavor = "multi_thread")]
async fn errors_of_opening() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a database, and long enough to be read as one").unwrap();
    let nobody = format!(
        "postgres://ada:s3cret@localhost/shop?host={}",
        folder.path().display()
    );
    let wrong = "postgres://ada:s3cret@localhost/shop?sslmode=perhaps".to_owned();
    let below = format!("sqlite://{}/a.db", file.display());
    let not_one = format!("sqlite://{}", file.display());
    for (url, expected) in [
        (nobody, "see that it runs"),
        (wrong, "parameters"),
        (below, "cannot create"),
        (not_one, "cannot connect"),
    ] {
        let url = DatabaseUrl::parse(&url).unwrap();
        let error = Database::open(options(url)).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}

/// A role for raw SQL that can do too much is refused with what to type, and one
/// that cannot is accepted.
#[tokio::test(flavor = "multi_thread")]
async fn roles_for_raw_sql_are_checked() {
    let test = TestDatabase::postgres(|_| {}).await;
    test.run(
        "CREATE ROLE runtime LOGIN; GRANT ALL ON DATABASE postgres TO runtime;
         ALTER SCHEMA magic OWNER TO runtime;
         ALTER TABLE magic.version OWNER TO runtime; ALTER TABLE magic.outbox OWNER TO runtime;
         ALTER TABLE magic.idempotency OWNER TO runtime; ALTER TABLE magic.migrations OWNER TO runtime;
         CREATE ROLE fit; GRANT fit TO runtime;
         CREATE ROLE stranger;
         CREATE ROLE admin SUPERUSER; GRANT admin TO runtime;
         CREATE ROLE creator CREATEROLE; GRANT creator TO runtime;
         CREATE ROLE member; GRANT runtime TO member;
         CREATE ROLE reacher; GRANT reacher TO runtime; GRANT SELECT ON magic.outbox TO reacher;
         CREATE ROLE user_of; GRANT user_of TO runtime; GRANT USAGE ON SCHEMA magic TO user_of;
         CREATE ROLE filer; GRANT filer TO runtime; GRANT pg_read_server_files TO filer",
    )
    .await;
    let url = test.url.clone();
    let DatabasePlace::Postgres(postgres) = url.place() else {
        panic!("a server");
    };
    let as_runtime = postgres.as_str().replace("postgres@", "runtime@");
    for (role, expected) in [
        ("fit", None),
        ("nobody", Some("CREATE ROLE \"nobody\" NOLOGIN")),
        ("stranger", Some("GRANT \"stranger\" TO \"runtime\"")),
        ("admin", Some("NOSUPERUSER")),
        ("creator", Some("NOCREATEROLE")),
        ("member", Some("a member of it")),
        ("runtime", Some("the runtime's own role")),
        ("reacher", Some("REVOKE ALL")),
        ("user_of", Some("REVOKE ALL")),
        ("filer", Some("pg_read_server_files")),
    ] {
        let mut options = options(DatabaseUrl::parse(&as_runtime).unwrap());
        options.raw_role = Some(role.to_owned());
        let opened = Database::open(options).await;
        match (opened, expected) {
            (Ok(_), None) => {}
            (Err(DatabaseError::RawRole(problem)), Some(expected)) => {
                assert!(problem.contains(expected), "{role}: {problem}");
            }
            (other, _) => panic!("{role}: {other:?}"),
        }
    }
}

/// A role that may not create the schema is told what to type.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_may_be_made_by_an_administrator() {
    let server = Postgres::start();
    let mut admin = connect(&server, "postgres").await;
    sqlx::Executor::execute(&mut admin, sqlx::raw_sql("CREATE ROLE runtime LOGIN"))
        .await
        .unwrap();
    let url = server.url("postgres").replace("postgres@", "runtime@");
    let url = DatabaseUrl::parse(&url).unwrap();
    let error = Database::open(options(url.clone())).await.unwrap_err();
    assert!(error.to_string().contains("CREATE SCHEMA magic"), "{error}");
    sqlx::Executor::execute(
        &mut admin,
        sqlx::raw_sql("CREATE SCHEMA magic AUTHORIZATION runtime"),
    )
    .await
    .unwrap();
    Database::open(options(url)).await.unwrap();
}
