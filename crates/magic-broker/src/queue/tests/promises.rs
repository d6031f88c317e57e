//! The promises, one function for each; the table runs them on both back ends.

use super::*;

/// What was published is received once, and is gone after its acknowledgement.
pub(super) async fn a_message_goes_round(queues: Queues) {
    let key = shared("invoices");
    assert!(queues.receive(&key, 1, None).await.unwrap().is_empty());
    let before = crate::effects::now_ms();
    let body = r#"{"n":1,"text":"ü\u0000"}"#;
    assert_eq!(queues.publish(&key, "a", body).await, Ok(Published::Added));
    let delivery = queues.receive(&key, 10, None).await.unwrap().remove(0);
    assert_eq!((delivery.id.as_str(), delivery.body.as_str()), ("a", body));
    assert_eq!((delivery.attempt, &delivery.dead_letter), (1, &None));
    assert!((before - 5..before + 60_000).contains(&delivery.published_at_ms));
    assert!(queues.receive(&key, 10, None).await.unwrap().is_empty());
    assert_eq!(queues.depth(&key).await, Ok(1));
    assert_eq!(queues.ack(&key, &delivery.receipt).await, Ok(true));
    assert_eq!(queues.ack(&key, &delivery.receipt).await, Ok(false));
    assert_eq!(queues.depth(&key).await, Ok(0));
    assert!(queues.receive(&key, 0, None).await.unwrap().is_empty());
}

/// Where nothing fails, first come is first served.
pub(super) async fn messages_come_in_order(queues: Queues) {
    let key = shared("q");
    for number in 0..25 {
        let id = number.to_string();
        queues.publish(&key, &id, &id).await.unwrap();
    }
    let mut bodies = Vec::new();
    for max in [1, 4, 100] {
        for delivery in queues.receive(&key, max, None).await.unwrap() {
            bodies.push(delivery.body.parse::<u32>().unwrap());
        }
    }
    assert_eq!(bodies, (0..25).collect::<Vec<_>>());
}

/// Neither while it waits, nor while somebody has it, nor shortly afterwards, is there a second.
pub(super) async fn an_identity_is_one_message(queues: Queues) {
    let (key, other) = (shared("q"), shared("other"));
    queues.publish(&key, "a", "1").await.unwrap();
    assert_eq!(
        queues.publish(&key, "a", "2").await,
        Ok(Published::Duplicate)
    );
    assert_eq!(queues.publish(&other, "a", "1").await, Ok(Published::Added));
    let delivery = queues.receive(&key, 1, None).await.unwrap().remove(0);
    assert_eq!(
        queues.publish(&key, "a", "1").await,
        Ok(Published::Duplicate)
    );
    assert_eq!(delivery.body, "1");
    queues.ack(&key, &delivery.receipt).await.unwrap();
    assert_eq!(
        queues.publish(&key, "a", "1").await,
        Ok(Published::Duplicate)
    );
    assert_eq!(queues.depth(&key).await, Ok(0));
    // What is remembered for a while is forgotten afterwards.
    while queues.publish(&key, "a", "1").await.unwrap() == Published::Duplicate {
        tokio::task::yield_now().await;
    }
    assert_eq!(queues.depth(&key).await, Ok(1));
}

/// After the visibility timeout somebody else gets the message, and the first receipt is void.
pub(super) async fn a_lease_ends(queues: Queues) {
    let key = shared("q");
    queues.publish(&key, "a", "1").await.unwrap();
    let first = queues.receive(&key, 1, None).await.unwrap().remove(0);
    queues.wait(&key).await.unwrap();
    let second = queues.receive(&key, 1, Some(HOUR)).await.unwrap().remove(0);
    assert_eq!((second.id.as_str(), second.attempt), ("a", 2));
    assert_ne!(first.receipt, second.receipt);
    assert_eq!(queues.ack(&key, &first.receipt).await, Ok(false));
    assert_eq!(queues.extend(&key, &first.receipt, HOUR).await, Ok(false));
    assert_eq!(queues.release(&key, &first.receipt, NONE).await, Ok(false));
    assert_eq!(queues.bury(&key, &first.receipt, "x").await, Ok(false));
    assert_eq!(queues.depth(&key).await, Ok(1));
    assert_eq!(queues.ack(&key, &second.receipt).await, Ok(true));
}

