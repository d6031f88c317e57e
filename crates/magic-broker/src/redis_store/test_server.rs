//! A real Redis server of a test's own: a folder, a socket in it, and a process.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A server that ends with this value.
pub(crate) struct TestServer {
    folder: tempfile::TempDir,
    child: Child,
}

impl TestServer {
    /// Starts one that has nothing.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = spawn(&folder);
        Self { folder, child }
    }

    /// Where to connect to.
    pub(crate) fn url(&self) -> String {
        format!("unix://{}/redis.sock", self.folder.path().display())
    }

    /// Kills it. What it had on disk stays.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it from answering; its kernel still takes what is sent.
    pub(crate) fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it answer again.
    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let process = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(process, signal).unwrap();
    }

    /// Starts it again with what it had on disk.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(&self.folder);
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the server and waits until it says that it is ready.
fn spawn(folder: &tempfile::TempDir) -> Child {
    let mut child = Command::new("redis-server")
        .args(["--port", "0", "--unixsocket"])
        .arg(folder.path().join("redis.sock"))
        .arg("--dir")
        .arg(folder.path())
        .args([
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is needed: apt-get install -y --no-install-recommends redis-server");
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || {
        // Read to the end, so that the server never blocks on a full pipe.
        for line in lines.map_while(Result::ok) {
            if line.contains("eady to accept connections") {
                let _ = ready.send(());
            }
        }
    });
    is_ready
        .recv_timeout(Duration::from_secs(20))
        .expect("redis-server did not become ready");
    child
}
