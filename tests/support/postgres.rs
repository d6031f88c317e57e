//! A real PostgreSQL of one test's own, on a unix socket and a loopback port. The unit tests of the broker
//! start theirs by this file, too.
//!
//! Making a cluster takes a second and is the same every time, so it is made once per build folder and
//! copied. Nothing is synced: what such a server loses by a crash of the machine, no test asks for.

use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running server; ended when dropped, and by the kernel if the thread that started it ends first.
#[derive(Debug)]
pub(crate) struct Postgres {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
    place: Place,
}

/// Where a server listens.
#[derive(Debug)]
struct Place {
    address: String,
    /// The file of the network in which that address is, if it is not the caller's.
    network: Option<PathBuf>,
}

impl Postgres {
    /// Starts a server with one superuser, `postgres`, who needs no password.
    pub(crate) fn start() -> Self {
        Self::start_in(Place {
            address: "127.0.0.1".to_owned(),
            network: None,
        })
    }

    /// The same on a host of a network that the caller reaches, and which anybody on it may use.
    pub(crate) fn start_on(network: &Path, address: &str) -> Self {
        Self::start_in(Place {
            address: address.to_owned(),
            network: Some(network.to_owned()),
        })
    }

    fn start_in(place: Place) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("our own folder");
        let data = folder.path().join("data");
        run(
            Command::new("cp").arg("-a").arg(template()).arg(&data),
            "copy the cluster",
        );
        if place.network.is_some() {
            let mut rules = File::options()
                .append(true)
                .open(data.join("pg_hba.conf"))
                .expect("the cluster has it");
            writeln!(rules, "host all all samenet trust").expect("our own file");
        }
        let port = free_port();
        let mut started = Self {
            child: launch(folder.path(), &data, port, &place),
            folder,
            port,
            place,
        };
        started.wait_until_ready();
        started
    }

    /// The URL of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        let Place { address, .. } = &self.place;
        format!("postgres://postgres@{address}:{}/{database}", self.port)
    }

    /// The URL of a database through a socket of the server's name in a folder, perhaps somebody else's.
    pub(crate) fn url_through(&self, folder: &Path, database: &str) -> String {
        let folder = folder.display();
        let port = self.port;
        format!("postgres://postgres@localhost:{port}/{database}?host={folder}")
    }

    /// The loopback port that it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The server's own socket.
    pub(crate) fn socket(&self) -> PathBuf {
        let name = format!(".s.PGSQL.{}", self.port);
        self.folder.path().join("data").join(name)
    }

    /// Makes a new, empty database and returns its URL.
    pub(crate) fn database(&self, name: &str) -> String {
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(name)
    }

    /// Runs SQL and returns what it prints, unaligned and without headers.
    pub(crate) fn sql(&self, database: &str, text: &str) -> String {
        let output = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d"])
            .arg(self.url(database))
            .args(["-c", text])
            .output()
            .expect("psql is installed with the server");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}: {said}");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// Ends the server at once, as a crash would, and starts it again on the same port.
    pub(crate) fn restart(mut self) -> Self {
        self.stop();
        self.resume();
        self
    }

    /// Starts an ended server again on the same port.
    pub(crate) fn resume(&mut self) {
        let data = self.folder.path().join("data");
        // A killed server leaves its lock behind, and its number may be somebody's by now.
        let _ = std::fs::remove_file(data.join("postmaster.pid"));
        self.child = launch(self.folder.path(), &data, self.port, &self.place);
        self.wait_until_ready();
    }

    /// Ends the server at once.
    pub(crate) fn stop(&mut self) {
        // SIGQUIT is the server's own word for "immediately", and takes its processes along.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        let _ = self.child.wait();
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let asked = Command::new(bindir().join("pg_isready"))
                .args(["-q", "-h", &self.place.address])
                .args(["-p", &self.port.to_string()])
                .status()
                .expect("pg_isready is installed with the server");
            if asked.success() {
                return;
            }
            let ended = self.child.try_wait().expect("a child of ours");
            let log = self.folder.path().join("log");
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none(), "PostgreSQL ended: {}", said());
            assert!(
                Instant::now() < deadline,
                "PostgreSQL is not ready: {}",
                said()
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn launch(folder: &Path, data: &Path, port: u16, place: &Place) -> Child {
    let log = File::create(folder.join("log")).expect("a log file");
    let server = as_postgres(&bindir().join("postgres"));
    let mut command = match &place.network {
        None => server,
        Some(network) => {
            let mut net = std::ffi::OsString::from("--net=");
            net.push(network);
            let mut there = Command::new("nsenter");
            there.arg(net).arg("--").arg(server.get_program());
            there.args(server.get_args());
            there
        }
    };
    command
        .arg("-D")
        .arg(data)
        .args(["-c", &format!("listen_addresses={}", place.address), "-k"])
        .arg(data)
        .args([
            "-c",
            "fsync=off",
            "-c",
            "shared_buffers=16MB",
            "-c",
            "max_connections=60",
        ])
        .args(["-p", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the server starts")
}

/// The server refuses to run as root, so root becomes its user.
fn as_postgres(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if rustix::process::geteuid().is_root() {
        command.args([
            "--reuid",
            "postgres",
            "--regid",
            "postgres",
            "--init-groups",
        ]);
    }
    command.arg("--").arg(program);
    command
}

fn bindir() -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|path| path.join("postgres").exists())
        .collect();
    versions.sort();
    versions
        .pop()
        .expect("PostgreSQL is missing; on Debian: apt-get install postgresql")
}

/// A cluster to copy, made by whoever needs it first.
fn template() -> PathBuf {
    let program = std::env::current_exe().expect("a program");
    let build = program.parent().expect("the build folder");
    let place = build.join("postgres-template");
    let mut lock = File::create(build.join("postgres-template.lock")).expect("a lock file");
    lock.lock().expect("a lock");
    let done = place.join("PG_VERSION.magic");
    if !done.exists() {
        let _ = std::fs::remove_dir_all(&place);
        // Not made in place: the server's user cannot enter everybody's build folder.
        let scratch = tempfile::tempdir().expect("a temporary folder");
        std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o777))
            .expect("our own folder");
        let made = scratch.path().join("data");
        run(
            as_postgres(&bindir().join("initdb"))
                .arg("-D")
                .arg(&made)
                .args([
                    "-U",
                    "postgres",
                    "-A",
                    "trust",
                    "-E",
                    "UTF8",
                    "--locale=C",
                    "-N",
                ]),
            "make a cluster",
        );
        run(
            Command::new("cp").arg("-a").arg(&made).arg(&place),
            "keep the cluster",
        );
        std::fs::write(&done, "").expect("a mark");
    }
    lock.flush().expect("an open file");
    place
}

fn run(command: &mut Command, what: &str) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {said}");
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}
