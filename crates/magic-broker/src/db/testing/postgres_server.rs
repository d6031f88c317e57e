//! A PostgreSQL server of the tests' own, in a temporary directory, on a socket in it.
//!
//! One for each test process, shared by its tests; each test makes a database of its own. The server
//! runs as the user `postgres` when the tests run as root, since it refuses to be root. It ends with
//! the last test that uses it, and with the process however that ends.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::thread::JoinHandle;

/// A running server.
pub(crate) struct PostgresServer {
    directory: tempfile::TempDir,
    process: u32,
    watcher: Option<JoinHandle<()>>,
    databases: AtomicU32,
}

static SHARED: Mutex<Weak<PostgresServer>> = Mutex::new(Weak::new());

impl PostgresServer {
    /// The server of this process, started if it does not run.
    pub(crate) fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start());
        *shared = Arc::downgrade(&server);
        server
    }

    /// How to connect to a new, empty database.
    pub(crate) async fn database(&self) -> PgConnectOptions {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection = self.connect("postgres").await;
        connection
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await
            .expect("a new database");
        self.options(&name)
    }

    async fn connect(&self, database: &str) -> PgConnection {
        self.options(database)
            .connect()
            .await
            .expect("a connection to the test's own server")
    }

    fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new()
            .socket(self.directory.path())
            .username("postgres")
            .database(database)
            .disable_statement_logging()
    }

    fn start() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("pg")
            .tempdir()
            .expect("a temporary directory");
        if is_root() {
            let chown = Command::new("chown")
                .arg("postgres:postgres")
                .arg(directory.path())
                .status();
            assert!(
                chown.is_ok_and(|status| status.success()),
                "the user `postgres` must exist to run PostgreSQL as"
            );
        }
        let programs = programs();
        let data = directory.path().join("data");
        let made = command(&programs.join("initdb"), directory.path())
            .arg("-D")
            .arg(&data)
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8"])
            .args(["--locale=C.UTF-8", "--no-sync", "--no-instructions"])
            .stdout(Stdio::null())
            .output()
            .expect("initdb runs");
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut server = command(&programs.join("postgres"), directory.path());
        server
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(directory.path())
            .args(["-c", "listen_addresses="])
            .args(["-c", "fsync=off", "-c", "full_page_writes=off"])
            .args(["-c", "shared_buffers=16MB", "-c", "autovacuum=off"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let (ready, started) = mpsc::channel();
        // The kernel ends the server when the thread that started it ends, so that thread lives as
        // long as the server does.
        let watcher = std::thread::spawn(move || {
            let mut child = server.spawn().expect("postgres runs");
            watch(&mut child, &ready);
            let _ = child.wait();
        });
        let process = started
            .recv_timeout(std::time::Duration::from_secs(60))
            .expect("PostgreSQL gets ready within a minute");
        Self {
            directory,
            process,
            watcher: Some(watcher),
            databases: AtomicU32::new(0),
        }
    }
}

/// Reads what the server says until it says no more, and tells when it is ready.
fn watch(child: &mut Child, ready: &mpsc::Sender<u32>) {
    let Some(stderr) = child.stderr.take() else {
        return;
    };
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if line.contains("ready to accept connections") {
            let _ = ready.send(child.id());
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if let Ok(process) = i32::try_from(self.process) {
            // PostgreSQL's immediate shutdown.
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(process),
                nix::sys::signal::Signal::SIGQUIT,
            );
        }
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A command as the user that PostgreSQL may run as.
fn command(program: &Path, directory: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
            .args(["--pdeathsig=KILL", "--"])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(directory).env("LC_ALL", "C.UTF-8");
    command
}

/// Where the server's programs are; Debian keeps them out of the path.
fn programs() -> PathBuf {
    let asked = Command::new("pg_config").arg("--bindir").output();
    if let Ok(output) = asked {
        let directory = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        if directory.join("initdb").exists() {
            return directory;
        }
    }
    let mut installed: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("bin"))
        .filter(|directory| directory.join("initdb").exists())
        .collect();
    installed.sort();
    installed
        .pop()
        .expect("PostgreSQL's server programs are installed")
}
