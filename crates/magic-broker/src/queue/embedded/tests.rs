//! The file: who may read it, and what happens when it is damaged.

use crate::queue::{OpenError, QueueKey, QueueOptions, Queues};
use sqlx::{ConnectOptions as _, SqliteConnection};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

fn key() -> QueueKey {
    QueueKey::parse("s/q").unwrap()
}

async fn open(path: &Path) -> Result<Queues, OpenError> {
    Queues::open_embedded(path, QueueOptions::default()).await
}

/// A store with some messages, closed; its file.
async fn filled(messages: usize) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let queues = open(&path).await.unwrap();
    for number in 0..messages {
        let body = format!("\"{}\"", "x".repeat(1000));
        queues
            .publish(&key(), &number.to_string(), &body)
            .await
            .unwrap();
    }
    // Closing moves the log into the file.
    match &queues.store {
        crate::queue::Store::Embedded(store) => store.pool.close().await,
        crate::queue::Store::Redis(_) => unreachable!(),
    }
    (folder, path)
}

async fn raw(path: &Path) -> SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .connect()
        .await
        .unwrap()
}

/// Nobody else on the host reads messages.
#[tokio::test]
async fn the_files_are_the_users_alone() {
    let folder = tempfile::tempdir().unwrap();
    let queues = open(&folder.path().join("queue.db")).await.unwrap();
    queues.publish(&key(), "a", "1").await.unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
    }
}

/// What is on disk is synced with every commit.
#[tokio::test]
async fn commits_are_synced() {
    let (_folder, path) = filled(0).await;
    let queues = open(&path).await.unwrap();
    let crate::queue::Store::Embedded(store) = &queues.store else {
        unreachable!()
    };
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
        .fetch_one(&store.pool)
        .await
        .unwrap();
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&store.pool)
        .await
        .unwrap();
    assert_eq!((synchronous, journal.as_str()), (2, "wal"));
}

/// A body that changed on disk is never delivered; its neighbours are, and the books stay even.
#[tokio::test]
async fn a_damaged_message_is_put_aside() {
    let (_folder, path) = filled(3).await;
    let mut file = raw(&path).await;
    sqlx::query("UPDATE messages SET body = replace(body, 'xxxx', 'xyxx') WHERE id = '1'")
        .execute(&mut file)
        .await
        .unwrap();
    let queues = open(&path).await.unwrap();
    let deliveries = queues.receive(&key(), 10, None).await.unwrap();
    let ids: Vec<_> = deliveries.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["0", "2"]);
    assert_eq!(queues.depth(&key()).await, Ok(2));
    let aside: i64 = sqlx::query_scalar("SELECT count(*) FROM damaged WHERE id = '1'")
        .fetch_one(&mut file)
        .await
        .unwrap();
    assert_eq!(aside, 1);
}

/// A file that was cut, is something else or comes from the future is refused by name; the same
/// file as it was is opened.
#[tokio::test]
async fn unusable_files_are_refused() {
    let (_folder, path) = filled(100).await;
    let whole = std::fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    for byte in &mut flipped[8192..8300] {
        *byte ^= 0xff;
    }
    let variants = [
        whole[..whole.len() / 2].to_vec(),
        b"this is no database, but it is long enough to be looked at".repeat(100),
        flipped,
    ];
    for bytes in variants {
        std::fs::write(&path, bytes).unwrap();
        let error = open(&path).await.unwrap_err();
        assert!(
            matches!(
                error,
                OpenError::Damaged { .. } | OpenError::Database { .. }
            ),
            "{error:?}"
        );
    }
    std::fs::write(&path, &whole).unwrap();
    let queues = open(&path).await.unwrap();
    assert_eq!(queues.depth(&key()).await, Ok(100));
    drop(queues);
    sqlx::query("PRAGMA user_version = 2")
        .execute(&mut raw(&path).await)
        .await
        .unwrap();
    assert!(matches!(
        open(&path).await.unwrap_err(),
        OpenError::Later { found: 2, .. }
    ));
}

/// A torn end of the log loses what was not committed, and only that.
#[tokio::test]
async fn a_torn_log_is_read_up_to_the_last_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let queues = open(&path).await.unwrap();
    queues.publish(&key(), "a", "1").await.unwrap();
    let log = folder.path().join("queue.db-wal");
    let before = std::fs::metadata(&log).unwrap().len();
    queues.publish(&key(), "b", "2").await.unwrap();
    // What a crash would leave behind: the file, and the log with its last commit torn.
    let after = tempfile::tempdir().unwrap();
    let copy = after.path().join("queue.db");
    std::fs::copy(&path, &copy).unwrap();
    let mut torn = std::fs::read(&log).unwrap();
    torn.truncate(usize::try_from(before).unwrap() + 100);
    std::fs::write(after.path().join("queue.db-wal"), torn).unwrap();
    let queues = open(&copy).await.unwrap();
    let deliveries = queues.receive(&key(), 10, None).await.unwrap();
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].id, "a");
}

/// A lease from a clock that has been set back since is over when the file is opened.
#[tokio::test]
async fn a_clock_that_was_set_back_delays_nothing_for_long() {
    let (_folder, path) = filled(1).await;
    sqlx::query("UPDATE messages SET visible_at = visible_at + 365 * 24 * 3600000")
        .execute(&mut raw(&path).await)
        .await
        .unwrap();
    let queues = open(&path).await.unwrap();
    assert_eq!(queues.receive(&key(), 1, None).await.unwrap().len(), 1);
}

/// After an I/O error nothing is acknowledged any more, not even by a read that would work.
#[tokio::test]
async fn a_store_that_could_not_write_refuses() {
    let (_folder, path) = filled(1).await;
    let queues = open(&path).await.unwrap();
    let crate::queue::Store::Embedded(store) = &queues.store else {
        unreachable!()
    };
    assert_eq!(queues.depth(&key()).await, Ok(1));
    store
        .broken
        .store(true, std::sync::atomic::Ordering::Release);
    assert!(
        !queues
            .publish(&key(), "b", "1")
            .await
            .unwrap_err()
            .is_retriable()
    );
    assert!(queues.depth(&key()).await.is_err());
    assert!(queues.receive(&key(), 1, None).await.is_err());
    assert!(queues.wait(&key()).await.is_err());
}
