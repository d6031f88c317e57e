//! Random requests against a model: what a request sees, what a failed one
//! leaves behind (nothing), and what a successful one does.

use super::*;
use crate::cache::{Cache, CacheKey, CacheOptions, CacheSession};
use crate::capability::Method;
use crate::queue::{QueueKey, QueueOptions, QueueSession, Queues};
use crate::test_call::{TestRequest, outcome};
use magic_contract::Effects;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const QUEUES: [&str; 2] = ["x", "y"];
const KEYS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Step {
    Publish {
        queue: usize,
    },
    Receive {
        queue: usize,
        max: u32,
    },
    /// Of what was received so far, the one of this number, if there is one; again, perhaps.
    Ack {
        received: usize,
    },
    Get {
        key: usize,
    },
    Set {
        key: usize,
        value: u32,
    },
    Delete {
        key: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..2_usize).prop_map(|queue| Step::Publish { queue }),
        (0..2_usize, 1..4_u32).prop_map(|(queue, max)| Step::Receive { queue, max }),
        (0..8_usize).prop_map(|received| Step::Ack { received }),
        (0..3_usize).prop_map(|key| Step::Get { key }),
        (0..3_usize, any::<u32>()).prop_map(|(key, value)| Step::Set { key, value }),
        (0..3_usize).prop_map(|key| Step::Delete { key }),
    ]
}

/// What there is outside: messages by queue, entries by key.
#[derive(Debug, Clone, PartialEq, Default)]
struct World {
    messages: BTreeSet<(usize, String)>,
    entries: BTreeMap<usize, Value>,
}

fn queue(index: usize) -> QueueKey {
    QueueKey::parse(&format!("c/InvoiceSync/{}", QUEUES[index])).unwrap()
}

fn entry(index: usize) -> CacheKey {
    CacheKey::parse(&format!("c/InvoiceSync/{}", KEYS[index])).unwrap()
}

/// Looks at everything, and takes every message.
async fn look(queues: &Queues, cache: &Cache) -> World {
    let mut world = World::default();
    for index in 0..QUEUES.len() {
        let key = queue(index);
        while queues.depth(&key).await.unwrap() > 0 {
            tokio::time::timeout(Duration::from_secs(10), queues.wait(&key))
                .await
                .expect("a message stayed hidden")
                .unwrap();
            for delivery in queues.receive(&key, 100, None).await.unwrap() {
                queues.ack(&key, &delivery.receipt).await.unwrap();
                let new = world.messages.insert((index, delivery.id));
                assert!(new, "a message was there twice");
            }
        }
    }
    for index in 0..KEYS.len() {
        if let Some(value) = cache.get(&entry(index)).await.unwrap() {
            world
                .entries
                .insert(index, serde_json::from_str(&value).unwrap());
        }
    }
    world
}