/// A consumer that needs longer keeps its message; one that is done early gives it up.
pub(super) async fn a_lease_can_be_changed(queues: Queues) {
    let key = shared("q");
    queues.publish(&key, "a", "1").await.unwrap();
    let delivery = queues
        .receive(&key, 1, Some(SHORT))
        .await
        .unwrap()
        .remove(0);
    assert_eq!(queues.extend(&key, &delivery.receipt, HOUR).await, Ok(true));
    let waited = tokio::time::timeout(2 * SHORT, queues.wait(&key)).await;
    assert!(waited.is_err(), "the lease ended although it was extended");
    assert_eq!(queues.extend(&key, &delivery.receipt, NONE).await, Ok(true));
    queues.wait(&key).await.unwrap();
    assert_eq!(queues.receive(&key, 1, None).await.unwrap().len(), 1);
}

/// A receipt is good for its own queue alone, and texts that are none are harmless.
pub(super) async fn receipts_belong_to_their_queue(queues: Queues) {
    let (key, mine) = (shared("q"), private("Thief", "q"));
    for key in [&key, &mine] {
        queues.publish(key, "a", "1").await.unwrap();
    }
    let delivery = queues.receive(&key, 1, None).await.unwrap().remove(0);
    let own = queues.receive(&mine, 1, None).await.unwrap().remove(0);
    let guesses = [
        delivery.receipt.clone(),
        own.receipt.replace(char::is_numeric, "0"),
        String::new(),
        "x".repeat(100_000),
        "' OR 1=1 --".to_owned(),
        "0-0.".to_owned(),
        "%d".to_owned(),
    ];
    for receipt in &guesses {
        assert_eq!(queues.ack(&mine, receipt).await, Ok(false));
        assert_eq!(queues.extend(&mine, receipt, HOUR).await, Ok(false));
        assert_eq!(queues.release(&mine, receipt, NONE).await, Ok(false));
    }
    assert_eq!(queues.ack(&key, &delivery.receipt).await, Ok(true));
    assert_eq!(queues.ack(&mine, &own.receipt).await, Ok(true));
}

/// A release makes a message visible at once, or after a delay.
pub(super) async fn released_messages_come_back(queues: Queues) {
    let key = shared("q");
    queues.publish(&key, "a", "1").await.unwrap();
    let first = queues.receive(&key, 1, Some(HOUR)).await.unwrap().remove(0);
    assert_eq!(queues.release(&key, &first.receipt, NONE).await, Ok(true));
    let second = queues.receive(&key, 1, Some(HOUR)).await.unwrap().remove(0);
    assert_eq!(second.attempt, 2);
    assert_eq!(
        queues.retry(&key, &second.receipt, SHORT, "busy").await,
        Ok(true)
    );
    assert!(queues.receive(&key, 1, None).await.unwrap().is_empty());
    queues.wait(&key).await.unwrap();
    let third = queues.receive(&key, 1, None).await.unwrap().remove(0);
    assert_eq!((third.attempt, third.dead_letter), (3, None));
}

/// The last failed attempt makes a dead letter with the reason and the count, which stays.
pub(super) async fn poison_dies_of_releases(queues: Queues) {
    let key = shared("q");
    queues.publish(&key, "a", "1").await.unwrap();
    for attempt in 1..=3 {
        let delivery = queues.receive(&key, 1, None).await.unwrap().remove(0);
        assert_eq!(delivery.attempt, attempt);
        let reason = format!("failure {attempt}");
        queues
            .retry(&key, &delivery.receipt, NONE, &reason)
            .await
            .unwrap();
    }
    assert!(queues.receive(&key, 1, None).await.unwrap().is_empty());
    assert_eq!(queues.depth(&key).await, Ok(0));
    assert_eq!(
        queues.publish(&key, "a", "1").await,
        Ok(Published::Duplicate)
    );
    let dead = key.dead_letters();
    queues.wait(&dead).await.unwrap();
    for attempt in 1..=6 {
        let delivery = queues.receive(&dead, 1, None).await.unwrap().remove(0);
        assert_eq!((delivery.id.as_str(), delivery.body.as_str()), ("a", "1"));
        assert_eq!(delivery.attempt, attempt);
        let letter = delivery.dead_letter.unwrap();
        assert_eq!((letter.reason.as_str(), letter.attempts), ("failure 3", 3));
        assert_eq!(queues.bury(&dead, &delivery.receipt, "no").await, Ok(true));
    }
    let delivery = queues.receive(&dead, 1, None).await.unwrap().remove(0);
    assert_eq!(queues.ack(&dead, &delivery.receipt).await, Ok(true));
    assert_eq!(queues.depth(&dead).await, Ok(0));
}

