//! The same tests on both databases, real ones.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::{Rc, Weak};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use super::postgres_server::Postgres;
use super::{State, StateOptions};
use magic_contract::DatabaseUrl;

mod agreement;
mod deployments;
mod executions;
mod files;
mod keys;
mod logs;
mod migrations;
mod nodes;
mod outages;
mod overtaking;
mod watching;
mod wheels;

thread_local! {
    /// A test opens several places, and one server is enough for all of them.
    static SERVER: RefCell<Weak<Postgres>> = const { RefCell::new(Weak::new()) };
    static DATABASES: Cell<u32> = const { Cell::new(0) };
}

/// An empty place for a state; gone when dropped.
pub(super) struct World {
    place: Place,
}

enum Place {
    Sqlite(tempfile::TempDir),
    Postgres {
        server: Rc<Postgres>,
        database: String,
    },
}

impl World {
    pub(super) fn sqlite() -> Self {
        Self {
            place: Place::Sqlite(tempfile::tempdir().unwrap()),
        }
    }

    pub(super) fn postgres() -> Self {
        let server = SERVER.with_borrow_mut(|shared| {
            shared.upgrade().unwrap_or_else(|| {
                let server = Rc::new(Postgres::start());
                *shared = Rc::downgrade(&server);
                server
            })
        });
        let number = DATABASES.get();
        DATABASES.set(number + 1);
        let database = format!("state_{number}");
        server.database(&database);
        Self {
            place: Place::Postgres { server, database },
        }
    }

    pub(super) fn url(&self) -> DatabaseUrl {
        match &self.place {
            Place::Sqlite(folder) => DatabaseUrl::sqlite(folder.path().join("state.db")),
            Place::Postgres { server, database } => {
                DatabaseUrl::parse(&server.url(database)).unwrap()
            }
        }
    }

    /// Changes the tables as somebody would who has got at the database.
    pub(super) async fn tamper(&self, sql: &'static str) {
        match &self.place {
            Place::Sqlite(folder) => {
                let options = SqliteConnectOptions::new()
                    .filename(folder.path().join("state.db"))
                    .busy_timeout(Duration::from_secs(10));
                let mut connection = options.connect().await.unwrap();
                connection.execute(sqlx::raw_sql(sql)).await.unwrap();
                connection.close().await.unwrap();
            }
            Place::Postgres { server, database } => {
                server.sql(database, &format!("SET search_path = magic_state; {sql}"));
            }
        }
    }

    /// One more node.
    pub(super) async fn open(&self) -> State {
        self.open_with(|_| ()).await
    }

    /// One more node with options of its own.
    pub(super) async fn open_with(&self, change: impl FnOnce(&mut StateOptions)) -> State {
        let mut options = StateOptions::new(self.url());
        change(&mut options);
        State::open(options).await.unwrap()
    }
}

/// Runs a test on each database, one after the other.
pub(super) async fn on_both<T: Future<Output = ()>>(test: impl Fn(Rc<World>) -> T) {
    test(Rc::new(World::sqlite())).await;
    test(Rc::new(World::postgres())).await;
}
