//! Files in order, once, whole, on both databases.

use tempfile::TempDir;
use tokio::task::JoinSet;

use super::super::fixture::TestDatabase;
use super::super::postgres_server::Postgres;
use super::*;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn migrations(files: &[(&str, &str)]) -> Vec<Migration> {
    read_migrations(folder(files).path()).unwrap()
}

async fn apply(url: &DatabaseUrl, migrations: &[Migration]) -> Result<Vec<String>, MigrateError> {
    let mut migrator = Migrator::connect(url).await?;
    let mut names = Vec::new();
    while let Some(step) = migrator.apply_next(migrations).await? {
        names.push(step.name);
    }
    Ok(names)
}

/// Empty databases of both kinds, in which the runtime has not been yet.
async fn both(server: &Postgres, name: &str, folder: &TempDir) -> [DatabaseUrl; 2] {
    server.database(name);
    [
        DatabaseUrl::sqlite(folder.path().join(name).join("a.db")),
        DatabaseUrl::parse(&server.url(name)).unwrap(),
    ]
}

const FIRST: (&str, &str) = (
    "0001_first.sql",
    "-- two statements\nCREATE TABLE a (id int PRIMARY KEY);\nINSERT INTO a VALUES (1);\n",
);
const SECOND: (&str, &str) = ("0002_second.sql", "INSERT INTO a VALUES (2)");

/// Once, in order, with a look before that changes nothing; and every refusal
/// beside what is accepted.
#[tokio::test(flavor = "multi_thread")]
async fn files_are_applied_once_and_in_order() {
    let server = Postgres::start();
    let place = tempfile::tempdir().unwrap();
    for url in both(&server, "shop", &place).await {
        let all = migrations(&[SECOND, FIRST, ("README.md", "x")]);
        let plan = Migrator::look(&url)
            .await
            .unwrap()
            .plan(&all)
            .await
            .unwrap();
        assert_eq!(plan.applied, 0);
        assert_eq!(plan.pending, ["0001_first", "0002_second"]);
        assert!(
            !place.path().join("shop/a.db").exists()
                || matches!(url.place(), DatabasePlace::Postgres(_))
        );

        assert_eq!(
            apply(&url, &migrations(&[FIRST])).await.unwrap(),
            ["0001_first"]
        );
        assert_eq!(apply(&url, &all).await.unwrap(), ["0002_second"]);
        assert!(apply(&url, &all).await.unwrap().is_empty());
        let plan = Migrator::look(&url)
            .await
            .unwrap()
            .plan(&all)
            .await
            .unwrap();
        assert_eq!((plan.applied, plan.pending.len()), (2, 0));
        // An older program, after a later one.
        assert!(apply(&url, &migrations(&[FIRST])).await.unwrap().is_empty());

        for (files, expected) in [
            (
                vec![("0001_first.sql", "SELECT 1"), SECOND],
                "0001_first.sql was changed after it was applied",
            ),
            (vec![SECOND], "there is no 0001_first.sql"),
            (
                vec![
                    FIRST,
                    ("0002_a_late.sql", "SELECT 1"),
                    ("0003_x.sql", "SELECT 1"),
                ],
                "there is no 0002_second.sql",
            ),
            (
                vec![
                    FIRST,
                    SECOND,
                    ("00015_late.sql", "SELECT 1"),
                    ("0001500_x.sql", "COMMIT"),
                ],
                "0001500_x.sql:1: leave out COMMIT",
            ),
        ] {
            let refused = async {
                let files = migrations(&files);
                Migrator::look(&url).await?.plan(&files).await
            };
            let error = refused.await.unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(error.is_refusal());
        }
    }
}

/// A new file that would come before applied ones is told its name.
#[test]
fn late_files_are_renamed() {
    let record = |migration: &Migration| Record {
        name: migration.name.clone(),
        sha256: migration.sha256.clone(),
    };
    let all = migrations(&[FIRST, ("0002_late.sql", ""), ("0003_third.sql", "")]);
    let error = plan(&all, &[record(&all[0]), record(&all[2])]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "0002_late.sql was not applied, and 0003_third, which comes after it, was; rename it to 0004_late.sql"
    );
    assert_eq!(plan(&all, &[record(&all[0])]).unwrap().len(), 2);
}

