//! A real `magic dev` on a port of its own, and a small HTTP client for it.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

/// How long anything here may take before the test fails. Generous, since it
/// is never waited for when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A folder of controllers for one test.
pub(crate) struct Controllers {
    folder: tempfile::TempDir,
}

impl Default for Controllers {
    fn default() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }
}

impl Controllers {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a controller `name` whose contract accepts any object and answers
    /// any object, with these further lines of contract.
    pub(crate) fn with(self, name: &str, contract: &str, code: &str) -> Self {
        let folder = self.folder.path().join(name.to_lowercase());
        std::fs::create_dir(&folder).expect("a new folder");
        let mut text = format!("name: {name}\nversion: 1.0.0\n{contract}\n");
        if !contract.contains("input:") {
            text.push_str("input: {type: object}\n");
        }
        if !contract.contains("output:") {
            text.push_str("output: {type: object}\n");
        }
        std::fs::write(folder.join("contract.yaml"), text).expect("a contract");
        std::fs::write(folder.join("controller.py"), code).expect("a controller");
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A running server; killed and waited for when dropped.
pub(crate) struct Server {
    child: Child,
    events: Mutex<mpsc::Receiver<String>>,
    pub(crate) address: SocketAddr,
    pub(crate) data: tempfile::TempDir,
    pub(crate) controllers: Controllers,
}

/// An answer of the server.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The error code, or the status for an answer that is no error.
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or("none")
    }

    /// The finer cause.
    pub(crate) fn reason(&self) -> &str {
        self.body["error"]["details"]["reason"]
            .as_str()
            .unwrap_or("none")
    }
}

impl Server {
    /// Starts `magic dev` and waits until it listens.
    pub(crate) fn start(controllers: Controllers) -> Self {
        Self::start_with(controllers, &[])
    }

    /// The same with further environment variables.
    pub(crate) fn start_with(controllers: Controllers, environment: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        Self::start_on(data, controllers, environment, &[])
    }

