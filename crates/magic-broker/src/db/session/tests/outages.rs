//! Time that is up, connections that are gone, databases that restart.

use tokio::task::JoinSet;

use super::super::super::DatabaseOptions;
use super::super::super::fixture::TestDatabase;
use super::super::*;
use super::{LIMITS, READ, WRITE, run, session, soon, with_table};

/// connection is free again, and nothing of the request is kept.
#[tokio::test(flavor = "multi_thread")]
async fn slow_statements_end_with_their_request() {
    for test in with_table().await {
        let endless = if test.server.is_some() {
            "SELECT pg_sleep(1000)"
        } else {
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        };
        for (access, insert) in [(WRITE, true), (READ, false)] {
            let deadline = Instant::now() + Duration::from_millis(300);
            let session = DatabaseSession::new(test.database.clone(), access, deadline, LIMITS);
            if insert {
                run(&session, "INSERT INTO t VALUES (1)").await.unwrap();
            }
            let failure = run(&session, endless).await.unwrap_err();
            assert_eq!(failure.code, ErrorCode::BudgetExceeded, "{failure}");
            assert_eq!(failure.details["budget"], "time");
        }
        let next = session(&test, WRITE);
        assert_eq!(run(&next, "SELECT count(*) FROM t").await.unwrap(), "0");
        run(&next, "INSERT INTO t VALUES (1)").await.unwrap();
        next.commit(Commit::default()).await.unwrap();
        if test.server.is_some() {
            let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1000)' AND state = 'active'";
            wait_for_zero(&test, running).await;
        }
    }
}

/// A statement's own limit ends the call, and the transaction goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_can_be_caught() {
    let change = |options: &mut DatabaseOptions| {
        options.statement_timeout = Duration::from_millis(300);
    };
    let test = TestDatabase::postgres(change).await;
    test.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    let session = session(&test, WRITE);
    run(&session, "INSERT INTO t VALUES (1)").await.unwrap();
    let failure = run(&session, "SELECT pg_sleep(1000)").await.unwrap_err();
    assert_eq!(failure.details["budget"], "time");
    run(&session, "INSERT INTO t VALUES (2)").await.unwrap();
    // Between its statements it may wait for as long as its request.
    let idle =
        "SELECT setting::int FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'";
    let idle = run(&session, idle).await.unwrap().parse::<i64>().unwrap();
    assert!(idle > 30_000, "{idle}");
    session.commit(Commit::default()).await.unwrap();
    assert_eq!(test.number("SELECT count(*) FROM t").await, 2);
}

/// Dropping a call that waits for the database ends its statement and its transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_ends_its_statement() {
    for test in with_table().await {
        let slow = if test.server.is_some() {
            "SELECT pg_sleep(1000)"
        } else {
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        };
        let session = session(&test, WRITE);
        run(&session, "INSERT INTO t VALUES (1)").await.unwrap();
        let call = run(&session, slow);
        assert!(
            tokio::time::timeout(Duration::from_millis(200), call)
                .await
                .is_err()
        );
        // The session knows that its transaction is gone.
        let failure = run(&session, "SELECT 1").await.unwrap_err();
        assert_eq!(failure.details["retriable"], true);
        let Err(CommitError::RolledBack(_)) = session.commit(Commit::default()).await else {
            panic!("a lost transaction cannot commit");
        };
        let next = DatabaseSession::new(test.database.clone(), WRITE, soon(), LIMITS);
        assert_eq!(run(&next, "SELECT count(*) FROM t").await.unwrap(), "0");
    }
}

