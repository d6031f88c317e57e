//! The promises of the transaction, on both databases.

use std::sync::Arc;

use sqlx::{Executor, Row};
use tokio::task::JoinSet;

use super::super::fixture::TestDatabase;
use super::super::script::script;
use super::*;

pub(super) const LIMITS: Limits = Limits {
    rows_per_call: 1_000,
    bytes_per_call: 1_000_000,
    writes_left: 1_000,
};

pub(super) const WRITE: Access = Access {
    write: true,
    raw: true,
};
pub(super) const READ: Access = Access {
    write: false,
    raw: false,
};

pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

pub(super) fn session(test: &TestDatabase, access: Access) -> DatabaseSession {
    DatabaseSession::new(test.database.clone(), access, soon(), LIMITS)
}

pub(super) fn publish(id: &str) -> Effect {
    Effect::Publish {
        queue: "invoices".to_owned(),
        id: id.to_owned(),
        body: "{\"nul\":\"\\u0000\"}".to_owned(),
    }
}

/// One call that runs this statement; `None` as its result when it was given up.
pub(super) async fn statement(
    session: &DatabaseSession,
    raw: bool,
    sql: impl Into<String>,
) -> Result<String, Failure> {
    let mut turn = session.enter(raw, session.deadline).await?;
    let limit = turn.limit;
    let (connection, limits) = turn.parts()?;
    limits.writes_left -= 1;
    let sql = script(sql.into());
    let result = timeout_at(limit, async {
        let (columns, value) = match connection {
            Connection::Sqlite(connection) => {
                let row = connection.fetch_optional(sql).await;
                let row = row.map_err(|error| failure::of("run it", &error))?;
                row.map_or((0, None), |row| (row.len(), row.try_get::<i64, _>(0).ok()))
            }
            Connection::Postgres(connection) => {
                let row = connection.fetch_optional(sql).await;
                let row = row.map_err(|error| failure::of("run it", &error))?;
                row.map_or((0, None), |row| {
                    let text = row.try_get_unchecked::<String, _>(0).ok();
                    (row.len(), text.and_then(|text| text.parse().ok()))
                })
            }
        };
        Ok(match (columns, value) {
            (0, _) => String::new(),
            (_, Some(number)) => number.to_string(),
            (_, None) => "null".to_owned(),
        })
    })
    .await;
    turn.leave(result.ok()).await
}

pub(super) async fn run(
    session: &DatabaseSession,
    sql: impl Into<String>,
) -> Result<String, Failure> {
    statement(session, false, sql).await
}

pub(super) async fn with_table() -> [TestDatabase; 2] {
    let both = TestDatabase::both().await;
    for test in &both {
        test.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    }
    both
}

/// A request is a task that may move between threads.
#[test]
fn sessions_move_between_threads() {
    fn moves<T: Send>(_: T) {}
    fn all(session: &DatabaseSession, call: &mut Call<'_>) {
        moves(session.perform(call, ""));
        moves(session.commit(Commit::default()));
        moves(session.rollback());
    }
    let _ = all;
}

/// Rows, effects and the order of effects become durable together.
#[tokio::test(flavor = "multi_thread")]
async fn rows_and_effects_commit_together() {
    for test in with_table().await {
        let session = session(&test, WRITE);
        run(&session, "INSERT INTO t VALUES (1)").await.unwrap();
        run(&session, "INSERT INTO t VALUES (2)").await.unwrap();
        assert_eq!(test.number("SELECT count(*) FROM t").await, 0);
        let effects = [publish("b"), publish("a"), publish("c")];
        let committed = session
            .commit(Commit {
                outbox: &effects,
                idempotency: None,
            })
            .await
            .unwrap();
        assert_eq!(committed, Committed { effects: 3 });
        assert_eq!(test.number("SELECT count(*) FROM t").await, 2);
        let outbox = test.database.outbox();
        outbox.wait().await;
        let claimed = outbox.claim(10, Duration::from_secs(60)).await.unwrap();
        let delivered: Vec<Effect> = claimed.into_iter().map(|one| one.effect).collect();
        assert_eq!(delivered, effects);
        // The session is over.
        assert!(run(&session, "SELECT 1").await.is_err());
        assert!(session.commit(Commit::default()).await.is_err());
    }
}

