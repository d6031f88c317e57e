//! What a deploy runs of an upload, it runs in the sandbox, and what nobody has asked for does not run at all.

use crate::service::{Service, verify_audit};
use serde_json::json;
use std::path::Path;

/// Each of these lines runs when the module is imported, by another way, and tries to leave a mark outside.
const CONTROLLER: &str = "
import builtins
import os

from magic import contract

RAN = []
ESCAPED = []


def act(what):
    RAN.append(what)
    for attempt in (lambda: open(PLACE + '/mark', 'w'), lambda: os.listdir(PLACE), lambda: os.mkdir('/made')):
        try:
            attempt()
        except OSError:
            continue
        ESCAPED.append(what)


def decorator(function):
    act('decorator')
    return function


class Meta(type):
    def __new__(cls, name, bases, members):
        act('metaclass')
        return super().__new__(cls, name, bases, members)

    def __prepare__(name, bases):
        act('prepare')
        return {}


class Made(metaclass=Meta):
    act('class body')


def default(value=act('default')):
    return value


act('module')


@contract('./contract.yaml')
@decorator
async def handle(input, ctx):
    evil = getattr(builtins, 'EVIL', [])
    return {'ran': sorted(set(RAN)), 'escaped': ESCAPED, 'evil': evil}
";

/// Files that some Python or some tool runs by itself, if it finds them.
const BY_THEMSELVES: [&str; 4] = [
    "sitecustomize.py",
    "usercustomize.py",
    "conftest.py",
    "setup.py",
];

#[test]
fn what_a_deploy_runs_it_runs_in_the_sandbox() {
    let (place, outside) = (
        tempfile::tempdir().expect("a temporary folder"),
        tempfile::tempdir().expect("a temporary folder"),
    );
    let service = Service::start(place.path(), &[]);
    let folder = place.path().join("uploaded");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).expect("our own file");
    };
    std::fs::create_dir(&folder).expect("our own folder");
    // A schema is data, also where it looks like something else.
    let schema = "input: {type: object, description: \"__import__('os').mkdir('/made')\"}\noutput: {type: object}\n";
    write(
        "contract.yaml",
        &format!("name: Acting\nversion: 1.0.0\n{schema}"),
    );
    let mark = outside.path().display();
    write(
        "controller.py",
        &format!("PLACE = {:?}\n{CONTROLLER}", mark.to_string()),
    );
    for name in BY_THEMSELVES {
        let text = format!(
            "import builtins\n\nbuiltins.EVIL = [*getattr(builtins, 'EVIL', []), {name:?}]\nopen('{mark}/mark', 'w')\n"
        );
        write(name, &text);
    }
    write(
        "evil.pth",
        &format!("import builtins; builtins.EVIL = ['pth']; open('{mark}/mark', 'w')\n"),
    );
    let bundle = magic_runtime::Bundle::read(Path::new(&folder)).expect("a bundle");
    let archive = bundle.to_archive().expect("an archive");
    let answer = service.deploy(&archive, "");
    assert_eq!(answer.status, 201, "{}", answer.body);
    let answer = service.execute("Acting", &json!({}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        answer.body["result"],
        json!({
            "ran": ["class body", "decorator", "default", "metaclass", "module", "prepare"],
            "escaped": [],
            "evil": [],
        })
    );
    let left = || {
        std::fs::read_dir(outside.path())
            .expect("our own folder")
            .count()
    };
    assert_eq!(left(), 0, "nothing escapes");
    assert!(!Path::new("/made").exists());
    // The twin: with the sandbox out of the way the same lines do leave their mark.
    let unbound = CONTROLLER
        .replace(
            "from magic import contract",
            "contract = lambda path: lambda function: function",
        )
        .replace("os.mkdir('/made')", "os.mkdir(PLACE + '/made')");
    let program = format!("PLACE = {:?}\n{unbound}", mark.to_string());
    let ran = std::process::Command::new("python3")
        .args(["-c", &program])
        .status();
    assert!(ran.expect("Python runs").success());
    assert_eq!(left(), 2, "the mark and the folder");
    assert!(service.stop().success());
    verify_audit(place.path());
}
