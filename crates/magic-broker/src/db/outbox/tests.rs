//! Delivery at least once, and in the order of each request, on both databases.

use std::collections::HashSet;

use tokio::task::JoinSet;

use super::super::fixture::TestDatabase;
use super::*;

const LEASE: Duration = Duration::from_secs(600);

fn ack(receipt: String) -> Effect {
    Effect::Ack {
        queue: "q".to_owned(),
        receipt,
    }
}

/// Commits one request's effects, named after it and numbered.
async fn leave(test: &TestDatabase, request: &str, count: usize) {
    let effects: Vec<Effect> = (0..count)
        .map(|number| ack(format!("{request}{number}")))
        .collect();
    let until = Instant::now() + OWN_TIME;
    let mut transaction = Transaction::begin(&test.database, Mode::ReadWrite, &Entry::own(until))
        .await
        .unwrap();
    insert(transaction.connection().unwrap(), request, &effects)
        .await
        .unwrap();
    transaction.commit(until).await.unwrap();
}

async fn receipts(outbox: &Outbox, limit: u32, lease: Duration) -> (Vec<OutboxId>, String) {
    let claimed = outbox.claim(limit, lease).await.unwrap();
    let ids = claimed.iter().map(|one| one.id).collect();
    let names: Vec<String> = claimed
        .into_iter()
        .map(|one| match one.effect {
            Effect::Ack { receipt, .. } => receipt,
            other => panic!("{other:?}"),
        })
        .collect();
    (ids, names.join(" "))
}

/// What is claimed is nobody else's; what is done is gone; what was claimed by a
/// process that died comes back.
#[tokio::test(flavor = "multi_thread")]
async fn effects_come_back_until_they_are_done() {
    for test in TestDatabase::both().await {
        let outbox = test.database.outbox();
        assert_eq!(receipts(&outbox, 10, LEASE).await.1, "");
        leave(&test, "a", 2).await;
        let (_, lost) = receipts(&outbox, 10, Duration::ZERO).await;
        assert_eq!(lost, "a0 a1");
        let claimed = outbox.claim(10, LEASE).await.unwrap();
        assert_eq!(claimed.len(), 2);
        assert!(claimed.iter().all(|one| one.attempts == 2), "{claimed:?}");
        assert_eq!(receipts(&outbox, 10, LEASE).await.1, "");
        assert_eq!(outbox.depth().await.unwrap(), 2);
        let ids: Vec<OutboxId> = claimed.iter().map(|one| one.id).collect();
        outbox.done(&ids).await.unwrap();
        outbox.done(&ids).await.unwrap();
        assert_eq!(outbox.depth().await.unwrap(), 0);
    }
}

/// An effect that fails holds back those behind it, and those of its request alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_effect_holds_back_its_request() {
    for test in TestDatabase::both().await {
        let outbox = test.database.outbox();
        leave(&test, "a", 3).await;
        leave(&test, "b", 1).await;
        let (ids, names) = receipts(&outbox, 10, LEASE).await;
        assert_eq!(names, "a0 a1 a2 b0");
        outbox.done(&[ids[0], ids[3]]).await.unwrap();
        outbox.failed(&[ids[1]], LEASE).await.unwrap();
        leave(&test, "c", 1).await;
        assert_eq!(receipts(&outbox, 10, LEASE).await.1, "c0");
        outbox.failed(&[ids[1]], Duration::ZERO).await.unwrap();
        assert_eq!(receipts(&outbox, 10, LEASE).await.1, "a1 a2");
    }
}

/// The effects of a request that do not fit into a claim wait for those before them.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_never_delivered_by_two_at_once() {
    for test in TestDatabase::both().await {
        let outbox = test.database.outbox();
        leave(&test, "a", 3).await;
        leave(&test, "b", 2).await;
        let (first, names) = receipts(&outbox, 2, LEASE).await;
        assert_eq!(names, "a0 a1");
        assert_eq!(receipts(&outbox, 10, LEASE).await.1, "b0 b1");
        outbox.done(&first).await.unwrap();
        assert_eq!(receipts(&outbox, 10, LEASE).await.1, "a2");
    }
}

/// Many deliverers: each effect is delivered once, and in the order of its request.
#[tokio::test(flavor = "multi_thread")]
async fn many_deliverers_share_the_work() {
    for test in TestDatabase::both().await {
        for request in 0..20 {
            leave(&test, &format!("r{request:02}-"), 3).await;
        }
        let mut deliverers = JoinSet::new();
        for _ in 0..4 {
            let outbox = test.database.outbox();
            deliverers.spawn(async move {
                let mut delivered = Vec::new();
                while outbox.depth().await.unwrap() > 0 {
                    let (ids, names) = receipts(&outbox, 4, LEASE).await;
                    delivered.extend(names.split_whitespace().map(str::to_owned));
                    outbox.done(&ids).await.unwrap();
                }
                delivered
            });
        }
        let mut all = HashSet::new();
        while let Some(delivered) = deliverers.join_next().await {
            for name in delivered.unwrap() {
                assert!(all.insert(name.clone()), "{name} twice");
            }
        }
        assert_eq!(all.len(), 60);
    }
}

/// An effect of a later version waits, with those behind it, and nothing else does.
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_effects_wait() {
    for test in TestDatabase::both().await {
        leave(&test, "a", 2).await;
        leave(&test, "b", 1).await;
        test.run(if test.server.is_some() {
            "UPDATE magic.outbox SET effect = '{\"kind\":\"teleport\"}' WHERE sequence = 1"
        } else {
            "UPDATE magic_outbox SET effect = '{\"kind\":\"teleport\"}' WHERE sequence = 1"
        })
        .await;
        let outbox = test.database.outbox();
        assert_eq!(receipts(&outbox, 10, LEASE).await.1, "b0");
        assert_eq!(receipts(&outbox, 10, LEASE).await.1, "");
        assert_eq!(outbox.depth().await.unwrap(), 3);
    }
}