/// A message that kills its consumers, who never say anything, ends the same way.
pub(super) async fn poison_dies_of_crashes(queues: Queues) {
    let key = shared("q");
    queues.publish(&key, "a", "1").await.unwrap();
    for _ in 0..2 {
        queues.wait(&key).await.unwrap();
        assert_eq!(queues.receive(&key, 1, None).await.unwrap().len(), 1);
    }
    queues.wait(&key).await.unwrap();
    assert!(queues.receive(&key, 1, None).await.unwrap().is_empty());
    let dead = key.dead_letters();
    let delivery = queues.receive(&dead, 1, None).await.unwrap().remove(0);
    let letter = delivery.dead_letter.unwrap();
    assert_eq!((letter.reason.as_str(), letter.attempts), ("attempts", 2));
}

/// A `receive` that finds poison first goes on to what is behind it.
pub(super) async fn poison_does_not_hide_what_is_behind(queues: Queues) {
    let key = shared("q");
    for number in 0..5 {
        let id = number.to_string();
        queues.publish(&key, &id, "0").await.unwrap();
    }
    let poison = queues.receive(&key, 5, Some(HOUR)).await.unwrap();
    assert_eq!(poison.len(), 5);
    for delivery in poison {
        queues.extend(&key, &delivery.receipt, NONE).await.unwrap();
    }
    queues.publish(&key, "good", "1").await.unwrap();
    let good = queues.receive(&key, 1, Some(HOUR)).await.unwrap();
    assert_eq!(good.len(), 1);
    assert_eq!(good[0].id, "good");
    assert_eq!(queues.depth(&key.dead_letters()).await, Ok(5));
    assert_eq!(queues.depth(&key).await, Ok(1));
}

/// What can never succeed does not have to be tried.
pub(super) async fn hopeless_messages_die_at_once(queues: Queues) {
    let key = private("InvoiceSync", "q");
    queues.publish(&key, "a", "1").await.unwrap();
    let delivery = queues.receive(&key, 1, None).await.unwrap().remove(0);
    let reason = "ü".repeat(1000);
    assert_eq!(
        queues.bury(&key, &delivery.receipt, &reason).await,
        Ok(true)
    );
    assert_eq!(queues.depth(&key).await, Ok(0));
    let dead = key.dead_letters();
    let delivery = queues.receive(&dead, 1, None).await.unwrap().remove(0);
    let letter = delivery.dead_letter.unwrap();
    assert_eq!((letter.reason.len(), letter.attempts), (LONGEST_REASON, 1));
}

/// A full backlog refuses; every owner has one of its own; dead letters count.
pub(super) async fn a_backlog_is_bounded_in_messages(queues: Queues) {
    let (key, dead) = (shared("q"), shared("q").dead_letters());
    for id in ["a", "b"] {
        queues.publish(&key, id, "1").await.unwrap();
    }
    let full = queues.publish(&key, "c", "1").await.unwrap_err();
    assert!(matches!(&full, QueueError::Full { owner, messages: 2, .. } if owner == "s/q"));
    assert!(full.is_retriable());
    assert_eq!(queues.check_room(&key, 1).await, Err(full.clone()));
    assert_eq!(Failure::from(full).details["budget"], "backlog");
    assert_eq!(
        queues.publish(&key, "a", "1").await,
        Ok(Published::Duplicate)
    );
    queues.publish(&shared("other"), "c", "1").await.unwrap();
    // A controller's private queues share one backlog, whatever their names.
    queues.publish(&private("A", "x"), "1", "1").await.unwrap();
    queues.publish(&private("A", "y"), "2", "1").await.unwrap();
    assert!(queues.publish(&private("A", "z"), "3", "1").await.is_err());
    queues.publish(&private("B", "z"), "3", "1").await.unwrap();
    // A dead letter still waits for somebody.
    let delivery = queues.receive(&key, 1, None).await.unwrap().remove(0);
    queues.release(&key, &delivery.receipt, NONE).await.unwrap();
    assert_eq!(queues.depth(&dead).await, Ok(1));
    assert!(queues.publish(&key, "c", "1").await.is_err());
    let delivery = queues.receive(&dead, 1, None).await.unwrap().remove(0);
    queues.ack(&dead, &delivery.receipt).await.unwrap();
    assert_eq!(queues.check_room(&key, 1).await, Ok(()));
    assert_eq!(queues.publish(&key, "c", "1").await, Ok(Published::Added));
}