/// Requests wait for connections within bounds, and go on when there are some again.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_connections_is_bounded() {
    let change = |options: &mut DatabaseOptions| {
        options.pool_size = 1;
        options.queue = 2;
        options.acquire_timeout = Duration::from_millis(300);
    };
    for test in [
        TestDatabase::sqlite(change).await,
        TestDatabase::postgres(change).await,
    ] {
        let holder = session(&test, WRITE);
        run(&holder, "SELECT 1").await.unwrap();
        let mut others = JoinSet::new();
        for _ in 0..8 {
            let session = session(&test, WRITE);
            others.spawn(async move { run(&session, "SELECT 1").await });
        }
        let mut refused = 0;
        while let Some(result) = others.join_next().await {
            let failure = result.unwrap().unwrap_err();
            assert_eq!(failure.details["retriable"], true, "{failure}");
            refused += usize::from(failure.message.contains("too many"));
        }
        assert!(refused >= 5, "{refused} were refused at once");
        holder.rollback().await;
        let next = session(&test, WRITE);
        assert_eq!(run(&next, "SELECT 1").await.unwrap(), "1");
    }
}

/// A connection that is killed takes its transaction along; so says the commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_connection_rolls_back() {
    let test = TestDatabase::postgres(|_| {}).await;
    test.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE state = 'idle in transaction'";
    let wait = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'";
    // Before a call: the call says so, and the commit.
    let first = session(&test, WRITE);
    run(&first, "INSERT INTO t VALUES (1)").await.unwrap();
    assert_eq!(test.number(kill).await, 1);
    wait_for_zero(&test, wait).await;
    let failure = run(&first, "INSERT INTO t VALUES (2)").await.unwrap_err();
    assert_eq!(failure.details["retriable"], true, "{failure}");
    let Err(CommitError::RolledBack(_)) = first.commit(Commit::default()).await else {
        panic!("nothing was kept");
    };
    // Before the commit: the commit finds out that it did not take place.
    let second = session(&test, WRITE);
    run(&second, "INSERT INTO t VALUES (1)").await.unwrap();
    assert_eq!(test.number(kill).await, 1);
    wait_for_zero(&test, wait).await;
    let Err(CommitError::RolledBack(failure)) = second.commit(Commit::default()).await else {
        panic!("nothing was kept");
    };
    assert_eq!(failure.details["retriable"], true, "{failure}");
    assert_eq!(test.number("SELECT count(*) FROM t").await, 0);
}

/// A session that is killed while it commits is found to be rolled back.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_killed_while_it_commits_rolls_back() {
    let test = TestDatabase::postgres(|_| {}).await;
    test.run(
        "CREATE TABLE t (id int PRIMARY KEY);
         CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(9); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    .await;
    let session = session(&test, WRITE);
    run(&session, "INSERT INTO t VALUES (1)").await.unwrap();
    let killed = async {
        let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE '%COMMIT' AND state = 'active'";
        while test.number(kill).await == 0 {
            tokio::task::yield_now().await;
        }
    };
    let (committed, ()) = tokio::join!(session.commit(Commit::default()), killed);
    let Err(CommitError::RolledBack(failure)) = committed else {
        panic!("nothing was kept: {committed:?}");
    };
    assert_eq!(failure.details["retriable"], true, "{failure}");
    assert_eq!(test.number("SELECT count(*) FROM t").await, 0);
}

/// everything goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_database_is_survived() {
    let change = |options: &mut DatabaseOptions| {
        options.acquire_timeout = Duration::from_secs(2);
    };
    let mut test = TestDatabase::postgres(change).await;
    test.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    // Several idle connections that will be dead.
    let sessions: Vec<_> = (0..4).map(|_| session(&test, READ)).collect();
    for one in &sessions {
        run(one, "SELECT 1").await.unwrap();
    }
    for one in sessions {
        one.rollback().await;
    }
    test.server.as_mut().unwrap().stop();
    let failure = run(&session(&test, WRITE), "SELECT 1").await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::ControllerFailed);
    assert_eq!(failure.details["retriable"], true, "{failure}");
    test.server.as_mut().unwrap().resume();
    let next = session(&test, WRITE);
    run(&next, "INSERT INTO t VALUES (1)").await.unwrap();
    next.commit(Commit::default()).await.unwrap();
    assert_eq!(test.number("SELECT count(*) FROM t").await, 1);
}

async fn wait_for_zero(test: &TestDatabase, sql: &'static str) {
    let until = Instant::now() + Duration::from_secs(20);
    while test.number(sql).await != 0 {
        assert!(Instant::now() < until, "{sql}");
        tokio::task::yield_now().await;
    }
}
