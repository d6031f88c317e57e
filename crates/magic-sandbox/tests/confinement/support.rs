//! Runs Python programs confined and not, and waits for what they do with a deadline.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use magic_sandbox::{
    Descriptors, Ended, Identity, Layer, Leaf, Level, PidFd, Plan, Report, Spawner,
};

/// The system's own interpreter: it needs no binds but the system's directories.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// The host identity that the tests give to programs; nothing else runs as it.
pub(crate) const HOST_ID: u32 = 64_322;

/// Far longer than anything here takes, so that only a hang reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Examples are built beside the test binaries.
pub(crate) fn sandboxer() -> PathBuf {
    let tests = std::env::current_exe().expect("the test's own path");
    let profile = tests
        .parent()
        .and_then(|folder| folder.parent())
        .expect("tests lie two folders deep");
    profile.join("examples/sandboxer")
}

/// What a program did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) ended: Ended,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) report: Report,
}

pub(crate) fn spawner() -> Spawner {
    Spawner::start()
        .expect("a thread can be made")
        .with_executable(env!("CARGO_BIN_EXE_magic-sandbox-jail"))
}

/// A plan for the system's interpreter with every layer but group limits required.
pub(crate) fn plan(code: &str) -> Plan {
    let mut plan = Plan::new(PYTHON);
    plan.arguments = ["-I", "-S", "-B", "-c", code].map(str::to_owned).to_vec();
    plan.environment = vec![("LANG".to_owned(), "C.UTF-8".to_owned())];
    plan.layers = plan.layers.with(Layer::CgroupLimits, Level::Off);
    for system in ["/usr", "/lib", "/lib64"] {
        if Path::new(system).exists() {
            plan.root = plan.root.bind(system);
        }
    }
    plan.root = plan
        .root
        .device("/dev/null")
        .directory("/tmp")
        .file("/etc/passwd", "inside:x:1000:1000::/:/nonexistent\n");
    plan.identity = if rustix::process::geteuid().is_root() {
        Identity::Mapped {
            host_uid: HOST_ID,
            host_gid: HOST_ID,
        }
    } else {
        Identity::Own
    };
    plan
}

/// Runs the plan to its end.
pub(crate) fn run(plan: &Plan, group: Option<&Leaf>) -> Outcome {
    let (stdout, stdout_writer) = std::io::pipe().expect("a pipe");
    let (stderr, stderr_writer) = std::io::pipe().expect("a pipe");
    let descriptors = Descriptors::new(null(), stdout_writer.into(), stderr_writer.into());
    let confined = spawner()
        .spawn(plan, descriptors, group)
        .unwrap_or_else(|error| panic!("{error:?}\n{:?}", error.advice()));
    let stdout = read_all(stdout);
    let stderr = read_all(stderr);
    let ended = wait(&confined.pidfd);
    Outcome {
        ended,
        stdout: stdout.recv_timeout(PATIENCE).expect("standard output ends"),
        stderr: stderr.recv_timeout(PATIENCE).expect("standard error ends"),
        report: confined.report,
    }
}

/// Runs Python code without any sandbox.
pub(crate) fn run_outside(code: &str) -> String {
    let output = Command::new(PYTHON)
        .args(["-I", "-S", "-B", "-c", code])
        .stdin(Stdio::null())
        .output()
        .expect("the interpreter starts");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Waits for the end of a child, and kills it if that does not come.
pub(crate) fn wait(process: &PidFd) -> Ended {
    let mut entries = [rustix::event::PollFd::new(
        process,
        rustix::event::PollFlags::IN,
    )];
    let timeout = rustix::event::Timespec {
        tv_sec: 60,
        tv_nsec: 0,
    };
    let ready = rustix::event::poll(&mut entries, Some(&timeout)).expect("poll works");
    if ready == 0 {
        process.kill().expect("a child can be killed");
    }
    let ended = process.wait().expect("a child can be waited for");
    assert!(ready > 0, "the program hung");
    ended
}

pub(crate) fn null() -> OwnedFd {
    std::fs::File::open("/dev/null")
        .expect("/dev/null opens")
        .into()
}

/// Reads to the end on a thread of its own, so that a full pipe never blocks the program.
pub(crate) fn read_all(mut source: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).expect("a pipe can be read");
        // A test that failed meanwhile no longer listens.
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}
