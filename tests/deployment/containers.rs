//! The image and its neighbours, as far as they can be judged without a container engine; `make test-docker` starts them.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::{read, root, succeeds, tool, yaml_file};

/// What `deploy/docker/prepare` makes, in a copy of the folder, so that nobody's own passwords are touched.
fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = root();
    for part in ["deploy", "policies", "controllers"] {
        succeeds(
            Command::new("cp")
                .arg("-r")
                .arg(root.join(part))
                .arg(folder.path()),
            "",
        );
    }
    let docker = folder.path().join("deploy/docker");
    let _ = std::fs::remove_file(docker.join(".env"));
    let _ = std::fs::remove_dir_all(docker.join("private"));
    succeeds(&mut Command::new(docker.join("prepare")), "");
    folder
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path)
        .expect("a file")
        .permissions()
        .mode()
        & 0o777
}

/// Compose reads the file with what `prepare` makes, and refuses it without.
#[test]
fn compose_reads_its_file() {
    let folder = prepared();
    let docker = folder.path().join("deploy/docker");
    let compose = || {
        let mut command = Command::new("docker-compose");
        command
            .args(["--file", "compose.yaml", "config"])
            .current_dir(&docker)
            // What the caller's own shell has set would stand in for the file.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    };
    let text = succeeds(&mut compose(), "");
    let read: Value = crate::yaml(&text).remove(0);
    let runtime = &read["services"]["runtime"];
    for option in [
        "no-new-privileges:true",
        "writable-cgroups=true",
        "apparmor=unconfined",
        "seccomp=./seccomp.json",
    ] {
        let options = runtime["security_opt"].as_array().expect("options");
        // Compose takes a colon for the sign of equality, and some of its releases write one.
        let named = |one: &Value| one.as_str().map(|one| one.replacen('=', ":", 1));
        let wanted = option.replacen('=', ":", 1);
        assert!(
            options.iter().filter_map(named).any(|one| one == wanted),
            "{option}: {options:?}"
        );
    }
    assert_eq!(runtime["cap_drop"], json!(["ALL"]));
    assert_eq!(runtime["cap_add"], Value::Null);
    for service in read["services"].as_object().expect("services").values() {
        assert_eq!(service["privileged"], Value::Null, "{service}");
    }
    // Nobody outside reaches the databases.
    for service in ["postgres", "redis"] {
        let service = &read["services"][service];
        assert_eq!(service["ports"], Value::Null);
        let networks = service["networks"].as_object().expect("networks");
        assert_eq!(networks.keys().collect::<Vec<_>>(), ["inside"]);
    }
    assert_eq!(read["networks"]["inside"]["internal"], true);

    std::fs::remove_file(docker.join(".env")).expect("it is there");
    let refused = compose().output().expect("docker-compose runs");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("type deploy/docker/prepare"),
        "{said}"
    );
}

/// Passwords differ, are strong enough for production, and are read by their owner alone; a second call changes nothing.
#[test]
fn what_is_prepared_is_secret_and_stays() {
    let folder = prepared();
    let docker = folder.path().join("deploy/docker");
    let passwords = std::fs::read_to_string(docker.join(".env")).expect("it is there");
    let mut values: Vec<&str> = passwords
        .lines()
        .map(|line| line.split_once('=').expect("NAME=VALUE").1)
        .collect();
    assert!(values.iter().all(|value| value.len() >= 32), "{values:?}");
    values.sort_unstable();
    values.dedup();
    assert_eq!(values.len(), 5);
    assert_eq!(mode(&docker.join(".env")), 0o600);
    assert_eq!(mode(&docker.join("private")), 0o700);
    succeeds(&mut Command::new(docker.join("prepare")), "");
    let again = std::fs::read_to_string(docker.join(".env")).expect("it is there");
    assert_eq!(passwords, again);
    let judged = succeeds(
        Command::new("openssl")
            .args(["x509", "-noout", "-checkhost", "localhost", "-in"])
            .arg(docker.join("private/magic.crt")),
        "",
    );
    assert!(judged.contains("does match"), "{judged}");
}

#[test]
fn the_dockerfile_is_in_order() {
    succeeds(
        tool("hadolint").args([
            // Versions of Debian's packages change with each security fix, and the old ones are gone then.
            "--ignore",
            "DL3008",
            "deploy/docker/Dockerfile",
        ]),
        "",
    );
    let text = read("deploy/docker/Dockerfile");
    assert!(
        text.contains("/api/readyz"),
        "the health check asks for readiness"
    );
}

/// The toolchain of the image that builds is the one that the repository builds with.
#[test]
fn the_image_builds_with_our_toolchain() {
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("channel = \""))
        .and_then(|rest| rest.strip_suffix(".0\""))
        .expect("a channel");
    let text = read("deploy/docker/Dockerfile");
    assert!(
        text.contains(&format!("ARG BUILDER=rust:{channel}-")),
        "{channel}"
    );
}

#[test]
fn yaml_is_well_formed_and_in_one_style() {
    succeeds(
        tool("yamllint").args([
            "--strict",
            "--config-file",
            "tests/deployment/yamllint.yaml",
            "deploy/docker",
            "deploy/prometheus",
            "deploy/kubernetes",
            "tests/deployment",
            "tests/docker",
            "policies",
        ]),
        "",
    );
}

/// The profile admits what a sandbox is made of, refuses by default, and says ENOSYS, on which C libraries fall back.
#[test]
fn the_seccomp_profile_admits_a_sandbox_and_little_else() {
    let profile: Value = serde_json::from_str(&read("deploy/docker/seccomp.json")).expect("JSON");
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    assert_eq!(profile["defaultErrnoRet"], 38);
    let rules = profile["syscalls"].as_array().expect("rules");
    let admitted: Vec<&str> = rules
        .iter()
        .flat_map(|rule| rule["names"].as_array().expect("names"))
        .filter_map(Value::as_str)
        .collect();
    for call in [
        "clone",
        "clone3",
        "unshare",
        "mount",
        "mount_setattr",
        "pivot_root",
        "landlock_restrict_self",
    ] {
        assert!(admitted.contains(&call), "{call}");
    }
    for call in [
        "bpf",
        "init_module",
        "kexec_load",
        "ptrace",
        "process_vm_writev",
        "io_uring_setup",
        "userfaultfd",
        "reboot",
        "setns",
    ] {
        assert!(!admitted.contains(&call), "{call}");
    }
    for rule in rules {
        assert_eq!(rule["action"], "SCMP_ACT_ALLOW");
        let sockets = rule["names"]
            .as_array()
            .expect("names")
            .contains(&json!("socket"));
        assert_eq!(
            sockets,
            rule["args"].is_array(),
            "sockets are admitted by family: {rule}"
        );
    }
}

/// The page about containers names each option that compose.yaml gives the runtime.
#[test]
fn every_option_is_explained() {
    let page = read("docs/containers.md");
    let compose = yaml_file("deploy/docker/compose.yaml");
    let runtime = &compose["services"]["runtime"];
    for option in runtime["security_opt"].as_array().expect("options") {
        let option = option.as_str().expect("text");
        let option = option
            .trim_start_matches("${MAGIC_CGROUPS:-")
            .trim_end_matches('}');
        let name = option.split([':', '=']).next().expect("a name");
        assert!(page.contains(name), "{name} is not on the page");
    }
    for name in [
        "cap_drop",
        "read_only",
        "tmpfs",
        "mem_limit",
        "stop_grace_period",
        "hostname",
        "ulimits",
    ] {
        assert!(!runtime[name].is_null(), "{name}");
        assert!(page.contains(name), "{name} is not on the page");
    }
}
