//! Tables of probes, and the one function that checks them.

use crate::support::server::{Answer, Controllers, Server, wait_for};
use crate::support::traces;
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the Python files of the probes lie.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/security/probes")
}

/// What an attack must come to inside.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Inside {
    /// The probe itself reports this refusal: an error's name, or one of several.
    Refused(&'static [&'static str]),
    /// The request ends with this code and reason.
    Ends(&'static str, &'static str),
    /// It works, and is harmless: a control that shows what is not refused.
    Works,
}

/// What the attack must come to outside.
#[derive(Debug, Clone)]
enum Outside {
    Succeeds(Value),
    /// Ends the interpreter, as it may inside.
    Ends(&'static str),
    /// There is no outside: the attack is on the runtime itself.
    Nowhere,
}

/// One attack.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    name: &'static str,
    arguments: Value,
    outside: Outside,
    inside: Inside,
}

impl Probe {
    /// An attack that takes the same arguments outside and inside.
    pub(crate) fn new(name: &'static str, arguments: Value, inside: Inside) -> Self {
        let outside = Outside::Succeeds(arguments.clone());
        Self {
            name,
            arguments,
            outside,
            inside,
        }
    }

    /// Refused with one of these errors.
    pub(crate) fn refused(
        name: &'static str,
        arguments: Value,
        errors: &'static [&'static str],
    ) -> Self {
        Self::new(name, arguments, Inside::Refused(errors))
    }

    /// Other arguments outside, where other files and processes are.
    pub(crate) fn outside(mut self, arguments: Value) -> Self {
        self.outside = Outside::Succeeds(arguments);
        self
    }

    /// Outside the interpreter ends in this way.
    pub(crate) fn ends_outside(mut self, how: &'static str) -> Self {
        self.outside = Outside::Ends(how);
        self
    }

    /// An attack on the runtime itself.
    pub(crate) fn only_inside(mut self) -> Self {
        self.outside = Outside::Nowhere;
        self
    }
}

/// A server with a controller that runs the probes of one file.
pub(crate) struct Suite {
    pub(crate) server: Server,
    file: &'static str,
    controller: &'static str,
}

/// What the controllers of this suite may use, unless a test says otherwise.
const RESOURCES: &str = "resources: {cpu: 2.0, memory: 64Mi, timeout: 60s, pids: 24}";

/// Adds a controller that runs the probes of `file`, with these further lines of contract.
pub(crate) fn probing(
    controllers: Controllers,
    file: &str,
    name: &str,
    contract: &str,
) -> Controllers {
    let code = format!(
        "import {file}  # noqa: F401\nfrom magic import Controller, contract\nfrom probing import attempt\n\n\n\
         @contract(\"./contract.yaml\")\nclass {name}(Controller):\n    def execute(self, input):\n        \
         return attempt(input[\"probe\"], input[\"arguments\"])\n"
    );
    let controllers = controllers.with(name, contract, &code);
    let into = controllers.path().join(name.to_lowercase());
    for module in ["probing", file] {
        let from = folder().join(format!("{module}.py"));
        std::fs::copy(&from, into.join(format!("{module}.py"))).expect("a probe file");
    }
    controllers
}

impl Suite {
    /// Starts a server for the probes of `file`.
    pub(crate) fn start(file: &'static str) -> Self {
        Self::start_with(file, RESOURCES, Controllers::new(), &[])
    }

