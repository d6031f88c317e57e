//! The sandbox of an ordinary user: no capability, no identity but its own.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::support::{PYTHON, sandboxer};

/// `nobody` on every distribution.
const ORDINARY: u32 = 65_534;

/// Every layer but group limits, which nobody has delegated here, stands in full.
#[test]
fn an_ordinary_user_confines_as_well() {
    let folder = tempfile::tempdir().expect("a directory");
    let everyone = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), everyone).expect("its mode");
    let executable = folder.path().join("sandboxer");
    std::fs::copy(sandboxer(), &executable).expect("a copy");
    let mut command = Command::new(&executable);
    command
        .args(["--verbose", "--", PYTHON, "-I", "-S", "-c"])
        .arg("import os; print(os.getpid(), os.getuid(), os.path.exists('/etc/shadow'))");
    if rustix::process::geteuid().is_root() {
        command.uid(ORDINARY).gid(ORDINARY);
    }
    let output = command.output().expect("the example starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "1 1000 False\n",
        "{stderr}"
    );
    let standing: Vec<&str> = stderr.lines().collect();
    assert_eq!(standing.len(), 12, "{stderr}");
    for line in standing {
        assert!(
            line.ends_with(": full") || line.ends_with("cgroup_limits: off"),
            "{line}"
        );
    }
}