/// A file that fails leaves nothing, and says where.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_fails_leaves_nothing() {
    let server = Postgres::start();
    let place = tempfile::tempdir().unwrap();
    for url in both(&server, "shop", &place).await {
        let broken = (
            "0002_broken.sql",
            "CREATE TABLE b (id int);\n\nINSERT INTO nowhere VALUES (1);",
        );
        let error = apply(&url, &migrations(&[FIRST, broken]))
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("nowhere") && text.contains("nothing of this file"),
            "{text}"
        );
        if matches!(url.place(), DatabasePlace::Postgres(_)) {
            assert!(text.starts_with("0002_broken.sql:3:"), "{text}");
        }
        let mended = ("0002_broken.sql", "CREATE TABLE b (id int);");
        assert_eq!(
            apply(&url, &migrations(&[FIRST, mended])).await.unwrap(),
            ["0002_broken"]
        );
    }
}

/// What one file sets for its session ends with it.
#[tokio::test(flavor = "multi_thread")]
async fn settings_of_a_file_end_with_it() {
    let server = Postgres::start();
    let url = DatabaseUrl::parse(&server.url("postgres")).unwrap();
    let all = migrations(&[
        (
            "0001_dump.sql",
            "SELECT pg_catalog.set_config('search_path', '', false); CREATE TABLE public.a (id int); CREATE ROLE ada; SET ROLE ada",
        ),
        ("0002_plain.sql", "CREATE TABLE b (id int)"),
    ]);
    assert_eq!(apply(&url, &all).await.unwrap().len(), 2);
}

/// Several programs at once: each file is applied by one of them.
#[tokio::test(flavor = "multi_thread")]
async fn two_migrators_take_turns() {
    let server = Postgres::start();
    let place = tempfile::tempdir().unwrap();
    for url in both(&server, "shop", &place).await {
        let texts: Vec<(String, String)> = (1..=20)
            .map(|number| {
                (
                    format!("{number:04}_step.sql"),
                    format!("CREATE TABLE t{number} (id int)"),
                )
            })
            .collect();
        let files: Vec<(&str, &str)> = texts
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        let all = migrations(&files);
        let mut programs = JoinSet::new();
        for _ in 0..3 {
            let (url, all) = (url.clone(), all.clone());
            programs.spawn(async move { apply(&url, &all).await.unwrap() });
        }
        let mut applied = Vec::new();
        while let Some(names) = programs.join_next().await {
            applied.extend(names.unwrap());
        }
        applied.sort();
        let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(applied, names);
    }
}

/// SQLite: a table is rebuilt without losing what refers to it, and a rebuild that
/// leaves broken references is refused.
#[tokio::test(flavor = "multi_thread")]
async fn sqlite_tables_are_rebuilt() {
    let test = TestDatabase::sqlite(|_| {}).await;
    let tables = (
        "0001_tables.sql",
        "CREATE TABLE a (id integer PRIMARY KEY);
         CREATE TABLE b (a integer REFERENCES a (id) ON DELETE CASCADE);
         INSERT INTO a VALUES (1); INSERT INTO b VALUES (1);
         CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET a = a; SELECT 1; END;",
    );
    let rebuild =
        "CREATE TABLE c (id integer PRIMARY KEY, n int); INSERT INTO c (id) SELECT id FROM a;
         DROP TABLE a; ALTER TABLE c RENAME TO a;";
    apply(
        &test.url,
        &migrations(&[tables, ("0002_rebuild.sql", rebuild)]),
    )
    .await
    .unwrap();
    assert_eq!(test.number("SELECT count(*) FROM b").await, 1);
    let broken = ("0003_broken.sql", "DELETE FROM a");
    let all = migrations(&[tables, ("0002_rebuild.sql", rebuild), broken]);
    let error = apply(&test.url, &all).await.unwrap_err();
    assert!(matches!(error, MigrateError::ForeignKeys { .. }), "{error}");
    assert_eq!(test.number("SELECT count(*) FROM a").await, 1);
}

/// Names and contents that are refused, and what is said.
#[test]
fn files_are_as_they_should_be() {
    for (files, expected) in [
        (&[("1_a.sql", "")][..], "such as 0001_a.sql"),
        (
            &[("create tables.sql", "")],
            "such as 0001_create_tables.sql",
        ),
        (&[("0001.sql", "")], "such as 0001_create_tables.sql"),
        (
            &[("99999999999999999999999_a.sql", "")],
            "such as 0001_a.sql",
        ),
        (
            &[("0001_a.sql", ""), ("00001_b.sql", "")],
            "have the same number",
        ),
    ] {
        let error = read_migrations(folder(files).path()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let odd = folder(&[]);
    std::fs::write(odd.path().join("0001_a.sql"), b"\xff").unwrap();
    let error = read_migrations(odd.path()).unwrap_err();
    assert!(matches!(error, MigrateError::NotText { .. }), "{error}");
    assert!(matches!(
        read_migrations(&odd.path().join("nowhere")),
        Err(MigrateError::Read { .. })
    ));
}
