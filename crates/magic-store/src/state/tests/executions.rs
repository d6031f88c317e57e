//! Executions are written in batches, found by their request, and forgotten in time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::on_both;
use crate::state::{BATCH_LIMIT, Execution, StateError};

fn execution(request_id: &str, seconds_ago: i64) -> Execution {
    let now = Timestamp::from_millisecond(Timestamp::now().as_millisecond()).unwrap();
    Execution {
        request_id: request_id.to_owned(),
        controller: "InvoiceSync".to_owned(),
        version: "1.0.0".to_owned(),
        node: "one".to_owned(),
        caller: None,
        started_at: now - SignedDuration::from_secs(seconds_ago),
        outcome: "ok".to_owned(),
        duration_us: 1_234,
        cpu_ms: Some(1),
        peak_memory_bytes: None,
        timeline: Some("[{\"kind\":\"db:read\"}]".to_owned()),
    }
}

#[tokio::test]
async fn executions_are_kept_and_forgotten() {
    on_both(|world| async move {
        let state = world.open().await;
        let full = Execution {
            caller: Some("key:ab'c\"\\".to_owned()),
            ..execution("req_full", 10)
        };
        let mut batch: Vec<_> = (0..100)
            .map(|number| execution(&format!("req_{number}"), number))
            .collect();
        batch.push(full.clone());
        state.record_executions(&batch).await.unwrap();
        // Sent again, as after an uncertain end.
        state.record_executions(&batch).await.unwrap();
        state.record_executions(&[]).await.unwrap();
        let found = state.executions("req_full").await.unwrap();
        assert_eq!(found, std::slice::from_ref(&full));
        assert!(state.executions("req_none").await.unwrap().is_empty());
        // One identifier, several executions: the newest first.
        let second = Execution {
            outcome: "E3001".to_owned(),
            started_at: full.started_at + SignedDuration::from_secs(1),
            ..full.clone()
        };
        state
            .record_executions(std::slice::from_ref(&second))
            .await
            .unwrap();
        assert_eq!(state.executions("req_full").await.unwrap(), [second, full]);

        // By age, and then by number.
        let swept = state
            .sweep_executions(Duration::from_secs(50), 1_000)
            .await
            .unwrap();
        assert!((49..=50).contains(&swept), "{swept}");
        state
            .sweep_executions(Duration::from_secs(3_600), 5)
            .await
            .unwrap();
        assert_eq!(state.executions("req_0").await.unwrap().len(), 1);
        assert!(state.executions("req_49").await.unwrap().is_empty());
        assert_eq!(
            state
                .sweep_executions(Duration::from_secs(3_600), 5)
                .await
                .unwrap(),
            0
        );
    })
    .await;
}

/// What a database could not hold becomes what it can; what is too much is refused.
#[tokio::test]
async fn texts_and_batches_have_bounds() {
    on_both(|world| async move {
        let state = world.open().await;
        let odd = Execution {
            timeline: Some("a\0b\u{1f980}".to_owned()),
            ..execution("req_odd", 0)
        };
        state.record_executions(&[odd]).await.unwrap();
        let kept = state.executions("req_odd").await.unwrap();
        assert_eq!(kept[0].timeline.as_deref(), Some("a\u{fffd}b\u{1f980}"));
        assert!(state.executions("req\0odd").await.unwrap().is_empty());

        let many = vec![execution("req_many", 0); BATCH_LIMIT + 1];
        assert!(matches!(
            state.record_executions(&many).await,
            Err(StateError::TooMany { .. })
        ));
        state.record_executions(&many[1..]).await.unwrap();
        let large = Execution {
            timeline: Some("x".repeat(17 << 20)),
            ..execution("req_large", 0)
        };
        assert!(matches!(
            state.record_executions(&[large]).await,
            Err(StateError::TooLarge { .. })
        ));
    })
    .await;
}
