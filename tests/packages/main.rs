//! Packages of controllers, real and hostile, through the real binary on the real kernel.

#[path = "../lifecycle/bundles.rs"]
#[expect(dead_code, reason = "the tests of versions use the rest")]
mod bundles;
mod nodes;
#[path = "../lifecycle/service.rs"]
#[expect(dead_code, reason = "the tests of versions use the rest")]
mod service;
#[path = "../support/support.rs"]
mod support;
mod uv_locks;
mod wheels;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use support::server::{Controllers, Server};
use wheels::{REAL_LOCK, Wheel};

/// A server that serves what is put into its folder, with this folder of wheels.
fn server(wheels: Option<&Path>, arguments: &[&str]) -> Server {
    let folder = wheels.map(|path| path.to_str().expect("UTF-8"));
    let environment: Vec<_> = folder.iter().map(|path| ("MAGIC_WHEELS", *path)).collect();
    Server::start_under(Controllers::new(), &environment, arguments)
}

/// Deploys a controller and returns the event that tells how it went.
fn deploy(server: &Server, name: &str, requirements: &str, code: &str) -> Value {
    deploy_with(server, name, &[("requirements.txt", requirements)], code)
}

/// The same with these files beside its code.
fn deploy_with(server: &Server, name: &str, files: &[(&str, &str)], code: &str) -> Value {
    let making = tempfile::tempdir_in(server.data.path()).expect("a temporary folder");
    let folder = server.controllers.path().join(name.to_lowercase());
    let contract = format!(
        "name: {name}\nversion: 1.0.0\ninput: {{type: object}}\noutput: {{type: object}}\n"
    );
    let own = [
        ("contract.yaml", contract.as_str()),
        ("controller.py", code),
    ];
    for (file, text) in own.iter().chain(files) {
        fs::write(making.path().join(file), text).expect("a file");
    }
    // All at once, or the half of it would be deployed.
    fs::rename(making.keep(), &folder).expect("it is moved");
    let ends = format!("/{}", name.to_lowercase());
    server.event(|event| {
        matches!(event["event"].as_str(), Some("deployed" | "failed"))
            && event["folder"]
                .as_str()
                .is_some_and(|folder| folder.ends_with(&ends))
    })
}

