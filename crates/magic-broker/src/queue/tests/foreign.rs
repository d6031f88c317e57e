//! Redis holds what this runtime did not write, or somebody changed its clock.

use super::*;
use crate::redis_store::RedisStore;

/// Entries that are no messages are put away; the messages behind them come.
#[tokio::test]
async fn foreign_entries_do_not_stop_a_queue() {
    let (server, queues) = redis(QueueOptions::default());
    let store = RedisStore::connect(&server.socket_url()).unwrap();
    let stream = "magic:queue:{s/q}:stream";
    let _: String = store
        .command("XADD", &[stream, "*", "anything", "else"])
        .await
        .unwrap();
    let key = shared("q");
    queues.publish(&key, "a", "1").await.unwrap();
    let deliveries = queues.receive(&key, 10, None).await.unwrap();
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].id, "a");
}

/// A key of another type is a failure that says so, not a panic and not a retry for ever.
#[tokio::test]
async fn a_key_of_another_type_is_a_failure() {
    let (server, queues) = redis(QueueOptions::default());
    let store = RedisStore::connect(&server.socket_url()).unwrap();
    let _: () = store
        .command("SET", &["magic:queue:{s/q}:stream", "x"])
        .await
        .unwrap();
    let error = queues.publish(&shared("q"), "a", "1").await.unwrap_err();
    assert!(!error.is_retriable(), "{error}");
    assert!(queues.receive(&shared("q"), 1, None).await.is_err());
}

/// A lease in the far future was given by a clock that has been set back since: it is over.
#[tokio::test]
async fn a_clock_that_was_set_back_delays_nothing_for_long() {
    let (server, queues) = redis(QueueOptions::default());
    let store = RedisStore::connect(&server.socket_url()).unwrap();
    let key = shared("q");
    queues.publish(&key, "a", "1").await.unwrap();
    queues.receive(&key, 1, Some(HOUR)).await.unwrap();
    assert!(queues.receive(&key, 1, None).await.unwrap().is_empty());
    let leases = "magic:queue:{s/q}:leases";
    let entries: Vec<String> = store.command("ZRANGE", &[leases, "0", "-1"]).await.unwrap();
    let in_a_year = (crate::effects::now_ms() + 365 * 24 * 3_600_000).to_string();
    let _: i64 = store
        .command("ZADD", &[leases, &in_a_year, &entries[0]])
        .await
        .unwrap();
    soon(queues.wait(&key)).await.unwrap();
    assert_eq!(queues.receive(&key, 1, None).await.unwrap().len(), 1);
}

/// A queue that has become empty leaves nothing behind but what it remembers for a while.
#[tokio::test]
async fn empty_queues_leave_no_keys() {
    let (server, queues) = redis(QueueOptions {
        remember: SHORT,
        attempts: 1,
        ..QueueOptions::default()
    });
    let store = RedisStore::connect(&server.socket_url()).unwrap();
    for name in ["x", "y"] {
        let key = private("A", name);
        let dead = key.dead_letters();
        queues.receive(&key, 1, None).await.unwrap();
        queues.publish(&key, "a", "1").await.unwrap();
        let delivery = queues.receive(&key, 1, None).await.unwrap().remove(0);
        queues
            .retry(&key, &delivery.receipt, NONE, "no")
            .await
            .unwrap();
        let delivery = queues.receive(&dead, 1, None).await.unwrap().remove(0);
        queues.ack(&dead, &delivery.receipt).await.unwrap();
    }
    soon(async {
        loop {
            let keys: Vec<String> = store.command("KEYS", &["*"]).await.unwrap();
            assert!(keys.iter().all(|key| key.ends_with(":gone")), "{keys:?}");
            if keys.is_empty() {
                break;
            }
        }
    })
    .await;
}
