//! A real Redis of one test's own.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running server; ended when dropped, and by the kernel if this process is killed.
pub(crate) struct Redis {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Redis {
    /// Starts a server that keeps every write in its log.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let child = launch(&folder, port);
        Self {
            child,
            folder,
            port,
        }
        .ready()
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Ends the server as a crash would.
    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The same server again, on the same port, with what it kept.
    pub(crate) fn restart(mut self) -> Self {
        self.stop();
        self.child = launch(&self.folder, self.port);
        self.ready()
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

    fn ready(self) -> Self {
        let deadline = Instant::now() + PATIENCE;
        while self.command(&["ping"]) != "PONG" {
            assert!(Instant::now() < deadline, "Redis is not ready");
            std::thread::park_timeout(Duration::from_millis(10));
        }
        self
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

fn launch(folder: &tempfile::TempDir, port: u16) -> Child {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "redis-server"])
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ])
        .args(["--appendonly", "yes", "--appendfsync", "no", "--dir"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("Redis is missing; on Debian: apt-get install redis-server")
}
