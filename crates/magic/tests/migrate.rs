//! `magic migrate`.

use crate::command::{magic, run};
use crate::folder::Folder;

/// Look, apply, apply again: what is printed, and what is there afterwards.
#[test]
fn files_are_applied_and_told() {
    let folder = Folder::new();
    folder.write(
        "migrations/0001_customers.sql",
        "CREATE TABLE customers (id integer PRIMARY KEY);",
    );
    folder.write(
        "migrations/0002_ada.sql",
        "INSERT INTO customers VALUES (1);",
    );
    let looked = run(&folder, &["migrate", "--dry-run"]).with_status(0);
    assert_eq!(
        looked.stdout,
        "would apply 0001_customers\nwould apply 0002_ada\n"
    );
    assert!(!folder.path().join("data/controllers.db").exists());
    let applied = run(&folder, &["migrate"]).with_status(0);
    let words: Vec<&str> = applied.stdout.split_whitespace().collect();
    assert_eq!(
        (words[0], words[1]),
        ("applied", "0001_customers"),
        "{applied:?}"
    );
    assert!(
        applied.stderr.contains("2 applied, 0 applied before"),
        "{applied:?}"
    );
    let again = run(&folder, &["migrate", "--json"]).with_status(0).json();
    assert_eq!(again, serde_json::json!({"applied": [], "pending": []}));
    assert!(folder.path().join("data/controllers.db").exists());
}

/// Refusals are status 1 and say what to type; what was applied before stays.
#[test]
fn refusals_say_what_to_type() {
    let folder = Folder::new();
    folder.write("schema/0001_a.sql", "CREATE TABLE a (id integer);");
    folder.write("schema/0002_b.sql", "CREATE TABLE b (id integer); SELEC 1;");
    let broken = run(&folder, &["migrate", "schema"]).with_status(1);
    assert!(broken.stdout.starts_with("applied 0001_a"), "{broken:?}");
    assert!(
        broken.stderr.contains("0002_b.sql") && broken.stderr.contains("SELEC"),
        "{broken:?}"
    );
    folder.write("schema/0001_a.sql", "CREATE TABLE a (id text);");
    let changed = run(&folder, &["migrate", "schema", "--json"]).with_status(1);
    let message = changed.json()["message"].to_string();
    assert!(message.contains("0001_a.sql was changed"), "{message}");
    // No folder is a wrong use.
    run(&folder, &["migrate", "nowhere"]).with_status(2);
}

/// A database that is down is a fault, and its password is nobody's business.
#[test]
fn a_database_that_is_down_is_a_fault() {
    let folder = Folder::new();
    folder.write("migrations/0001_a.sql", "SELECT 1;");
    let url = format!(
        "postgres://ada:s3cret@localhost/shop?host={}",
        folder.path().display()
    );
    let output = magic(folder.path())
        .arg("migrate")
        .env("DATABASE_URL", url)
        .output()
        .expect("the binary starts");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("see that it runs"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}
