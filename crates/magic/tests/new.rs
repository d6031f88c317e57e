//! `magic new controller`.

use crate::command::run;
use crate::folder::Folder;

/// From an empty folder to an answer, with the lines that are printed.
#[test]
fn the_scaffold_works_as_printed() {
    let folder = Folder::new();
    let made = run(&folder, &["new", "controller", "InvoiceSync"]).with_status(0);
    assert_eq!(
        made.stdout,
        "controllers/invoice_sync/invoice_sync.contract.yaml\n\
         controllers/invoice_sync/controller.py\n\
         controllers/invoice_sync/test_invoice_sync.py\n"
    );
    let valid = run(&folder, &["validate", "controllers/invoice_sync"]).with_status(0);
    assert_eq!(
        valid.stdout,
        "controllers/invoice_sync: valid (InvoiceSync 0.1.0)\n"
    );
    assert_eq!(valid.stderr, "");
    let ran = run(
        &folder,
        &["run", "InvoiceSync", "--input", r#"{"name": "Ada"}"#],
    )
    .with_status(0);
    assert_eq!(ran.json(), serde_json::json!({"greeting": "Hello, Ada!"}));
}

/// Nothing is overwritten.
#[test]
fn it_never_overwrites() {
    let folder = Folder::new();
    run(&folder, &["new", "controller", "Once"]).with_status(0);
    let program = folder.write("controllers/once/controller.py", "mine");
    let again = run(&folder, &["new", "controller", "Once"]).with_status(1);
    assert!(again.stderr.contains("there already"), "{again:?}");
    assert_eq!(
        std::fs::read_to_string(program).expect("it is there"),
        "mine"
    );
}

/// A wrong name is answered with the right one.
#[test]
fn a_wrong_name_is_corrected() {
    let folder = Folder::new();
    for (given, meant) in [
        ("invoice-sync", "InvoiceSync"),
        ("invoice_sync", "InvoiceSync"),
        ("../x", "X"),
    ] {
        let refused = run(&folder, &["new", "controller", given]).with_status(1);
        let expected = format!("did you mean: magic new controller {meant}");
        assert!(refused.stderr.contains(&expected), "{refused:?}");
        let json = run(&folder, &["new", "controller", given, "--json"])
            .with_status(1)
            .json();
        assert_eq!(json["suggestion"], meant);
    }
    assert!(!folder.path().join("controllers").exists());
}

/// The JSON form lists files and next steps.
#[test]
fn json_form() {
    let folder = Folder::new();
    let made = run(&folder, &["--json", "new", "controller", "A1"])
        .with_status(0)
        .json();
    assert_eq!(made["created"], true);
    assert_eq!(made["files"].as_array().map(Vec::len), Some(3));
    assert_eq!(made["next"][0], "magic validate controllers/a1");
}
