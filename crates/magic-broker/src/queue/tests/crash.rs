//! Ends in the middle: of this process, of Redis, of a future.

use super::*;

fn short() -> QueueOptions {
    QueueOptions {
        visibility: SHORT,
        ..QueueOptions::default()
    }
}

/// What somebody had received when the process ended comes again to the next process.
#[tokio::test]
async fn embedded_messages_outlive_their_process() {
    let (folder, queues) = embedded(short()).await;
    let key = shared("q");
    queues.publish(&key, "a", "1").await.unwrap();
    queues.publish(&key, "b", "2").await.unwrap();
    let received = queues.receive(&key, 1, None).await.unwrap();
    assert_eq!(received[0].id, "a");
    drop(queues);
    let path = folder.path().join("queue.db");
    let queues = Queues::open_embedded(&path, short()).await.unwrap();
    let mut ids = Vec::new();
    while ids.len() < 2 {
        soon(queues.wait(&key)).await.unwrap();
        for delivery in queues.receive(&key, 1, Some(HOUR)).await.unwrap() {
            assert!(queues.ack(&key, &delivery.receipt).await.unwrap());
            ids.push(delivery.id);
        }
    }
    ids.sort();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(
        queues.publish(&key, "a", "1").await,
        Ok(Published::Duplicate)
    );
}

/// The same with Redis, where the next process is another node.
#[tokio::test]
async fn redis_messages_outlive_their_process() {
    let (server, queues) = redis(short());
    let key = shared("q");
    queues.publish(&key, "a", "1").await.unwrap();
    assert_eq!(queues.receive(&key, 1, None).await.unwrap().len(), 1);
    drop(queues);
    let queues = Queues::connect(&server.socket_url(), "another", short()).unwrap();
    soon(queues.wait(&key)).await.unwrap();
    let delivery = queues.receive(&key, 1, None).await.unwrap().remove(0);
    assert_eq!((delivery.id.as_str(), delivery.attempt), ("a", 2));
}

/// Redis goes and comes back: calls in between say that they may be repeated, nothing that was
/// acknowledged is lost, and what was published twice is there once.
#[tokio::test]
async fn a_restart_of_redis_loses_nothing() {
    let (mut server, queues) = redis(short());
    let key = shared("q");
    queues.publish(&key, "a", "1").await.unwrap();
    let delivery = queues.receive(&key, 1, Some(HOUR)).await.unwrap().remove(0);
    queues.publish(&key, "b", "2").await.unwrap();
    let waiting = tokio::spawn({
        let (queues, key) = (queues.clone(), shared("later"));
        async move {
            while let Err(error) = queues.wait(&key).await {
                assert!(error.is_retriable(), "{error}");
                tokio::task::yield_now().await;
            }
        }
    });
    server.kill();
    for result in [
        queues.publish(&key, "b", "2").await.map(|_| ()),
        queues.publish(&key, "c", "3").await.map(|_| ()),
        queues.receive(&key, 1, None).await.map(|_| ()),
        queues.ack(&key, &delivery.receipt).await.map(|_| ()),
        queues.check_room(&key, 1).await,
    ] {
        let error = result.unwrap_err();
        assert!(error.is_retriable(), "{error}");
        let failure = Failure::from(error);
        assert_eq!(failure.reason(), Some("backend"));
        assert_eq!(failure.details["retriable"], true);
    }
    server.start_again();
    let again = soon(async {
        loop {
            match queues.publish(&key, "b", "2").await {
                Ok(published) => return published,
                Err(error) => assert!(error.is_retriable(), "{error}"),
            }
        }
    });
    assert_eq!(again.await, Published::Duplicate);
    assert_eq!(queues.publish(&key, "c", "3").await, Ok(Published::Added));
    assert_eq!(queues.ack(&key, &delivery.receipt).await, Ok(true));
    let rest = queues.receive(&key, 10, None).await.unwrap();
    let ids: Vec<_> = rest.iter().map(|delivery| delivery.id.as_str()).collect();
    assert_eq!(ids, ["b", "c"]);
    queues.publish(&shared("later"), "d", "4").await.unwrap();
    soon(waiting).await.unwrap();
}

/// Futures that are dropped at any point leave every message either there or acknowledged.
#[tokio::test]
async fn dropped_futures_leave_whole_messages() {
    let (_folder, local) = embedded(short()).await;
    let (_server, remote) = redis(short());
    for queues in [local, remote] {
        let key = shared("q");
        // An uneven pace, so that the end falls on different steps.
        for pace in 0..60_u64 {
            let id = pace.to_string();
            let end = Duration::from_micros(pace * 37);
            let work = async {
                queues.publish(&key, &id, "1").await.unwrap();
                for delivery in queues.receive(&key, 1, None).await.unwrap() {
                    queues.ack(&key, &delivery.receipt).await.unwrap();
                }
            };
            let _ = tokio::time::timeout(end, work).await;
        }
        // All that is left can be received and acknowledged, and then the books are even.
        soon(async {
            while queues.depth(&key).await.unwrap() > 0 {
                queues.wait(&key).await.unwrap();
                for delivery in queues.receive(&key, 10, Some(HOUR)).await.unwrap() {
                    assert!(queues.ack(&key, &delivery.receipt).await.unwrap());
                }
            }
        })
        .await;
        let (messages, bytes) = match &queues.store {
            Store::Embedded(store) => store.backlog(&key).await.unwrap(),
            Store::Redis(store) => store.backlog(&key).await.unwrap(),
        };
        assert_eq!((messages, bytes), (0, 0));
    }
}
