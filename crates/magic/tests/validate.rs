//! `magic validate`: the contract, and the Python as text.

use serde_json::Value;

use crate::command::run;
use crate::folder::{ANY, Folder};

/// Validates one controller and returns its problems and warnings.
#[track_caller]
fn checked(folder: &Folder, name: &str, status: i32) -> (Vec<Value>, Vec<Value>) {
    let path = format!("controllers/{name}");
    let json = run(folder, &["validate", &path, "--json"])
        .with_status(status)
        .json();
    let list = |member: &str| {
        json["checked"][0][member]
            .as_array()
            .unwrap_or_else(|| panic!("{json}"))
            .clone()
    };
    assert_eq!(json["valid"], status == 0);
    (list("problems"), list("warnings"))
}

/// A capability that is used but not declared is an error at its line, with the line to add to the contract.
#[test]
fn an_undeclared_capability() {
    let folder = Folder::new();
    folder.controller(
        "Reader",
        ANY,
        "row = await self.db.query_one('customers')\nreturn row",
    );
    let (problems, _) = checked(&folder, "reader", 1);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0]["code"], "E2001");
    assert_eq!(problems[0]["line"], 8);
    assert_eq!(problems[0]["column"], 21);
    assert!(
        problems[0]["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("db:read")),
        "{problems:?}"
    );
    let shown = run(&folder, &["validate", "controllers/reader"]).with_status(1);
    assert!(
        shown
            .stderr
            .contains("controllers/reader/controller.py:8:21"),
        "{shown:?}"
    );
    assert_eq!(shown.stdout, "controllers/reader: 1 problem\n");
}

/// The runtime receives the messages that start a controller, so `queue:subscribe` is used by a trigger; without one it is not.
#[test]
fn a_trigger_uses_its_queue() {
    let folder = Folder::new();
    let contract = format!("{ANY}capabilities:\n  - queue:subscribe: {{ queues: [orders] }}\n");
    folder.controller("Idle", &contract, "return {}");
    let started = format!("{contract}triggers: [{{ queue: orders }}]\n");
    folder.controller("Started", &started, "return {}");
    let (_, warnings) = checked(&folder, "idle", 0);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let (_, warnings) = checked(&folder, "started", 0);
    assert!(warnings.is_empty(), "{warnings:?}");
}

/// Every method that the SDK's client has is one that the check knows.
#[test]
fn every_method_of_the_http_client() {
    let folder = Folder::new();
    let contract = format!("{ANY}capabilities:\n  - http:egress: {{ allow: [example.org] }}\n");
    for method in ["get", "post", "put", "patch", "delete", "head", "options"] {
        let body = format!("await self.http.{method}('https://example.org/')\nreturn {{}}");
        folder.controller("Caller", &contract, &body);
        let (problems, _) = checked(&folder, "caller", 0);
        assert!(problems.is_empty(), "{method}: {problems:?}");
    }
}

/// What is declared and used is fine; what is declared and not used is a warning; a client that is handed on counts as used.
#[test]
fn declared_capabilities() {
    let folder = Folder::new();
    let contract = format!(
        "{ANY}capabilities:\n  - db:read: {{ tables: [customers] }}\n  - cache:read\n  - cache:write\n  - fs:temp\n"
    );
    folder.controller(
        "Mixed",
        &contract,
        "helper(self.cache)\nreturn await self.db.query('customers')",
    );
    let (problems, warnings) = checked(&folder, "mixed", 0);
    assert!(problems.is_empty(), "{problems:?}");
    let unused: Vec<_> = warnings
        .iter()
        .filter_map(|warning| warning["message"].as_str())
        .collect();
    assert_eq!(unused.len(), 1, "{unused:?}");
    assert!(unused[0].contains("fs:temp"), "{unused:?}");
}