/// Runs one request and says what the world should be if it succeeds.
async fn run(
    steps: &[Step],
    before: &World,
    queue_session: &QueueSession,
    cache_session: &CacheSession,
) -> World {
    let request = TestRequest::new("[queue:publish, queue:subscribe, cache:read, cache:write]");
    let on_queue = async |method: Method, parameters: Value| {
        let mut call = request.call(method);
        let result = queue_session
            .perform(&mut call, &parameters.to_string())
            .await;
        outcome(result, call).0.unwrap()
    };
    let on_cache = async |method: Method, parameters: Value| {
        let mut call = request.call(method);
        let result = cache_session
            .perform(&mut call, &parameters.to_string())
            .await;
        outcome(result, call).0.unwrap()
    };
    let mut world = before.clone();
    // Every message is given to the request at most once.
    let mut ungiven = before.messages.clone();
    let mut received: Vec<(usize, String, String)> = Vec::new();
    for step in steps {
        match *step {
            Step::Publish { queue } => {
                let answer = on_queue(
                    Method::QueuePublish,
                    json!({"queue": QUEUES[queue], "message": 1}),
                );
                let id = answer.await["id"].as_str().unwrap().to_owned();
                world.messages.insert((queue, id.clone()));
                ungiven.insert((queue, id));
            }
            Step::Receive { queue, max } => {
                let answer = on_queue(
                    Method::QueueReceive,
                    json!({"queue": QUEUES[queue], "max": max}),
                );
                let answer = answer.await;
                let messages = answer["messages"].as_array().unwrap();
                let there = ungiven.iter().filter(|(index, _)| *index == queue).count();
                assert_eq!(messages.len(), there.min(usize::try_from(max).unwrap()));
                for message in messages {
                    let text = |name: &str| message[name].as_str().unwrap().to_owned();
                    assert!(ungiven.remove(&(queue, text("id"))), "given twice");
                    received.push((queue, text("id"), text("receipt")));
                }
            }
            Step::Ack { received: number } => {
                if let Some((queue, id, receipt)) = received.get(number) {
                    let parameters = json!({"queue": QUEUES[*queue], "receipt": receipt});
                    on_queue(Method::QueueAck, parameters).await;
                    world.messages.remove(&(*queue, id.clone()));
                }
            }
            Step::Get { key } => {
                let answer = on_cache(Method::CacheGet, json!({"key": KEYS[key]})).await;
                assert_eq!(answer["hit"], world.entries.contains_key(&key));
                assert_eq!(
                    &answer["value"],
                    world.entries.get(&key).unwrap_or(&Value::Null)
                );
            }
            Step::Set { key, value } => {
                let parameters = json!({"key": KEYS[key], "value": value});
                on_cache(Method::CacheSet, parameters).await;
                world.entries.insert(key, json!(value));
            }
            Step::Delete { key } => {
                on_cache(Method::CacheDelete, json!({"key": KEYS[key]})).await;
                world.entries.remove(&key);
            }
        }
    }
    world
}

#[derive(Debug, Clone, Copy)]
enum RequestEnd {
    Success,
    Failure,
    Cancelled,
}

async fn check(steps: Vec<Step>, there: Vec<usize>, end: RequestEnd) {
    let folder = tempfile::tempdir().unwrap();
    let options = QueueOptions {
        visibility: Duration::from_millis(1),
        ..QueueOptions::default()
    };
    let path = folder.path().join("queue.db");
    let queues = Queues::open_embedded(&path, options).await.unwrap();
    let cache = Cache::embedded(CacheOptions::default());
    let mut before = World::default();
    for (number, index) in there.iter().enumerate() {
        let id = format!("before{number}");
        queues.publish(&queue(*index), &id, "0").await.unwrap();
        before.messages.insert((*index, id));
        cache.set(&entry(*index), "0", None).await.unwrap();
        before.entries.insert(*index, json!(0));
    }
    let controller: magic_contract::ControllerName = "InvoiceSync".parse().unwrap();
    let held = Arc::new(Held::default());
    let mode = Effects::OnSuccess;
    let queue_session = QueueSession::new(queues.clone(), controller.clone(), mode, held.clone());
    let cache_session = CacheSession::new(cache.clone(), controller, mode, held.clone());
    let after = run(&steps, &before, &queue_session, &cache_session).await;
    let expected = match end {
        RequestEnd::Success => {
            let effects = held.take_effects();
            queue_session.settle().await;
            // Through the outbox, and each delivered twice, as after a crash between.
            let stored = serde_json::to_string(&effects).unwrap();
            let stored: Vec<Effect> = serde_json::from_str(&stored).unwrap();
            assert_eq!(stored, effects);
            for effect in &stored {
                for _ in 0..2 {
                    deliver(effect, &queues, &cache).await.unwrap();
                }
            }
            after
        }
        RequestEnd::Failure => {
            queue_session.abandon().await;
            assert!(held.take_effects().is_empty());
            before
        }
        RequestEnd::Cancelled => before,
    };
    drop(queue_session);
    assert_eq!(look(&queues, &cache).await, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever a request does, it sees it; and it has happened after a success alone.
    #[test]
    fn effects_happen_together_or_not_at_all(
        steps in prop::collection::vec(step(), 0..24),
        there in prop::collection::vec(0..2_usize, 0..5),
        end in prop_oneof![
            Just(RequestEnd::Success),
            Just(RequestEnd::Failure),
            Just(RequestEnd::Cancelled)
        ],
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(check(steps, there, end));
    }
}
