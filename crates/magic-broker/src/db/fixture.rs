//! Real databases for tests: SQLite in a folder of its own, and a PostgreSQL
//! server that the test starts on a socket in a folder of its own.
//!
//! Everything ends with the value that started it. Should the test process be
//! killed, the kernel ends the server with it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use magic_contract::Environment;
use sqlx::{ConnectOptions, Executor, PgConnection, Row};
use tempfile::TempDir;

use super::{Database, DatabaseOptions, DatabaseUrl, script};

/// How long a server may take to start on a loaded machine.
const START_TIME: Duration = Duration::from_secs(60);

/// A PostgreSQL server.
#[derive(Debug)]
pub(crate) struct PostgresServer {
    folder: TempDir,
    server: Option<Child>,
}

impl PostgresServer {
    /// Makes an empty cluster and starts it.
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("magic-pg-")
            .tempdir()
            .expect("a folder");
        // The server refuses to run as root, so the folder is its user's.
        if is_root() {
            let given = Command::new("chown")
                .arg("postgres:")
                .arg(folder.path())
                .status()
                .expect("chown runs");
            assert!(given.success(), "the folder is given to postgres");
        }
        let made = as_server_user(&program("initdb"))
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C",
            ])
            .arg(folder.path().join("data"))
            .stdout(Stdio::null())
            .status()
            .expect("initdb runs");
        assert!(made.success(), "initdb");
        let mut this = Self {
            folder,
            server: None,
        };
        this.resume();
        this
    }

    /// Starts the server again.
    pub(crate) fn resume(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a log");
        let server = as_server_user(&program("postgres"))
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .arg("-k")
            .arg(self.folder.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off"])
            .args(["-c", "max_connections=60", "-c", "shared_buffers=16MB"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("postgres runs");
        self.server = Some(server);
        let until = Instant::now() + START_TIME;
        while !self.answers() {
            assert!(Instant::now() < until, "the server starts: {}", self.log());
            std::thread::yield_now();
        }
    }

    /// Stops the server at once, as a crash would.
    pub(crate) fn crash(&mut self) {
        if let Some(mut server) = self.server.take() {
            let pid = i32::try_from(server.id()).expect("a process id");
            let pid = nix::unistd::Pid::from_raw(pid);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT).expect("it is there");
            server.wait().expect("it ends");
        }
    }

    /// The URL of a database, through the socket of a folder.
    pub(crate) fn url_through(&self, folder: &Path, database: &str) -> String {
        format!(
            "postgres://postgres@localhost/{database}?host={}",
            folder.display()
        )
    }

    /// The URL of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        self.url_through(self.folder.path(), database)
    }

    /// The server's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join(".s.PGSQL.5432")
    }

    /// A connection beside the runtime's.
    pub(crate) async fn connect(&self, database: &str) -> PgConnection {
        let url = self.url(database).parse().expect("a URL");
        sqlx::postgres::PgConnectOptions::from_url(&url)
            .expect("options")
            .connect()
            .await
            .expect("a connection")
    }

    /// A new, empty database.
    pub(crate) async fn create_database(&self, name: &str) {
        let sql = format!("CREATE DATABASE {name}");
        self.connect("postgres")
            .await
            .execute(script::script(sql))
            .await
            .expect("a database");
    }

    fn answers(&self) -> bool {
        as_server_user(&program("pg_isready"))
            .arg("-q")
            .arg("-h")
            .arg(self.folder.path())
            .status()
            .expect("pg_isready runs")
            .success()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.crash();
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A program of the server, which Debian keeps out of the path.
fn program(name: &str) -> PathBuf {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    folders.sort();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        let folder = String::from_utf8_lossy(&output.stdout);
        folders.push(folder.trim().into());
    }
    folders
        .iter()
        .rev()
        .map(|folder| folder.join(name))
        .find(|path| path.exists())
        .expect("PostgreSQL's server is installed; on Debian type: apt-get install postgresql")
}

/// Runs a program as a user that PostgreSQL accepts, and not longer than this process.
fn as_server_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--reset-env",
        ]);
    }
    command
        .args(["--pdeathsig=KILL", "--"])
        .arg(program)
        .current_dir("/");
    command
}

/// One open database of either kind, with all that keeps it alive.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    pub(crate) database: Database,
    pub(crate) url: DatabaseUrl,
    pub(crate) server: Option<PostgresServer>,
    _folder: TempDir,
}

impl TestDatabase {
    /// SQLite, with options changed by the test.
    pub(crate) async fn sqlite(change: impl FnOnce(&mut DatabaseOptions)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = DatabaseUrl::sqlite(folder.path().join("data/controllers.db"));
        Self::open(url, folder, None, change).await
    }

    /// PostgreSQL, with options changed by the test.
    pub(crate) async fn postgres(change: impl FnOnce(&mut DatabaseOptions)) -> Self {
        let server = PostgresServer::start();
        let url = DatabaseUrl::parse(&server.url("postgres")).expect("a URL");
        let folder = tempfile::tempdir().expect("a folder");
        Self::open(url, folder, Some(server), change).await
    }

    /// One of each.
    pub(crate) async fn both() -> [Self; 2] {
        [Self::sqlite(|_| {}).await, Self::postgres(|_| {}).await]
    }

    async fn open(
        url: DatabaseUrl,
        folder: TempDir,
        server: Option<PostgresServer>,
        change: impl FnOnce(&mut DatabaseOptions),
    ) -> Self {
        let mut options = DatabaseOptions::new(url.clone(), Environment::Development);
        options.pool_size = 4;
        change(&mut options);
        let database = Database::open(options).await.expect("a database");
        Self {
            database,
            url,
            server,
            _folder: folder,
        }
    }

    /// Runs a script beside every session, committed at once.
    pub(crate) async fn run(&self, sql: &str) {
        let script = script::script(sql.to_owned());
        match &self.server {
            Some(server) => {
                let mut connection = server.connect("postgres").await;
                connection.execute(script).await.expect("a script");
            }
            None => {
                let mut connection = self.sqlite_connection().await;
                connection.execute(script).await.expect("a script");
            }
        }
    }

    /// A number that a query gives, seen from outside of every session.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        match &self.server {
            Some(server) => {
                let mut connection = server.connect("postgres").await;
                // The simple protocol gives every type as text.
                let row = connection.fetch_one(sqlx::raw_sql(sql)).await;
                let text = row.and_then(|row| row.try_get_unchecked::<String, _>(0));
                text.map(|text| text.parse().expect("a number"))
            }
            None => {
                let mut connection = self.sqlite_connection().await;
                sqlx::query_scalar(sql).fetch_one(&mut connection).await
            }
        }
        .expect("a number")
    }

    async fn sqlite_connection(&self) -> sqlx::SqliteConnection {
        let super::database_url::Place::Sqlite(path) = self.url.place() else {
            panic!("a file");
        };
        super::sqlite::options(path, Duration::from_secs(30))
            .connect()
            .await
            .expect("a connection")
    }
}
