//! A real Redis of one test's own, on a loopback port and a unix socket. The unit tests of the broker start
//! theirs by this file, too.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A running server that syncs every write; ended when dropped, and by the kernel if the thread that started it ends first.
pub(crate) struct Redis {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Redis {
    /// Starts one that has nothing.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self {
            child: launch(&folder, port),
            folder,
            port,
        }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// The URL of its socket.
    pub(crate) fn socket_url(&self) -> String {
        format!("unix://{}/redis.sock", self.folder.path().display())
    }

    /// Kills it. What it had on disk stays.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    /// Starts it again, on the same port, with what it had on disk.
    pub(crate) fn start_again(&mut self) {
        self.child = launch(&self.folder, self.port);
    }

    /// Stops it from answering; its kernel still takes what is sent.
    pub(crate) fn pause(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Lets it answer again.
    pub(crate) fn resume(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it lives");
    }

    /// Runs one command and returns what it prints.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(words)
            .output()
            .expect("redis-cli is installed with the server");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Both fail only if it was killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the server and waits until it says that it is ready.
fn launch(folder: &tempfile::TempDir, port: u16) -> Child {
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "redis-server"])
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .arg("--unixsocket")
        .arg(folder.path().join("redis.sock"))
        .args(["--save", "", "--appendonly", "yes"])
        .args(["--appendfsync", "always", "--dir"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("setpriv is part of util-linux");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || {
        // Read to the end, so that the server never blocks on a full pipe.
        for line in lines.map_while(Result::ok) {
            if line.contains("eady to accept connections") {
                // Whoever waited may have given up.
                let _ = ready.send(());
            }
        }
    });
    is_ready
        .recv_timeout(PATIENCE)
        .expect("Redis gets ready; if it is missing, on Debian: apt-get install redis-server");
    child
}
