//! The connection is lost during COMMIT: a proxy between the runtime and the
//! server cuts it before or after the server has seen the word.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::super::DatabaseOptions;
use super::super::fixture::TestDatabase;
use super::super::postgres_server::Postgres;
use super::tests::{WRITE, publish, run, session};
use super::*;
use magic_contract::DatabaseUrl;

/// What the proxy does with the next COMMIT.
const PASS: u8 = 0;
const CUT_BEFORE: u8 = 1;
const CUT_AFTER: u8 = 2;
/// Cut after it, and let nobody connect again.
const CUT_FOR_GOOD: u8 = 3;

struct Proxy {
    folder: TempDir,
    mode: Arc<AtomicU8>,
}

impl Proxy {
    fn start(server: &Postgres) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener =
            UnixListener::bind(folder.path().join(server.socket().file_name().unwrap())).unwrap();
        let mode = Arc::new(AtomicU8::new(PASS));
        let (socket, shared) = (server.socket(), Arc::clone(&mode));
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if shared.load(Ordering::SeqCst) == CUT_FOR_GOOD {
                    continue;
                }
                let server = UnixStream::connect(&socket).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&shared)));
            }
        });
        Self { folder, mode }
    }
}

async fn pass(mut client: UnixStream, mut server: UnixStream, mode: Arc<AtomicU8>) {
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let commits = asked[..length].windows(7).any(|bytes| bytes == b"COMMIT\0");
                let cut = if commits { mode.load(Ordering::SeqCst) } else { PASS };
                if cut == CUT_BEFORE {
                    mode.store(PASS, Ordering::SeqCst);
                    return;
                }
                server.write_all(&asked[..length]).await.unwrap();
                if cut == CUT_AFTER || cut == CUT_FOR_GOOD {
                    // Its answer says that the server has committed.
                    let _ = server.read(&mut answered).await.unwrap();
                    if cut == CUT_AFTER {
                        mode.store(PASS, Ordering::SeqCst);
                    }
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The database is asked, and its answer is what the request is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_commit_is_looked_up() {
    let mut test = TestDatabase::postgres(|_| {}).await;
    test.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    let server = test.server.as_ref().unwrap();
    let proxy = Proxy::start(server);
    let through = server.url_through(proxy.folder.path(), "postgres");
    let url = DatabaseUrl::parse(&through).unwrap();
    let mut options = DatabaseOptions::new(url, magic_contract::Environment::Development);
    options.acquire_timeout = Duration::from_secs(2);
    test.database = Database::open(options).await.unwrap();
    for (id, mode, kept) in [
        (1, PASS, true),
        (2, CUT_BEFORE, false),
        (3, CUT_AFTER, true),
        (4, CUT_FOR_GOOD, true),
    ] {
        let session = session(&test, WRITE);
        run(&session, format!("INSERT INTO t VALUES ({id})"))
            .await
            .unwrap();
        proxy.mode.store(mode, Ordering::SeqCst);
        let effects = [publish("a")];
        let commit = Commit {
            outbox: &effects,
            idempotency: None,
        };
        let committed = session.commit(commit).await;
        match (mode, committed) {
            (PASS | CUT_AFTER, Ok(_)) => {}
            (CUT_BEFORE, Err(CommitError::RolledBack(failure))) => {
                assert_eq!(failure.details["retriable"], true, "{failure}");
            }
            (CUT_FOR_GOOD, Err(CommitError::Unknown(failure))) => {
                assert_eq!(failure.reason(), Some("commit_unknown"), "{failure}");
            }
            (_, other) => panic!("{mode}: {other:?}"),
        }
        let rows = test.number("SELECT count(*) FROM t WHERE id = (SELECT max(id) FROM t)");
        assert_eq!(rows.await, 1);
        let last = test.number("SELECT max(id) FROM t").await;
        assert_eq!(last == id, kept, "{mode}: {last}");
    }
    assert_eq!(test.number("SELECT count(*) FROM magic.outbox").await, 3);
}