/// The same for bytes, which come back when messages go.
pub(super) async fn a_backlog_is_bounded_in_bytes(queues: Queues) {
    let key = shared("q");
    queues.publish(&key, "a", "\"1234\"").await.unwrap();
    assert!(queues.publish(&key, "b", "12345").await.is_err());
    queues.publish(&key, "b", "1234").await.unwrap();
    assert!(queues.publish(&key, "c", "1").await.is_err());
    for delivery in queues.receive(&key, 2, None).await.unwrap() {
        queues.ack(&key, &delivery.receipt).await.unwrap();
    }
    queues.publish(&key, "c", "1234567890").await.unwrap();
}

/// Bodies and identities have limits, just met and just broken.
pub(super) async fn lengths_are_bounded(queues: Queues) {
    let key = shared("q");
    queues.publish(&key, "a", "12345678").await.unwrap();
    let error = queues.publish(&key, "b", "123456789").await.unwrap_err();
    assert_eq!(error, QueueError::TooLong { bytes: 9, most: 8 });
    assert_eq!(queues.check_room(&key, 9).await, Err(error.clone()));
    assert_eq!(Failure::from(error).details["budget"], "message_bytes");
    for id in ["", " ", "ü", &"i".repeat(129)] {
        assert_eq!(
            queues.publish(&key, id, "1").await,
            Err(QueueError::Identity)
        );
    }
    queues.publish(&key, &"i".repeat(128), "1").await.unwrap();
}

/// Large messages come fewer at a time, but at least one.
pub(super) async fn an_answer_fits_a_frame(queues: Queues) {
    let key = shared("q");
    let bodies = [
        RECEIVE_BYTES / 2,
        RECEIVE_BYTES / 2,
        1,
        RECEIVE_BYTES + 1,
        1,
    ];
    for (number, length) in bodies.iter().enumerate() {
        let body = "1".repeat(*length);
        queues
            .publish(&key, &number.to_string(), &body)
            .await
            .unwrap();
    }
    let mut sizes = Vec::new();
    loop {
        let deliveries = queues.receive(&key, 100, None).await.unwrap();
        if deliveries.is_empty() {
            break;
        }
        sizes.push(deliveries.len());
    }
    assert_eq!(sizes, [2, 2, 1]);
}

/// Who waits is told of a message, without having looked for it.
pub(super) async fn waiting_ends_with_a_publish(queues: Queues) {
    let key = shared("q");
    let nothing = tokio::time::timeout(Duration::from_millis(50), queues.wait(&key)).await;
    assert!(nothing.is_err());
    let waiting = tokio::spawn({
        let (queues, key) = (queues.clone(), key.clone());
        async move { queues.wait(&key).await }
    });
    queues.publish(&shared("other"), "a", "1").await.unwrap();
    queues.publish(&key, "a", "1").await.unwrap();
    waiting.await.unwrap().unwrap();
    // A message that is there already is no reason to wait.
    queues.wait(&key).await.unwrap();
}

/// No message is with two consumers at once, and none is left behind.
pub(super) async fn sixteen_consumers_share_the_work(queues: Queues) {
    const MESSAGES: usize = 120;
    let key = shared("q");
    let mut consumers = JoinSet::new();
    let left = Arc::new(tokio::sync::Semaphore::new(0));
    for _ in 0..16 {
        let (queues, key, left) = (queues.clone(), key.clone(), left.clone());
        consumers.spawn(async move {
            let mut taken = Vec::new();
            loop {
                tokio::select! {
                    // One permit for each message that has gone; then nobody waits any longer.
                    _ = left.acquire_many(u32::try_from(MESSAGES).unwrap()) => return taken,
                    waited = queues.wait(&key) => waited.unwrap(),
                }
                for delivery in queues.receive(&key, 3, Some(HOUR)).await.unwrap() {
                    assert_eq!(delivery.attempt, 1);
                    assert_eq!(queues.ack(&key, &delivery.receipt).await, Ok(true));
                    taken.push(delivery.id);
                    left.add_permits(1);
                }
            }
        });
    }
    for number in 0..MESSAGES {
        queues
            .publish(&key, &number.to_string(), "1")
            .await
            .unwrap();
    }
    let taken: Vec<_> = consumers.join_all().await.into_iter().flatten().collect();
    assert_eq!(taken.len(), MESSAGES);
    assert_eq!(taken.iter().collect::<HashSet<_>>().len(), MESSAGES);
    assert_eq!(queues.depth(&key).await, Ok(0));
}
