//! The first commands of a project, and what the command prints for other tools.

use serde_json::json;

use crate::command::run;
use crate::folder::Folder;
use crate::http_client::Call;
use crate::server::Server;

/// A new project is one that every command accepts as it stands, and what was there stays.
#[test]
fn a_project_begins() {
    let folder = Folder::new();
    let readme = folder.path().join("README.md");
    std::fs::write(&readme, "mine").expect("a file");
    let made = run(&folder, &["init", "--json"]).with_status(0).json();
    assert_eq!(made["kept"], json!(["./README.md"]));
    assert_eq!(std::fs::read_to_string(readme).expect("a file"), "mine");
    for arguments in [
        &["new", "controller", "Hello"][..],
        &["validate", "controllers/hello"],
        &["policy", "lint", "policies/development.yaml"],
        &["run", "Hello", "--input", r#"{"name": "Ada"}"#],
    ] {
        run(&folder, arguments).with_status(0);
    }
    let again = run(&folder, &["init"]).with_status(1);
    assert!(again.stderr.contains("nothing was written"), "{again:?}");
}

/// A project with a front end lets the pages of that one ask, and no other; one without lets none.
#[test]
fn a_front_end_may_ask_as_it_stands() {
    for (arguments, pages) in [(&["init"][..], false), (&["init", "--with-web"], true)] {
        let folder = Folder::new();
        run(&folder, arguments).with_status(0);
        run(&folder, &["new", "controller", "Hello"]).with_status(0);
        for file in ["index.html", "app.js", "style.css"] {
            assert_eq!(
                folder.path().join("web").join(file).is_file(),
                pages,
                "{file}"
            );
        }
        let server = Server::dev(&folder);
        for (origin, may) in [
            ("http://127.0.0.1:8000", pages),
            ("http://127.0.0.1:8001", false),
        ] {
            let listed = server.call(&Call::get("/api/controllers").header("Origin", origin));
            let allowed = listed.header("access-control-allow-origin");
            assert_eq!(allowed, may.then_some(origin), "{arguments:?}");
            let asked = Call::post("/api/execute/Hello", r#"{"name": "Ada"}"#);
            let answer = server.call(&asked.header("Origin", origin));
            assert_eq!(answer.status == 200, may, "{answer:?}");
            if may {
                assert_eq!(listed.json()["controllers"][0]["name"], "Hello");
                assert_eq!(answer.json()["result"]["greeting"], "Hello, Ada!");
            }
        }
    }
}

/// What shells, manuals and editors get is made and names what there is.
#[test]
fn other_tools_are_served() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        let printed = run(&folder, &["completions", shell]).with_status(0);
        assert!(printed.stdout.contains("rollback"), "{shell}");
    }
    let pages = folder.path().join("man1");
    run(&folder, &["manual", pages.to_str().expect("UTF-8")]).with_status(0);
    for page in ["magic.1", "magic-serve.1", "magic-keys-create.1"] {
        assert!(pages.join(page).is_file(), "{page}");
    }
    let schema = run(&folder, &["schema", "contract"]).with_status(0).json();
    assert_eq!(schema["additionalProperties"], false);
}
