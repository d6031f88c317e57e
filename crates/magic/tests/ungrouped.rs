//! A host that gives no control groups: where the policy can live without, everything still works, and everyone is told.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::json;

use crate::command::{Ended, magic, run};
use crate::folder::{ANY, Folder};

/// The development policy without groups, which holds on every host.
const UNGROUPED: &str = "name: ungrouped\nenvironment: development\nlayers: { cgroup_limits: \"off\" }\nrules: [{ name: all, effect: allow, capabilities: [\"*\"] }]\n";

/// `nobody` on every distribution.
const ORDINARY: u32 = 65_534;

/// A folder whose policy asks for no groups.
fn ungrouped() -> Folder {
    let folder = Folder::new();
    folder.write("magic.toml", "policy = \"policy.yaml\"\n");
    folder.write("policy.yaml", UNGROUPED);
    folder
}

/// Every request has an interpreter of its own then, whose end the supervisor learns as its parent.
#[test]
fn ends_are_told_apart_without_groups() {
    let folder = ungrouped();
    for (name, body, code, detail) in [
        (
            "Leaves",
            "import os\nos._exit(3)",
            "E3003",
            json!({"reason": "exited", "status": 3}),
        ),
        (
            "Crashes",
            "import ctypes\nctypes.string_at(0)",
            "E3003",
            json!({"reason": "signal", "signal": "SIGSEGV"}),
        ),
        (
            "Grows",
            "held = []\nwhile True:\n    held.append(bytearray(1 << 20))",
            "E3002",
            json!({}),
        ),
    ] {
        folder.controller(name, ANY, body);
        let error = run(&folder, &["run", name, "--json"]).with_status(1).json()["error"].take();
        assert_eq!(error["code"], code, "{error}");
        for (member, value) in detail.as_object().expect("an object") {
            assert_eq!(&error["details"][member], value, "{error}");
        }
    }
}

/// The number of processes is the contract's all the same.
#[test]
fn processes_are_limited_without_groups() {
    let folder = ungrouped();
    folder.controller(
        "Forks",
        &format!("{ANY}resources: {{ pids: 5 }}\n"),
        "import os, signal\nmade = 0\ntry:\n    while made < 50:\n        if os.fork() == 0:\n            signal.pause()\n        made += 1\nexcept BlockingIOError:\n    pass\nreturn {'made': made}",
    );
    let ran = run(&folder, &["run", "Forks"]).with_status(0);
    assert_eq!(ran.json(), json!({"made": 4}));
}

/// What to type where there are no groups: an option of the engine in a container, which this host may be, or a unit.
fn remedies() -> &'static [&'static str] {
    let marks = ["/.dockerenv", "/run/.containerenv"];
    if marks.iter().any(|mark| std::path::Path::new(mark).exists()) {
        &["writable-cgroups=true"]
    } else {
        &["systemd-run", "Delegate=yes"]
    }
}

/// Runs a copy of the binary as an ordinary user in a folder of that user's.
fn run_as_ordinary_user(folder: &Folder, environment: &[(&str, &str)]) -> Ended {
    let binary = folder.path().join("magic");
    std::fs::copy(env!("CARGO_BIN_EXE_magic"), &binary).expect("a copy");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
        .expect("its mode");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    let mut command = Command::new(binary);
    command.args(["run", "Echo"]);
    for (name, value) in magic(folder.path()).get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .current_dir(folder.path())
        .envs(environment.iter().copied());
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&data, Some(ORDINARY), Some(ORDINARY)).expect("its owner");
        command.uid(ORDINARY).gid(ORDINARY);
    }
    command.output().expect("it starts").into()
}

#[test]
fn development_warns_of_missing_groups_and_serves() {
    let folder = Folder::new();
    folder.echo();
    let ran = run_as_ordinary_user(&folder, &[("ENVIRONMENT", "dev")]).with_status(0);
    assert_eq!(ran.json(), json!({"echo": {}}));
    assert!(ran.stderr.contains("WARN"), "{ran:?}");
    assert!(ran.stderr.contains(remedies()[0]), "{ran:?}");
}

/// Whoever is in a container is told of the engine's options, not of units that cannot be made there.
#[test]
fn a_container_is_told_of_its_engine() {
    let folder = Folder::new();
    folder.echo();
    let environment = [
        ("ENVIRONMENT", "dev"),
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
    ];
    let ran = run_as_ordinary_user(&folder, &environment).with_status(0);
    assert!(ran.stderr.contains("writable-cgroups=true"), "{ran:?}");
    assert!(!ran.stderr.contains("systemd-run"), "{ran:?}");
}

#[test]
fn production_refuses_without_groups_and_says_what_to_type() {
    let folder = Folder::new();
    folder.echo();
    let refused = run_as_ordinary_user(&folder, &[("ENVIRONMENT", "prod")]).with_status(1);
    assert!(refused.stdout.is_empty(), "{refused:?}");
    for said in ["required by the policy"].iter().chain(remedies()) {
        assert!(refused.stderr.contains(said), "{refused:?}");
    }
}