fn kept(server: &Server) -> Vec<PathBuf> {
    let folder = server.data.path().join("data/packages");
    fs::read_dir(folder)
        .expect("the folder of packages")
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

const REAL: &str = "
import numpy
import pydantic
from magic import contract

class Point(pydantic.BaseModel):
    x: float
    y: float

@contract('contract.yaml')
def real(input, ctx):
    point = Point(**input)
    square = numpy.ones((200, 200)) @ numpy.ones((200, 200))
    return {
        'norm': float(numpy.linalg.norm(numpy.array([point.x, point.y]))),
        'sum': float(square.sum()),
        'drawn': int(numpy.random.randint(1 << 60)),
        'from': pydantic.__file__,
    }
";

/// numpy with its own threads and pydantic with its native core: deployed from wheels, imported in the template, forked for
/// every request. Two versions share one copy, and no two requests draw the same numbers.
#[test]
fn numpy_and_pydantic_answer_from_a_template() {
    let server = server(Some(&wheels::real()), &[]);
    for name in ["Real", "Other"] {
        let event = deploy(&server, name, REAL_LOCK, REAL);
        assert_eq!(event["event"], "deployed", "{event}");
        let detail = server.get(&format!("/api/controllers/{name}")).body;
        assert_eq!(detail["isolation"], "request");
        // Nothing that numpy leaves at its import keeps a process from being forked.
        assert!(
            detail.get("unforkable").is_none_or(Value::is_null),
            "{detail}"
        );
    }
    let mut drawn = BTreeSet::new();
    for _ in 0..6 {
        for name in ["Real", "Other"] {
            let answer = server.execute(name, &json!({"x": 3, "y": 4}));
            let result = &answer.body["result"];
            assert_eq!(
                (&result["norm"], &result["sum"]),
                (&json!(5.0), &json!(8e6)),
                "{answer:?}"
            );
            assert_eq!(result["from"], "/magic/packages/pydantic/__init__.py");
            drawn.insert(result["drawn"].to_string());
        }
    }
    assert_eq!(drawn.len(), 12, "two requests drew the same number");
    assert_eq!(kept(&server).len(), 1, "one set of wheels is kept once");
    let lock = fs::read_to_string(kept(&server)[0].join("requirements.lock")).expect("a lock");
    assert_eq!(lock.matches("--hash=sha256:").count(), 6, "{lock}");
}

const IMPORTS: &str = "
import plain
from magic import contract

@contract('contract.yaml')
def says(input, ctx):
    return {'says': plain.SAYS}
";

/// A `plain` wheel with a dependency on another; everything that is refused below is this with one thing changed.
#[test]
fn what_a_lock_leaves_open_is_refused_and_says_what_to_type() {
    let folder = wheels::folder(vec![
        Wheel::of("plain"),
        Wheel::of("needs-plain")
            .saying("Requires-Dist: plain >= 1.0")
            .saying("Requires-Dist: elsewhere ; sys_platform == 'win32'")
            .saying("Requires-Dist: ancient ; python_version < '3.8'")
            .saying("Requires-Dist: fast ; extra == 'speed'"),
        Wheel::of("foreign").in_file("foreign-1.0-cp311-cp311-win_amd64.whl"),
        Wheel::of("source").in_file("source-1.0.tar.gz"),
    ]);
    let hash = wheels::hash(&folder.path().join("plain-1.0-py3-none-any.whl"));
    let server = server(Some(folder.path()), &[]);
    for (name, requirements, says) in [
        ("Plain", "plain==1.0", None),
        ("Spelled", "PLAIN == 1.0.0", None),
        ("Hashed", &format!("plain==1.0 --hash=sha256:{hash}"), None),
        ("Complete", "plain==1.0\nneeds_plain==1.0", None),
        ("Nothing", "# nothing\n", Some("ModuleNotFoundError")),
        ("Range", "plain>=1.0", Some("write `name==version`")),
        ("Editable", "-e .", Some("the option `-e` is not possible")),
        (
            "Link",
            "plain @ file:///etc/passwd",
            Some("write `name==version`"),
        ),
        (
            "OtherHash",
            &format!("plain==1.0 --hash=sha256:{}", "0".repeat(64)),
            Some("which is not one that requirements.txt names"),
        ),
        ("OtherVersion", "plain==1.1", Some("pip download -d WHEELS")),
        (
            "Incomplete",
            "needs-plain==1.0",
            Some("needs-plain needs plain; add what is missing"),
        ),
        (
            "Extra",
            "plain==1.0\nneeds-plain[speed]==1.0",
            Some("needs-plain needs fast; add"),
        ),
        (
            "Foreign",
            "foreign==1.0",
            Some("built for another interpreter"),
        ),
        ("Source", "source==1.0", Some("pip wheel --no-deps")),
    ] {
        let event = deploy(&server, name, requirements, IMPORTS);
        match says {
            None => {
                assert_eq!(event["event"], "deployed", "{name}: {event}");
                let answer = server.execute(name, &json!({}));
                assert_eq!(
                    answer.body["result"]["says"], "I am plain",
                    "{name}: {answer:?}"
                );
            }
            Some(says) => {
                assert_eq!(event["event"], "failed", "{name}: {event}");
                assert!(event.to_string().contains(says), "{name}: {event}");
                assert_eq!(
                    event["code"],
                    if name == "Nothing" { "E4002" } else { "E4001" }
                );
            }
        }
    }
}

/// Without a folder there are no packages, and a production policy wants a hash for each.
#[test]
fn the_operator_decides_where_packages_come_from() {
    let without = server(None, &[]);
    let event = deploy(&without, "Plain", "plain==1.0", IMPORTS);
    assert_eq!(event["code"], "E4001");
    assert!(
        event["message"]
            .as_str()
            .is_some_and(|text| text.contains("MAGIC_WHEELS")),
        "{event}"
    );

    let folder = wheels::folder(vec![Wheel::of("plain")]);
    let policy = folder.path().join("policy.yaml");
    fs::write(
        &policy,
        "name: strict\nenvironment: production\nrules: []\n",
    )
    .expect("a policy");
    let strict = server(
        Some(folder.path()),
        &["--policy", policy.to_str().expect("UTF-8")],
    );
    let event = deploy(&strict, "Plain", "plain==1.0", IMPORTS);
    assert_eq!(event["code"], "E4001");
    assert!(
        event["message"]
            .as_str()
            .is_some_and(|text| text.contains("--generate-hashes")),
        "{event}"
    );
}

/// Wheels that try to get out, to run, or to be without end. All are taken apart in one server that still serves afterwards.
#[test]
fn hostile_wheels_are_refused_and_leave_nothing() {
    let link = 0o120_777;
    let table: Vec<(&str, Wheel, &str)> = vec![
        (
            "parent",
            Wheel::of("parent").with("../../evil.py", "x = 1"),
            "leads out",
        ),
        (
            "absolute",
            Wheel::of("absolute").with("/etc/cron.d/evil", "x"),
            "absolute",
        ),
        (
            "control",
            Wheel::of("control").with("a\u{1b}[2J.py", "x"),
            "has the character",
        ),
        (
            "twice",
            Wheel::of("twice").with("twice.py", "x = 2"),
            "is there twice",
        ),
        (
            "cases",
            Wheel::of("cases").with("CASES.py", "x = 2"),
            "in the case of letters",
        ),
        (
            "conflict",
            Wheel::of("conflict").with("conflict.py/inner.py", "x = 2"),
            "a file and a folder",
        ),
        (
            "z-other",
            Wheel::of("z-other").with("plain.py", "SAYS = 'evil'"),
            "is there twice",
        ),
        (
            "purelib",
            Wheel::of("purelib").with("purelib-1.0.data/purelib/../../evil.py", "x"),
            "leads out",
        ),
        (
            "linked",
            Wheel::of("linked")
                .with_entry(json!({"name": "passwd", "text": "/etc/passwd", "mode": link})),
            "is a link",
        ),
        (
            "metadata",
            Wheel::of("metadata").with(".magic/metadata.json", "{}"),
            "is there twice",
        ),
        (
            "bomb",
            Wheel::of("bomb")
                .with_entry(json!({"name": "zeros.bin", "zeros": (1_u64 << 30) + (1 << 20)})),
            "declares",
        ),
        (
            "module-bomb",
            Wheel::of("module-bomb").with_entry(json!({"name": "zeros.py", "zeros": 1_u64 << 30})),
            "module-bomb",
        ),
        (
            "no-zip",
            Wheel::of("no-zip").raw("PK\u{3}\u{4} and nothing"),
            "BadZipFile",
        ),
        ("empty", Wheel::of("empty").raw(""), "BadZipFile"),
        (
            "liar",
            Wheel::of("liar").saying_only(&["Name: plain", "Version: 1.0"]),
            "it says of itself",
        ),
        (
            "newer",
            Wheel::of("newer").saying_only(&["Name: newer", "Version: 9.0"]),
            "it says of itself",
        ),
    ];
    let mut all = vec![Wheel::of("plain")];
    let mut cases = Vec::new();
    for (project, wheel, says) in table {
        all.push(wheel);
        cases.push((project, says));
    }
    let folder = wheels::folder(all);
    let server = server(Some(folder.path()), &[]);
    for (number, (project, says)) in cases.into_iter().enumerate() {
        let lock = format!("plain==1.0\n{project}==1.0");
        let event = deploy(&server, &format!("Hostile{number}"), &lock, IMPORTS);
        assert_eq!(
            (&event["event"], &event["code"]),
            (&json!("failed"), &json!("E4001")),
            "{project}: {event}"
        );
        let message = event["message"].as_str().expect("a message");
        assert!(
            message.contains(says) && message.contains(project),
            "{project}: {message}"
        );
        assert!(
            kept(&server).is_empty(),
            "{project} left {:?}",
            kept(&server)
        );
    }
    let event = deploy(&server, "Plain", "plain==1.0", IMPORTS);
    assert_eq!(event["event"], "deployed", "{event}");
    assert_eq!(
        server.execute("Plain", &json!({})).body["result"]["says"],
        "I am plain"
    );
}

const LOOKS: &str = "
import os, sys
import plain
from magic import contract

@contract('contract.yaml')
def looks(input, ctx):
    packages = '/magic/packages'
    names = sorted(os.path.join(path, name)[len(packages) + 1:] for path, _, files in os.walk(packages) for name in files)
    try:
        open(packages + '/written', 'w')
        written = 'written'
    except OSError as error:
        written = type(error).__name__
    return {'ran': os.environ.get('RAN', 'nothing'), 'loaded': [name for name in sys.modules if 'customize' in name],
            'files': names, 'written': written, 'kept': __import__('kept').VALUE}
";

/// What runs at an interpreter's start elsewhere has no effect, and neither is a script put anywhere.
#[test]
fn nothing_of_a_wheel_runs_before_it_is_imported() {
    let evil = "import os; os.environ['RAN'] = 'it ran'\n";
    let folder = wheels::folder(vec![
        Wheel::of("plain")
            .with("evil.pth", evil)
            .with("sitecustomize.py", evil)
            .with("usercustomize/__init__.py", evil)
            .with("conftest.py", evil)
            .with("plain-1.0.data/scripts/evil", "#!/bin/sh\n")
            .with("plain-1.0.data/data/etc/evil", "x")
            .with("plain-1.0.data/purelib/kept.py", "VALUE = 'from purelib'\n")
            .with(
                "__pycache__/plain.cpython-311.pyc",
                "not what plain.py says",
            ),
    ]);
    let server = server(Some(folder.path()), &[]);
    let event = deploy(&server, "Looks", "plain==1.0", LOOKS);
    assert_eq!(event["event"], "deployed", "{event}");
    let result = server.execute("Looks", &json!({})).body["result"].clone();
    assert_eq!(
        (&result["ran"], &result["loaded"]),
        (&json!("nothing"), &json!([]))
    );
    assert_eq!(
        (&result["written"], &result["kept"]),
        (&json!("OSError"), &json!("from purelib"))
    );
    let files: Vec<&str> = result["files"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let sources: Vec<&str> = files
        .iter()
        .copied()
        .filter(|name| !name.ends_with(".pyc"))
        .collect();
    assert_eq!(
        sources,
        [
            "conftest.py",
            "kept.py",
            "plain-1.0.dist-info/METADATA",
            "plain.py"
        ]
    );
}

/// Packages that somebody changed on disk are found by the next life of the server, and not used.
#[test]
fn changed_packages_are_not_used() {
    let folder = wheels::folder(vec![Wheel::of("plain")]);
    let wheels = folder.path().to_str().expect("UTF-8");
    for changes in [false, true] {
        let first = server(Some(folder.path()), &[]);
        let event = deploy(&first, "Plain", "plain==1.0", IMPORTS);
        assert_eq!(event["event"], "deployed", "{event}");
        let place = kept(&first)[0].join("files/plain.py");
        let (data, controllers) = first.kill();
        if changes {
            fs::write(place, "SAYS = 'evil'\n").expect("our own file");
        }
        fs::rename(controllers.path().join("plain"), data.path().join("plain"))
            .expect("it is moved");
        let second = Server::start_on(data, controllers, &[("MAGIC_WHEELS", wheels)], &[]);
        let code = fs::read_to_string(second.data.path().join("plain/controller.py"))
            .expect("our own file");
        let event = deploy(&second, "Plain", "plain==1.0", &code);
        if changes {
            assert_eq!(event["code"], "E4005", "{event}");
            assert!(
                event["message"]
                    .as_str()
                    .is_some_and(|text| text.contains("changed on disk")),
                "{event}"
            );
        } else {
            assert_eq!(event["event"], "deployed", "{event}");
        }
    }
}