    /// The same with further arguments of `magic`.
    pub(crate) fn start_under(
        controllers: Controllers,
        environment: &[(&str, &str)],
        arguments: &[&str],
    ) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        Self::start_on(data, controllers, environment, arguments)
    }

    /// Kills this server as nothing can prepare for, and returns what it leaves.
    pub(crate) fn kill(mut self) -> (tempfile::TempDir, Controllers) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
        self.left()
    }

    /// What it leaves. A type that is dropped gives nothing away, so empty ones take their places.
    fn left(&mut self) -> (tempfile::TempDir, Controllers) {
        let empty = tempfile::tempdir().expect("a temporary folder");
        (
            std::mem::replace(&mut self.data, empty),
            std::mem::take(&mut self.controllers),
        )
    }

    /// Starts on what an earlier server left.
    pub(crate) fn start_on(
        data: tempfile::TempDir,
        controllers: Controllers,
        environment: &[(&str, &str)],
        arguments: &[&str],
    ) -> Self {
        let mut child = command(data.path(), &controllers, environment, arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let events = lines(child.stdout.take().expect("a pipe"), "");
        let talk = lines(child.stderr.take().expect("a pipe"), "server: ");
        let deadline = Instant::now() + PATIENCE;
        let address = loop {
            match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let event: Value = serde_json::from_str(&line).expect("a JSON line");
                    if event["event"] == "listening" {
                        break event["address"]
                            .as_str()
                            .expect("an address")
                            .parse()
                            .expect("a socket address");
                    }
                }
                Err(_) => {
                    let said: Vec<String> = talk.try_iter().collect();
                    let _ = child.kill();
                    panic!("the server did not start listening:\n{}", said.join("\n"));
                }
            }
        };
        Self {
            child,
            events: Mutex::new(events),
            address,
            data,
            controllers,
        }
    }

    /// Starts on what an earlier server left and kills it after that time, listening or not. Gives its number.
    pub(crate) fn killed_while_starting(
        data: &Path,
        controllers: &Controllers,
        environment: &[(&str, &str)],
        after: Duration,
    ) -> u32 {
        let mut child = command(data, controllers, environment, &[])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        std::thread::park_timeout(after);
        child.kill().expect("a child of ours");
        child.wait().expect("a child of ours");
        child.id()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.data.path().join("magic.sock")
    }

    /// Waits for the next event of standard output that fits; those before it are dropped.
    pub(crate) fn event(&self, fits: impl Fn(&Value) -> bool) -> Value {
        let events = self.events.lock().expect("no test panics with the lock");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = events.recv_timeout(left).expect("the awaited event");
            let event = serde_json::from_str(&line).expect("a JSON line");
            if fits(&event) {
                return event;
            }
        }
    }

    /// Runs a controller.
    pub(crate) fn execute(&self, controller: &str, input: &Value) -> Answer {
        self.post(&format!("/api/execute/{controller}"), &input.to_string())
    }

    /// Runs a controller with further headers, each ended by a line break.
    pub(crate) fn execute_with(&self, controller: &str, input: &Value, headers: &str) -> Answer {
        let body = input.to_string();
        self.send(&format!(
            "POST /api/execute/{controller} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
            self.address,
            body.len()
        ))
    }

    /// Sends a request and hangs up as soon as `now` returns, without waiting for an answer.
    pub(crate) fn execute_and_leave(&self, controller: &str, input: &Value, now: impl FnOnce()) {
        let body = input.to_string();
        let mut stream = TcpStream::connect(self.address).expect("the server accepts");
        write!(
            stream,
            "POST /api/execute/{controller} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .expect("the server reads");
        now();
        drop(stream);
    }

    /// Runs a controller on a server that may be killed meanwhile; `None` if it did not answer.
    pub(crate) fn ask(address: SocketAddr, controller: &str, input: &Value) -> Option<Answer> {
        Self::ask_with(address, controller, input, "")
    }

    /// The same with further header lines, each with its end.
    pub(crate) fn ask_with(
        address: SocketAddr,
        controller: &str,
        input: &Value,
        headers: &str,
    ) -> Option<Answer> {
        let body = input.to_string();
        let request = format!(
            "POST /api/execute/{controller} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8(answer).expect("UTF-8");
        // Cut off in the middle is no answer.
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some(Answer {
            status: head.split(' ').nth(1)?.parse().ok()?,
            body: serde_json::from_str(body).ok()?,
        })
    }

    /// Sends a JSON body.
    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.address,
            body.len()
        ))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.address
        ))
    }

    fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
            .write_all(request.as_bytes())
            .expect("the server reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the server answers");
        let answer = String::from_utf8(answer).expect("UTF-8");
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status");
        Answer {
            status,
            body: serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {answer}")),
        }
    }

    /// Asks the server to end and waits for it.
    pub(crate) fn stop(mut self) -> std::process::ExitStatus {
        self.end()
    }

    /// The same, and returns what it leaves.
    pub(crate) fn drain(mut self) -> (std::process::ExitStatus, tempfile::TempDir, Controllers) {
        let status = self.end();
        let (data, controllers) = self.left();
        (status, data, controllers)
    }

    fn end(&mut self) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .expect("the server lives");
        wait_for("the server to end", || {
            self.child.try_wait().expect("a child of ours")
        })
    }
}

fn command(
    data: &Path,
    controllers: &Controllers,
    environment: &[(&str, &str)],
    arguments: &[&str],
) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_magic"));
    command
        .args(["--json", "--data-dir"])
        .arg(data.join("data"))
        .arg("--socket")
        .arg(data.join("magic.sock"))
        .arg("dev")
        .arg(controllers.path())
        .args(["--listen", "127.0.0.1:0"])
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    command
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the server has been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines in a thread, so that the writer never blocks; they are printed
/// as well, for the output of a failed test.
fn lines(stream: impl Read + Send + 'static, prefix: &'static str) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            eprintln!("{prefix}{line}");
            if sender.send(line).is_err() {
                // The test does not listen any more; the pipe is still read.
            }
        }
    });
    receiver
}

/// Asks again and again until there is an answer, with a deadline.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
