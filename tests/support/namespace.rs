//! Namespaces of one test's own, in which names resolve as the test says.
//!
//! Nothing in the runtime is told that this is a test: names resolve through the host's own file of names, which is another
//! file here, and addresses belong to the loopback interface of a network that has no other. What passes a check passes it for
//! the reason for which the real name and address would.

use std::process::Command;

/// Set in the process that already has namespaces of its own.
const INSIDE: &str = "MAGIC_TEST_INSIDE_NAMESPACE";

/// Runs the named test again in namespaces of its own, where `hosts` is the file of names and the interface has `addresses`
/// too; true in the process that is inside, which is the one that tests.
pub(crate) fn inside(test: &str, hosts: &str, addresses: &[&str]) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        prepare(hosts, addresses);
        return true;
    }
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "--"])
        .arg(std::env::current_exe().expect("a program"))
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "yes")
        .output()
        .expect("unshare is installed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed"),
        "{said}"
    );
    false
}

fn prepare(hosts: &str, addresses: &[&str]) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), hosts).expect("our own file");
    let path = file.path().to_str().expect("UTF-8");
    run(&["ip", "link", "set", "lo", "up"]);
    for address in addresses {
        run(&["ip", "address", "add", address, "dev", "lo"]);
    }
    run(&["mount", "--bind", path, "/etc/hosts"]);
}

fn run(arguments: &[&str]) {
    let done = Command::new(arguments[0]).args(&arguments[1..]).status();
    assert!(
        done.expect("iproute2 and mount are installed").success(),
        "{arguments:?}"
    );
}
