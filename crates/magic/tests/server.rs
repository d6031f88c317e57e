//! A running `magic dev` (or `serve`), started on a free port and awaited by the event that it prints when it listens.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::command::magic;
use crate::folder::Folder;
use crate::http_client::{Answer, Call};

/// How long anything may take before a test gives up. Generous: it is only reached by failures.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A server that ends with the test.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    events: Receiver<Value>,
    address: SocketAddr,
    stderr: std::path::PathBuf,
    ended: bool,
}

impl Server {
    /// Starts `magic dev` on the folder's controllers.
    pub(crate) fn dev(folder: &Folder) -> Self {
        Self::start(folder, &["dev", "--json", "--listen", "127.0.0.1:0"])
    }

    /// Starts a serving command and waits until it listens.
    pub(crate) fn start(folder: &Folder, arguments: &[&str]) -> Self {
        Self::start_in("dev", folder, arguments)
    }

    /// Starts a serving command in an environment, `dev` or `prod`.
    pub(crate) fn start_in(environment: &str, folder: &Folder, arguments: &[&str]) -> Self {
        Self::start_with(folder, arguments, &[("ENVIRONMENT", environment)])
    }

    /// Starts a serving command with these variables.
    pub(crate) fn start_with(
        folder: &Folder,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let stderr = folder.path().join("server.stderr");
        let mut child = magic(folder.path())
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&stderr).expect("a file"))
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("a pipe");
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).expect("events are JSON");
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        let mut server = Self {
            child,
            events,
            address: ([127, 0, 0, 1], 0).into(),
            stderr,
            ended: false,
        };
        let listening = server.event("listening");
        server.address = listening["address"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("an address");
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next event of this kind; others before it are dropped.
    #[track_caller]
    pub(crate) fn event(&mut self, kind: &str) -> Value {
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) if event["event"] == kind => return event,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no event {kind} within the deadline\n{}", self.talk())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the server ended before the event {kind}\n{}", self.talk())
                }
            }
        }
    }

    /// One request, one answer.
    pub(crate) fn call(&self, call: &Call) -> Answer {
        call.send(self.address)
    }

    /// Runs a controller with the first key of a `magic serve` in this folder.
    pub(crate) fn execute_with_first_key(&self, folder: &Folder, name: &str) -> Answer {
        let key = std::fs::read_to_string(folder.path().join("data/admin.key"))
            .expect("a server without keys makes one");
        let call = Call::post(&format!("/api/execute/{name}"), "{}");
        self.call(&call.header("X-API-Key", key.trim()))
    }

    /// Runs a controller.
    pub(crate) fn execute(&self, name: &str, input: &str) -> Answer {
        self.call(&Call::post(&format!("/api/execute/{name}"), input))
    }

    /// Asks the server to end.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid =
            Pid::from_raw(i32::try_from(self.child.id()).expect("a process id")).expect("not zero");
        kill_process(pid, signal).expect("the server lives");
    }

    /// How many processes the server is the parent of, those included that have ended and were not waited for.
    pub(crate) fn children(&self) -> usize {
        let parent = self.child.id().to_string();
        std::fs::read_dir("/proc")
            .expect("/proc is mounted")
            .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("stat")).ok())
            // The name is in parentheses and may hold anything; the parent's number is the second field behind it.
            .filter(|stat| {
                stat.rsplit_once(')')
                    .and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1))
                    == Some(&parent)
            })
            .count()
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + DEADLINE;
        // Its standard output ends with it; what it says until then is of no interest.
        while self
            .events
            .recv_timeout(until.saturating_duration_since(Instant::now()))
            .is_ok()
        {}
        assert!(
            Instant::now() < until,
            "the server does not end\n{}",
            self.talk()
        );
        self.ended = true;
        self.child.wait().expect("it is our child")
    }

    /// What it said on standard error.
    pub(crate) fn talk(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "--- the server said:\n{}", self.talk());
        }
        if self.ended {
            return;
        }
        self.signal(Signal::TERM);
        let until = Instant::now() + Duration::from_secs(20);
        while self
            .events
            .recv_timeout(until.saturating_duration_since(Instant::now()))
            .is_ok()
        {}
        if Instant::now() >= until {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