/// A session that rolls back, or is dropped, leaves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_without_a_commit() {
    for test in with_table().await {
        let rolled_back = session(&test, WRITE);
        run(&rolled_back, "INSERT INTO t VALUES (1)").await.unwrap();
        rolled_back.rollback().await;
        let dropped = session(&test, WRITE);
        run(&dropped, "INSERT INTO t VALUES (1)").await.unwrap();
        drop(dropped);
        let next = session(&test, WRITE);
        assert_eq!(run(&next, "SELECT count(*) FROM t").await.unwrap(), "0");
        run(&next, "INSERT INTO t VALUES (1)").await.unwrap();
        next.commit(Commit::default()).await.unwrap();
        assert_eq!(test.number("SELECT count(*) FROM t").await, 1);
    }
}

/// An error that is caught undoes its call, the whole call, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_caught_error_undoes_one_call() {
    for test in with_table().await {
        let session = session(&test, WRITE);
        run(&session, "INSERT INTO t VALUES (1)").await.unwrap();
        let double = run(
            &session,
            "INSERT INTO t VALUES (2); INSERT INTO t VALUES (1)",
        )
        .await
        .unwrap_err();
        assert!(double.message.contains("constraint"), "{double}");
        let before = session.state.lock().await.limits.writes_left;
        assert_eq!(before, LIMITS.writes_left - 1);
        run(&session, "INSERT INTO t VALUES (3)").await.unwrap();
        session.commit(Commit::default()).await.unwrap();
        assert_eq!(test.number("SELECT count(*) FROM t").await, 2);
        assert_eq!(test.number("SELECT sum(id) FROM t").await, 4);
    }
}

/// Without the right to write the database itself refuses, effects still commit,
/// and with the right the same statement passes.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_write_nothing_is_written() {
    for test in with_table().await {
        let reader = session(&test, READ);
        assert_eq!(run(&reader, "SELECT count(*) FROM t").await.unwrap(), "0");
        run(&reader, "INSERT INTO t VALUES (1)").await.unwrap_err();
        // The error costs nothing that was read.
        assert_eq!(run(&reader, "SELECT count(*) FROM t").await.unwrap(), "0");
        let effects = [publish("a")];
        let commit = Commit {
            outbox: &effects,
            idempotency: None,
        };
        assert_eq!(reader.commit(commit).await.unwrap().effects, 1);
        assert_eq!(test.database.outbox().depth().await.unwrap(), 1);
        let writer = session(&test, WRITE);
        run(&writer, "INSERT INTO t VALUES (1)").await.unwrap();
        writer.commit(Commit::default()).await.unwrap();
        assert_eq!(test.number("SELECT count(*) FROM t").await, 1);
    }
}

/// A commit of nothing asks the database for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_unused_session_costs_nothing() {
    let test = TestDatabase::sqlite(|_| {}).await;
    test.database.close().await;
    let session = session(&test, WRITE);
    assert_eq!(
        session.commit(Commit::default()).await,
        Ok(Committed::default())
    );
}

/// A statement that would run for ever ends with the time of its request, the
/// Writers of one file wait for each other in their order, and none fails.
#[tokio::test(flavor = "multi_thread")]
async fn sqlite_writers_take_turns() {
    let test = Arc::new(
        TestDatabase::sqlite(|options| options.acquire_timeout = Duration::from_secs(30)).await,
    );
    test.run("CREATE TABLE t (id integer PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0)")
        .await;
    let mut writers = JoinSet::new();
    for _ in 0..50 {
        let session = session(&test, WRITE);
        writers.spawn(async move {
            let before = run(&session, "SELECT n FROM t").await.unwrap();
            let next = before.parse::<i64>().unwrap() + 1;
            run(&session, format!("UPDATE t SET n = {next}"))
                .await
                .unwrap();
            session.commit(Commit::default()).await.unwrap();
        });
    }
    while let Some(result) = writers.join_next().await {
        result.unwrap();
    }
    assert_eq!(test.number("SELECT n FROM t").await, 50);
}