    /// The same with another contract, beside other controllers, with environment variables.
    pub(crate) fn start_with(
        file: &'static str,
        contract: &str,
        controllers: Controllers,
        environment: &[(&str, &str)],
    ) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "the hostile suite needs root: without it, attacks are refused outside too"
        );
        let controller = "Probing";
        let controllers = probing(controllers, file, controller, contract);
        Self {
            server: Server::start_with(controllers, environment),
            file,
            controller,
        }
    }

    /// Runs one probe as a request.
    pub(crate) fn run(&self, name: &str, arguments: &Value) -> Answer {
        let input = json!({"probe": name, "arguments": arguments});
        self.server.execute(self.controller, &input)
    }

    /// Runs one probe and returns what it reports.
    pub(crate) fn report(&self, name: &str, arguments: &Value) -> (bool, String) {
        let answer = self.run(name, arguments);
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        reported(&answer.body["result"])
    }

    /// Begins a request that stays, and returns it with the host's number of its process. Dropping the
    /// connection cancels the request.
    pub(crate) fn hold(&self, mark: &str) -> (TcpStream, u32) {
        let input = json!({"probe": "hold", "arguments": {"name": mark}}).to_string();
        let mut stream = TcpStream::connect(self.server.address).expect("the server accepts");
        write!(
            stream,
            "POST /api/execute/{} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{input}",
            self.controller,
            self.server.address,
            input.len()
        )
        .expect("the server reads");
        let pid = wait_for("the held worker", || {
            traces::descendants(self.server.pid())
                .into_iter()
                .find(|pid| {
                    std::fs::read_to_string(format!("/proc/{pid}/comm"))
                        .is_ok_and(|name| name.trim_end() == mark)
                })
        });
        (stream, pid)
    }

    /// Runs every probe outside, then inside, and compares.
    pub(crate) fn check(&self, probes: &[Probe]) {
        let orders: Vec<(&str, &Value)> = probes
            .iter()
            .filter_map(|probe| match &probe.outside {
                Outside::Succeeds(arguments) => Some((probe.name, arguments)),
                Outside::Ends(_) => Some((probe.name, &probe.arguments)),
                Outside::Nowhere => None,
            })
            .collect();
        let mut reports = outside(self.file, &orders).into_iter();
        let mut wrong = Vec::new();
        for probe in probes {
            let report = match &probe.outside {
                Outside::Nowhere => continue,
                _ => reports.next().expect("a report for every order"),
            };
            let right = match &probe.outside {
                Outside::Ends(how) => report.1 == *how,
                _ => report.0,
            };
            if !right {
                wrong.push(format!("outside: {probe:?}: {report:?}"));
            }
        }
        for probe in probes {
            let answer = self.run(probe.name, &probe.arguments);
            if !matches(probe.inside, &answer) {
                wrong.push(format!("inside: {probe:?}: {answer:?}"));
            }
        }
        assert!(
            wrong.is_empty(),
            "{} surprises:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        // Whatever was attempted, the next request is served.
        let answer = self.server.get("/api/health");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

fn matches(inside: Inside, answer: &Answer) -> bool {
    match inside {
        Inside::Ends(code, reason) => (answer.code(), answer.reason()) == (code, reason),
        _ if answer.status != 200 => false,
        Inside::Works => reported(&answer.body["result"]).0,
        Inside::Refused(errors) => {
            let (succeeded, detail) = reported(&answer.body["result"]);
            !succeeded && errors.contains(&detail.as_str())
        }
    }
}

/// What a probe reported: whether it succeeded, and how.
pub(crate) fn reported(result: &Value) -> (bool, String) {
    let succeeded = result["succeeded"].as_bool();
    let detail = result["detail"].as_str();
    (
        succeeded.expect("a report"),
        detail.expect("a report").to_owned(),
    )
}

/// Runs probes outside the sandbox, as root in namespaces that are thrown away, and returns their reports.
pub(crate) fn outside(file: &str, orders: &[(&str, &Value)]) -> Vec<(bool, String)> {
    if orders.is_empty() {
        return Vec::new();
    }
    let program = format!(
        "import sys\nsys.path.insert(0, {:?})\nimport {file}, json\nfrom probing import outside\noutside(json.load(sys.stdin))",
        folder()
    );
    let mut child = Command::new("unshare")
        .args([
            "--mount",
            "--ipc",
            "--uts",
            "--net",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            "--",
        ])
        .args(["/usr/bin/python3", "-I", "-B", "-c", &program])
        .env("PROBE_OUTSIDE", "1")
        .env("PROBE_CANARY", "canary")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("unshare(1) and python3 are there");
    let text = json!(orders).to_string();
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(text.as_bytes())
        .expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "outside: {errors}");
    let reports: Vec<_> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| reported(&serde_json::from_slice(line).expect("a report")))
        .collect();
    assert_eq!(reports.len(), orders.len(), "outside: {errors}");
    reports
}

/// The interpreter of the project's own virtual environment, made here if it is not there: one with numpy.
pub(crate) fn python_with_numpy() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let usual = root.join("target/venv/bin/python");
    let has_numpy = |python: &Path| {
        Command::new(python)
            .args(["-I", "-c", "import numpy"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if has_numpy(&usual) {
        return usual;
    }
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).join("venv-with-numpy");
    let python = own.join("bin/python");
    if !has_numpy(&python) {
        let made = Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&own)
            .status();
        assert!(made.is_ok_and(|status| status.success()), "no venv");
        let installed = Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "numpy==2.4.6"])
            .status();
        assert!(
            installed.is_ok_and(|status| status.success()),
            "numpy cannot be installed"
        );
    }
    python
}

/// Waits until nothing of these processes is left.
pub(crate) fn wait_until_gone(pids: &[u32]) {
    wait_for("processes to be gone", || {
        pids.iter()
            .all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
            .then_some(())
    });
}
