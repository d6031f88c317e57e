//! A real `magic serve` on a port of its own, which may be killed and started again, and a small HTTP client for it.

#![allow(
    clippy::print_stderr,
    reason = "what a service says belongs to the output of a failed test"
)]

use crate::support::server::{PATIENCE, wait_for};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Instant;

pub(crate) const KEY: &str = "the-administrators-key-of-these-tests";

/// A running service; killed and waited for when dropped.
pub(crate) struct Service {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// An answer, whatever it is.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The error code; `none` for an answer that is no error.
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or("none")
    }

    pub(crate) fn reason(&self) -> &str {
        self.details()["reason"].as_str().unwrap_or("none")
    }

    pub(crate) fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or("none")
    }

    pub(crate) fn details(&self) -> &Value {
        &self.body["error"]["details"]
    }

    /// The version that answered.
    pub(crate) fn version(&self) -> &str {
        self.body["version"].as_str().unwrap_or("none")
    }
}

/// Where a service listens unless a test says otherwise.
const LOOPBACK: &str = "127.0.0.1:0";

/// The command that starts a service whose files lie in `place`.
pub(crate) fn command(place: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_magic"));
    command
        .args(["--json", "--data-dir"])
        .arg(place.join("data"))
        .arg("--socket")
        .arg(place.join("magic.sock"))
        .arg("serve")
        .args(arguments)
        .env("ADMIN_API_KEY", KEY)
        .envs(environment.iter().copied())
        .current_dir(place)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Service {
    /// Starts on whatever an earlier one left in `place`, and waits until it listens.
    pub(crate) fn start(place: &Path, environment: &[(&str, &str)]) -> Self {
        Self::start_with(place, environment, &["--listen", LOOPBACK])
    }

    pub(crate) fn start_with(
        place: &Path,
        environment: &[(&str, &str)],
        arguments: &[&str],
    ) -> Self {
        Self::spawn(command(place, environment, arguments))
    }

    /// Starts what [`command`] made, perhaps wrapped in another command.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the binary starts");
        let events = lines(child.stdout.take().expect("a pipe"), "");
        let talk = lines(child.stderr.take().expect("a pipe"), "service: ");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = events.recv_timeout(left) else {
                let _ = child.kill();
                let _ = child.wait();
                let said: Vec<String> = talk.try_iter().collect();
                panic!("the service did not start:\n{}", said.join("\n"));
            };
            let event: Value = serde_json::from_str(&line).expect("a JSON line");
            if event["event"] == "listening" {
                let address = event["address"].as_str().expect("an address");
                return Self {
                    child,
                    address: address.parse().expect("a socket address"),
                };
            }
        }
    }

    /// Kills it as nothing can prepare for.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    /// Kills it from another thread than the one that holds it.
    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Asks it to end; it drains.
    pub(crate) fn terminate(&self) {
        rustix::process::kill_process(self.pid(), rustix::process::Signal::TERM)
            .expect("the service lives");
    }

    /// Asks it to end and waits for it.
    pub(crate) fn stop(self) -> std::process::ExitStatus {
        self.terminate();
        self.wait()
    }

    /// Waits for its end, which somebody else brings about.
    pub(crate) fn wait(mut self) -> std::process::ExitStatus {
        wait_for("the service to end", || {
            self.child.try_wait().expect("a child of ours")
        })
    }

    pub(crate) fn execute(&self, name: &str, input: &Value) -> Answer {
        self.post(&format!("/api/execute/{name}"), &input.to_string())
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.call("POST", path, KEY, body.as_bytes())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call("GET", path, KEY, b"")
    }

    pub(crate) fn delete(&self, name: &str) -> Answer {
        self.call("DELETE", &format!("/api/controllers/{name}"), KEY, b"")
    }

    pub(crate) fn roll_back(&self, name: &str, to: Option<&str>) -> Answer {
        let body = serde_json::json!({ "to": to }).to_string();
        self.post(&format!("/api/controllers/{name}/rollback"), &body)
    }

    /// Deploys an archive. `query` may be empty.
    pub(crate) fn deploy(&self, archive: &[u8], query: &str) -> Answer {
        self.call("POST", &format!("/api/controllers?{query}"), KEY, archive)
    }

    pub(crate) fn call(&self, method: &str, path: &str, key: &str, body: &[u8]) -> Answer {
        call(self.address, method, path, key, body)
            .unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    /// The versions of a controller as `version state` lines, the newest first.
    pub(crate) fn versions(&self, name: &str) -> Vec<String> {
        let answer = self.get(&format!("/api/controllers/{name}/versions"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let versions = answer.body["versions"].as_array().expect("a list");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        versions
            .iter()
            .map(|version| format!("{} {}", text(&version["version"]), text(&version["state"])))
            .collect()
    }

    /// The history of a controller as `event version` lines, the oldest first.
    pub(crate) fn history(&self, name: &str) -> Vec<String> {
        let answer = self.get(&format!("/api/controllers/{name}/versions"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let events = answer.body["history"].as_array().expect("a list");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        events
            .iter()
            .rev()
            .map(|event| format!("{} {}", text(&event["event"]), text(&event["version"])))
            .collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Both fail only if it has been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request on a connection of its own; `None` if the other side did not answer whole.
pub(crate) fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    key: &str,
    body: &[u8],
) -> Option<Answer> {
    let mut stream = send(address, method, path, key, "application/json", body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    parse(&answer)
}

pub(crate) fn parse(answer: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some(Answer {
        status: head.split(' ').nth(1)?.parse().ok()?,
        body: serde_json::from_str(body).ok()?,
    })
}

/// Sends one request and gives the connection, to be read or to be dropped.
pub(crate) fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    key: &str,
    accept: &str,
    body: &[u8],
) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nx-api-key: {key}\r\naccept: {accept}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    // A server that refuses early may close before it has read everything.
    let _ = stream.write_all(body);
    Some(stream)
}

/// The events of a deploy as `(name, data)`, as they come; ends when the connection does.
pub(crate) fn deploy_events(
    address: SocketAddr,
    key: &str,
    archive: &[u8],
) -> impl Iterator<Item = (String, Value)> + use<> {
    let path = "/api/controllers";
    let stream = send(address, "POST", path, key, "text/event-stream", archive);
    let mut lines = BufReader::new(stream.expect("the service accepts")).lines();
    let mut name = String::new();
    std::iter::from_fn(move || {
        loop {
            let line = lines.next()?.ok()?;
            if let Some(event) = line.strip_prefix("event:") {
                event.trim().clone_into(&mut name);
            } else if let Some(data) = line.strip_prefix("data:") {
                return Some((name.clone(), serde_json::from_str(data).expect("JSON")));
            }
        }
    })
}

/// Runs a command of the binary against the service or its files.
pub(crate) fn magic(place: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_magic"))
        .arg("--data-dir")
        .arg(place.join("data"))
        .arg("--socket")
        .arg(place.join("magic.sock"))
        .args(arguments)
        .current_dir(place)
        .output()
        .expect("the binary runs")
}

/// Whether the audit log of a place is whole.
pub(crate) fn verify_audit(place: &Path) {
    let output = magic(place, &["audit", "verify"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{printed}");
}

/// Every record of the audit log, oldest first.
pub(crate) fn records(place: &Path) -> Vec<Value> {
    let output = magic(place, &["audit", "export"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .expect("UTF-8")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect()
}

/// Reads lines in a thread, so that the writer never blocks; they are printed as well, for the output of a failed test.
fn lines(stream: impl Read + Send + 'static, prefix: &'static str) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            eprintln!("{prefix}{line}");
            // The test may not listen any more; the pipe is still read.
            let _ = sender.send(line);
        }
    });
    receiver
}
