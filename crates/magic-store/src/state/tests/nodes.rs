//! Heartbeats, and the heads of audit logs.

use std::time::Duration;

use super::on_both;
use crate::state::{AuditHeadRefused, Heartbeat};

fn heartbeat(node: &str, generation: i64) -> Heartbeat {
    Heartbeat {
        node: node.to_owned(),
        program: "0.1.0".to_owned(),
        policy: "abc".to_owned(),
        generation,
        address: (node == "one").then(|| "10.0.0.1:8080".to_owned()),
    }
}

#[tokio::test]
async fn nodes_are_heard_and_forgotten() {
    on_both(|world| async move {
        let state = world.open().await;
        for beat in [
            heartbeat("two", 1),
            heartbeat("one", 1),
            heartbeat("two", 2),
        ] {
            state.heartbeat(&beat).await.unwrap();
        }
        let nodes = state.nodes().await.unwrap();
        let said: Vec<_> = nodes.iter().map(|node| node.heartbeat.clone()).collect();
        assert_eq!(said, [heartbeat("one", 1), heartbeat("two", 2)]);
        assert_eq!(state.sweep_nodes(Duration::from_secs(60)).await.unwrap(), 0);
        world
            .tamper("UPDATE nodes SET at = 0 WHERE name = 'two'")
            .await;
        assert_eq!(state.sweep_nodes(Duration::from_secs(60)).await.unwrap(), 1);
        assert_eq!(state.nodes().await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn audit_heads_only_go_on() {
    on_both(|world| async move {
        let state = world.open().await;
        for (sequence, hash) in [(1, "a"), (5, "b"), (5, "b")] {
            state.put_audit_head("one", sequence, hash).await.unwrap();
        }
        for (sequence, hash) in [(4, "x"), (5, "x")] {
            let refused = state
                .put_audit_head("one", sequence, hash)
                .await
                .unwrap_err();
            let AuditHeadRefused::NotContinued { kept, .. } = refused else {
                panic!("{refused}");
            };
            assert_eq!((kept.sequence, kept.hash.as_str()), (5, "b"));
        }
        state.put_audit_head("two", 1, "c").await.unwrap();
        state.put_audit_head("one", 6, "d").await.unwrap();
        let heads = state.audit_heads().await.unwrap();
        let said: Vec<_> = heads
            .iter()
            .map(|head| (head.node.as_str(), head.sequence, head.hash.as_str()))
            .collect();
        assert_eq!(said, [("one", 6, "d"), ("two", 1, "c")]);
    })
    .await;
}