/// Mistakes that would keep a controller from loading are found without running it.
#[test]
fn entry_points() {
    let contract = format!("name: Entry\nversion: 1.0.0\n{ANY}");
    let table = [
        ("", "no entry point"),
        ("def f(:\n", "not valid Python"),
        (
            "from magic import Controller\nclass Entry(Controller):\n    def execute(self, input): ...\n",
            "not marked",
        ),
        (
            "from magic import contract\n@contract('./contract.yaml')\nclass Entry:\n    def execute(self, input): ...\n",
            "does not derive",
        ),
        (
            "from magic import Controller, contract\n@contract('./contract.yaml')\nclass Entry(Controller):\n    pass\n",
            "no method execute",
        ),
        (
            "from magic import Controller, contract\n@contract('./contract.yaml')\nclass Other(Controller):\n    def execute(self, input): ...\n",
            "does not carry",
        ),
        (
            "from magic import contract\n@contract('./contract.yaml')\ndef f(input): ...\n@contract('./contract.yaml')\ndef g(input): ...\n",
            "several entry points",
        ),
        (
            "from magic import Controller, contract\n@contract('./contract.yaml')\nclass Entry(Controller):\n    def execute(self, input):\n        return self.db.select('x')\n",
            "no db.select",
        ),
    ];
    for (program, expected) in table {
        let folder = Folder::new();
        folder.write("controllers/entry/contract.yaml", &contract);
        folder.write("controllers/entry/controller.py", program);
        let (problems, _) = checked(&folder, "entry", 1);
        assert_eq!(problems.len(), 1, "{expected}: {problems:?}");
        assert!(
            problems[0]["message"]
                .as_str()
                .is_some_and(|message| message.contains(expected)),
            "{expected}: {problems:?}"
        );
    }
}

/// The author's code is read, never run: neither on import nor through a module beside it.
#[test]
fn nothing_of_the_authors_runs() {
    let folder = Folder::new();
    let trap = "import pathlib\npathlib.Path('trapped').write_text('x')\n";
    folder.controller("Quiet", ANY, "return {}");
    let program = std::fs::read_to_string(folder.path().join("controllers/quiet/controller.py"))
        .expect("a file");
    folder.write(
        "controllers/quiet/controller.py",
        &format!("{trap}{program}"),
    );
    for module in [
        "ast.py",
        "json.py",
        "sitecustomize.py",
        "controllers/quiet/ast.py",
    ] {
        folder.write(module, trap);
    }
    let (problems, _) = checked(&folder, "quiet", 0);
    assert!(problems.is_empty(), "{problems:?}");
    assert!(!folder.path().join("trapped").exists());
}

/// Text made to break the reader is one more answer.
#[test]
fn hostile_programs_are_answered() {
    for program in [
        "(".repeat(100_000),
        "-".repeat(500_000),
        "a\u{0}b".to_owned(),
        "x = ".to_owned() + &"[".repeat(50_000),
    ] {
        let folder = Folder::new();
        folder.write(
            "controllers/bad/contract.yaml",
            &format!("name: Bad\nversion: 1.0.0\n{ANY}"),
        );
        folder.write("controllers/bad/controller.py", &program);
        let (problems, _) = checked(&folder, "bad", 1);
        assert!(!problems.is_empty());
    }
}

/// Contracts alone, several at once, and what is wrong with them.
#[test]
fn contract_files() {
    let folder = Folder::new();
    let good = format!("name: Good\nversion: 1.0.0\n{ANY}");
    folder.write("good.contract.yaml", &good);
    folder.write(
        "bad.contract.yaml",
        "name: bad name\nversion: 1.0.0\ninptu: {}\n",
    );
    let both = run(
        &folder,
        &["validate", "good.contract.yaml", "bad.contract.yaml"],
    )
    .with_status(1);
    assert!(
        both.stdout
            .starts_with("good.contract.yaml: valid (Good 1.0.0)\nbad.contract.yaml: "),
        "{both:?}"
    );
    assert!(both.stderr.contains("bad.contract.yaml:1:"), "{both:?}");
    let json = run(&folder, &["validate", "good.contract.yaml", "--json"])
        .with_status(0)
        .json();
    assert_eq!(json["checked"][0]["contract"]["name"], "Good");
    folder.write("two/contract.yaml", &good);
    folder.write("two/good.contract.yaml", &good);
    let two = run(&folder, &["validate", "two"]).with_status(1);
    assert!(two.stderr.contains("several contracts"), "{two:?}");
    run(&folder, &["validate", "nowhere"]).with_status(2);
}

/// With `--load` the controller is imported, in the sandbox.
#[test]
fn loading() {
    let folder = Folder::new();
    folder.controller("Loads", ANY, "return {}");
    run(&folder, &["validate", "--load", "controllers/loads"]).with_status(0);
    let program = std::fs::read_to_string(folder.path().join("controllers/loads/controller.py"))
        .expect("a file");
    folder.write(
        "controllers/loads/controller.py",
        &format!("import nothing_of_that_name\n{program}"),
    );
    run(&folder, &["validate", "controllers/loads"]).with_status(0);
    let refused = run(&folder, &["validate", "--load", "controllers/loads"]).with_status(1);
    assert!(
        refused.stderr.contains("E4002") && refused.stderr.contains("nothing_of_that_name"),
        "{refused:?}"
    );
}