/// The calls of one session run one at a time in the order in which they came.
#[tokio::test(flavor = "multi_thread")]
async fn calls_of_one_session_are_in_order() {
    for test in with_table().await {
        let session = session(&test, WRITE);
        let calls = (0..20).map(|id| {
            run(
                &session,
                format!("INSERT INTO t VALUES ((SELECT count(*) FROM t) * 100 + {id})"),
            )
        });
        for result in futures_util::future::join_all(calls).await {
            result.unwrap();
        }
        session.commit(Commit::default()).await.unwrap();
        let wrong = test
            .number("SELECT count(*) FROM t WHERE id % 101 <> 0")
            .await;
        assert_eq!(wrong, 0);
        assert_eq!(test.number("SELECT count(*) FROM t").await, 20);
    }
}

/// A constraint that is judged at the end of the transaction is the author's business.
#[tokio::test(flavor = "multi_thread")]
async fn deferred_constraints_roll_back() {
    for test in TestDatabase::both().await {
        test.run("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int CONSTRAINT needs_a REFERENCES a (id) DEFERRABLE INITIALLY DEFERRED)")
            .await;
        let session = session(&test, WRITE);
        run(&session, "INSERT INTO b VALUES (7)").await.unwrap();
        let effects = [publish("a")];
        let commit = Commit {
            outbox: &effects,
            idempotency: None,
        };
        let Err(CommitError::RolledBack(failure)) = session.commit(commit).await else {
            panic!("it breaks a constraint");
        };
        assert!(failure.message.contains("constraint"), "{failure}");
        assert!(!failure.message.contains('7'), "{failure}");
        assert_eq!(test.number("SELECT count(*) FROM b").await, 0);
        assert_eq!(test.database.outbox().depth().await.unwrap(), 0);
    }
}

/// A database that restarts is a failure that can be tried again, and then
/// Polls a future at most so many times and then drops it.
async fn polled_at_most<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(move |context| {
        if left == 0 {
            return std::task::Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// A request that is dropped at whatever await leaves all of itself or nothing,
/// all of it if its commit was answered, and a database that works.
#[tokio::test(flavor = "multi_thread")]
async fn dropping_at_any_await_leaves_all_or_nothing() {
    for test in with_table().await {
        let mut answered = 0;
        let mut polls = 0;
        while answered < 5 {
            let id = polls;
            let whole = async {
                let session = session(&test, WRITE);
                run(&session, format!("INSERT INTO t VALUES ({id})")).await?;
                let _ = run(&session, format!("INSERT INTO t VALUES ({id})")).await;
                let raw = format!("UPDATE t SET id = -{id} - 1 WHERE id = {id}");
                statement(&session, true, raw).await?;
                let effects = [publish(&id.to_string())];
                let commit = Commit {
                    outbox: &effects,
                    idempotency: None,
                };
                let committed = session.commit(commit).await;
                Ok::<_, Failure>(committed.expect("a commit"))
            };
            let ended = polled_at_most(polls, whole).await;
            answered += usize::from(matches!(ended, Some(Ok(_))));
            // Waits for what the dropped request still holds.
            let after = session(&test, WRITE);
            let sql = format!("SELECT count(*) FROM t WHERE id = -{id} - 1");
            let rows = run(&after, sql).await.unwrap();
            after.rollback().await;
            let outbox = test.database.outbox();
            let claimed = outbox.claim(10, Duration::from_secs(60)).await.unwrap();
            assert_eq!(rows, claimed.len().to_string(), "after {polls} polls");
            if ended.is_some() {
                assert_eq!(rows, "1", "after {polls} polls");
            }
            let ids: Vec<_> = claimed.iter().map(|one| one.id).collect();
            outbox.done(&ids).await.unwrap();
            polls += 1;
        }
        assert_eq!(test.number("SELECT count(*) FROM t WHERE id >= 0").await, 0);
        assert_eq!(test.database.outbox().depth().await.unwrap(), 0);
    }
}

mod isolation;
mod outages;
