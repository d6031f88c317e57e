//! A request's view of the queues, on both back ends.

use super::*;
use crate::cache::{Cache, CacheOptions};
use crate::effects::{HeldLimits, deliver};
use crate::queue::QueueOptions;
use crate::queue::tests::{both, soon};
use crate::redis_store::test_server::Redis;
use crate::test_call::{TestRequest, outcome};
use magic_contract::ErrorCode;
use serde_json::{Map, Value, json};

const BARE: &str = "[queue:publish, queue:subscribe]";
const LISTED: &str = "[{queue:publish: {queues: [invoices]}}, {queue:subscribe: {queues: [invoices, invoices.dead]}}]";

fn session(queues: &Queues, mode: Effects) -> (QueueSession, Arc<Held>) {
    let held = Arc::new(Held::default());
    let controller = "InvoiceSync".parse().unwrap();
    let session = QueueSession::new(queues.clone(), controller, mode, held.clone());
    (session, held)
}

async fn perform(
    session: &QueueSession,
    request: &TestRequest,
    method: Method,
    parameters: &Value,
) -> (Result<Value, Failure>, Map<String, Value>) {
    let mut call = request.call(method);
    let result = session.perform(&mut call, &parameters.to_string()).await;
    outcome(result, call)
}

async fn publish(session: &QueueSession, request: &TestRequest, message: Value) -> String {
    let parameters = json!({"queue": "invoices", "message": message});
    let (answer, _) = perform(session, request, Method::QueuePublish, &parameters).await;
    answer.unwrap()["id"].as_str().unwrap().to_owned()
}

async fn receive(session: &QueueSession, request: &TestRequest, max: u32) -> Vec<Value> {
    let parameters = json!({"queue": "invoices", "max": max});
    let (answer, facts) = perform(session, request, Method::QueueReceive, &parameters).await;
    let messages = answer.unwrap()["messages"].as_array().unwrap().clone();
    assert_eq!(facts["message_count"], messages.len());
    messages
}

async fn ack(session: &QueueSession, request: &TestRequest, message: &Value) {
    let parameters = json!({"queue": "invoices", "receipt": message["receipt"]});
    let (answer, _) = perform(session, request, Method::QueueAck, &parameters).await;
    assert_eq!(answer.unwrap(), Value::Null);
}

fn invoices() -> QueueKey {
    QueueKey::parse("s/invoices").unwrap()
}

/// Delivers as the outbox does after a crash: everything, twice.
async fn commit(held: &Held, queues: &Queues) {
    let cache = Cache::embedded(CacheOptions::default());
    let effects = held.take_effects();
    for effect in effects.iter().chain(&effects) {
        deliver(effect, queues, &cache).await.unwrap();
    }
}

/// A bare capability means the controller's own queue, a list the shared one.
#[tokio::test]
async fn bare_is_private_and_listed_is_shared() {
    for (_store, queues) in both(QueueOptions::default()).await {
        let table = [
            (BARE, "c/InvoiceSync/invoices", "c/InvoiceSync/invoices"),
            (LISTED, "s/invoices", "invoices"),
        ];
        for (capabilities, key, label) in table {
            let request = TestRequest::new(capabilities);
            let (session, _) = session(&queues, Effects::Immediate);
            let parameters = json!({"queue": "invoices", "message": {"n": 1}});
            let (answer, facts) =
                perform(&session, &request, Method::QueuePublish, &parameters).await;
            assert!(answer.unwrap()["id"].as_str().unwrap().starts_with("msg_"));
            assert_eq!(
                Value::Object(facts),
                json!({"queue_name": label, "message_count": 1})
            );
            assert_eq!(queues.depth(&QueueKey::parse(key).unwrap()).await, Ok(1));
            let messages = receive(&session, &request, 10).await;
            assert_eq!(messages.len(), 1);
            assert_eq!(messages[0]["message"], json!({"n": 1}));
            assert_eq!(messages[0]["attempt"], 1);
            assert!(messages[0].get("dead_letter").is_none());
            let published = messages[0]["published_at"].as_str().unwrap();
            assert!(published.parse::<jiff::Timestamp>().is_ok(), "{published}");
            // Without `effects: on_success` the message and its end are real at once.
            ack(&session, &request, &messages[0]).await;
            assert_eq!(queues.depth(&QueueKey::parse(key).unwrap()).await, Ok(0));
            let announced: Vec<_> = request.intents.lock().unwrap().drain(..).collect();
            let methods: Vec<_> = announced.iter().map(|(method, _)| *method).collect();
            assert_eq!(methods, [Method::QueuePublish, Method::QueueAck]);
            assert_eq!(announced[0].1["queue_name"], label);
        }
    }
}

/// Each refusal beside the call that differs in one point and is allowed.
#[tokio::test]
async fn refusals_and_their_twins() {
    use Method::{QueueAck as Ack, QueuePublish as Publish, QueueReceive as Receive};
    let options = QueueOptions {
        body_bytes: 2000,
        ..QueueOptions::default()
    };
    let nested = |levels: usize| -> Value { (0..levels).fold(json!(1), |inner, _| json!([inner])) };
    let table = [
        (Publish, json!({"queue": "invoices", "message": null}), None),
        (
            Publish,
            json!({"queue": "other", "message": 1}),
            Some("E2003"),
        ),
        (
            Publish,
            json!({"queue": "invoices.dead", "message": 1}),
            Some("E2003"),
        ),
        (
            Publish,
            json!({"queue": "Invoices", "message": 1}),
            Some("E3003"),
        ),
        (
            Publish,
            json!({"queue": "s/invoices", "message": 1}),
            Some("E3003"),
        ),
        (Publish, json!({"queue": "", "message": 1}), Some("E3003")),
        (Publish, json!({"queue": "invoices"}), Some("E3003")),
        (
            Publish,
            json!({"queue": "invoices", "message": 1, "id": "a"}),
            Some("E3003"),
        ),
        (Publish, json!(null), Some("E3003")),
        (
            Publish,
            json!({"queue": "invoices", "message": "x".repeat(1998)}),
            None,
        ),
        (
            Publish,
            json!({"queue": "invoices", "message": "x".repeat(1999)}),
            Some("E2004"),
        ),
        (
            Publish,
            json!({"queue": "invoices", "message": nested(100)}),
            None,
        ),
        (
            Publish,
            json!({"queue": "invoices", "message": nested(101)}),
            Some("E3003"),
        ),
        (Receive, json!({"queue": "invoices"}), None),
        (Receive, json!({"queue": "invoices.dead", "max": 100}), None),
        (Receive, json!({"queue": "other"}), Some("E2003")),
        (
            Receive,
            json!({"queue": "invoices", "max": 0}),
            Some("E3003"),
        ),
        (
            Receive,
            json!({"queue": "invoices", "max": 101}),
            Some("E3003"),
        ),
        (
            Receive,
            json!({"queue": "invoices", "max": -1}),
            Some("E3003"),
        ),
        (
            Ack,
            json!({"queue": "invoices", "receipt": "unknown"}),
            None,
        ),
        (
            Ack,
            json!({"queue": "other", "receipt": "unknown"}),
            Some("E2003"),
        ),
        (
            Ack,
            json!({"queue": "invoices", "receipt": ""}),
            Some("E3003"),
        ),
        (
            Ack,
            json!({"queue": "invoices", "receipt": "r".repeat(129)}),
            Some("E3003"),
        ),
        (
            Ack,
            json!({"queue": "invoices", "receipt": "r".repeat(128)}),
            None,
        ),
        (Method::CacheGet, json!({}), Some("E3003")),
    ];
    for (_store, queues) in both(options).await {
        for mode in [Effects::OnSuccess, Effects::Immediate] {
            let (session, _) = session(&queues, mode);
            for (method, parameters, code) in &table {
                let request = if *method == Method::CacheGet {
                    TestRequest::new("[cache:read]")
                } else {
                    TestRequest::new(LISTED)
                };
                let (answer, facts) = perform(&session, &request, *method, parameters).await;
                let got = answer.as_ref().err().map(|failure| failure.code.as_str());
                assert_eq!(got, *code, "{method:?} {parameters} {answer:?}");
                if *code == Some("E2003") {
                    // The record of a refusal names what was asked for.
                    assert_eq!(facts["queue_name"], parameters["queue"]);
                }
                if code.is_some() {
                    assert!(request.intents.lock().unwrap().is_empty());
                }
            }
        }
    }
}

/// Nothing leaves before the commit, and a repeated delivery adds nothing.
#[tokio::test]
async fn held_publishes_wait_for_the_commit() {
    for (_store, queues) in both(QueueOptions::default()).await {
        let request = TestRequest::new(LISTED);
        let (session, held) = session(&queues, Effects::OnSuccess);
        let ids = [
            publish(&session, &request, json!(1)).await,
            publish(&session, &request, json!(2)).await,
        ];
        assert!(request.intents.lock().unwrap().is_empty());
        assert_eq!(queues.depth(&invoices()).await, Ok(0));
        session.settle().await;
        commit(&held, &queues).await;
        let delivered = queues.receive(&invoices(), 10, None).await.unwrap();
        let got: Vec<_> = delivered.iter().map(|one| one.id.clone()).collect();
        assert_eq!(got, ids);
    }
}

/// A request receives what others published first and what it holds itself then, each once.
#[tokio::test]
async fn a_request_receives_what_it_published() {
    for (_store, queues) in both(QueueOptions::default()).await {
        let request = TestRequest::new(LISTED);
        let (session, held) = session(&queues, Effects::OnSuccess);
        queues.publish(&invoices(), "theirs", "0").await.unwrap();
        let mine = [
            publish(&session, &request, json!(1)).await,
            publish(&session, &request, json!(2)).await,
        ];
        let first = receive(&session, &request, 2).await;
        let second = receive(&session, &request, 2).await;
        assert!(receive(&session, &request, 2).await.is_empty());
        let ids: Vec<_> = first.iter().chain(&second).map(|one| &one["id"]).collect();
        assert_eq!(ids, [&json!("theirs"), &json!(mine[0]), &json!(mine[1])]);
        // To acknowledge one's own message is not to have published it.
        ack(&session, &request, &first[1]).await;
        ack(&session, &request, &first[1]).await;
        let effects = held.take_effects();
        assert_eq!(effects.len(), 1);
        assert!(matches!(&effects[0], Effect::Publish { id, .. } if *id == mine[1]));
    }
}

/// An acknowledgement is held once however often it is given, and holds after the lease was long.
#[tokio::test]
async fn acknowledgements_wait_and_are_one() {
    let options = QueueOptions {
        visibility: Duration::from_millis(1),
        ..QueueOptions::default()
    };
    for (_store, queues) in both(options).await {
        let request = TestRequest::new(LISTED);
        let (session, held) = session(&queues, Effects::OnSuccess);
        queues.publish(&invoices(), "a", "0").await.unwrap();
        let messages = receive(&session, &request, 1).await;
        for _ in 0..3 {
            ack(&session, &request, &messages[0]).await;
        }
        assert_eq!(queues.depth(&invoices()).await, Ok(1));
        // The lease outlives the visibility timeout, or the message would be somebody else's by now.
        let waited =
            tokio::time::timeout(Duration::from_millis(50), queues.wait(&invoices())).await;
        assert!(waited.is_err());
        session.settle().await;
        let effects = held.take_effects();
        assert_eq!(effects.len(), 1);
        let cache = Cache::embedded(CacheOptions::default());
        for _ in 0..2 {
            deliver(&effects[0], &queues, &cache).await.unwrap();
        }
        assert_eq!(queues.depth(&invoices()).await, Ok(0));
    }
}

/// A failed request gives back what it received, acknowledged or not, and publishes nothing.
#[tokio::test]
async fn a_failed_request_leaves_nothing() {
    for (_store, queues) in both(QueueOptions::default()).await {
        let request = TestRequest::new(LISTED);
        let (session, held) = session(&queues, Effects::OnSuccess);
        for id in ["a", "b"] {
            queues.publish(&invoices(), id, "0").await.unwrap();
        }
        let messages = receive(&session, &request, 2).await;
        ack(&session, &request, &messages[0]).await;
        publish(&session, &request, json!(1)).await;
        session.abandon().await;
        assert!(held.take_effects().is_empty());
        let back = queues.receive(&invoices(), 10, None).await.unwrap();
        let mut ids: Vec<_> = back
            .iter()
            .map(|one| (one.id.as_str(), one.attempt))
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, [("a", 2), ("b", 2)]);
        // What the request does after its end has no effect.
        let parameters = json!({"queue": "invoices", "message": 1});
        let (answer, _) = perform(&session, &request, Method::QueuePublish, &parameters).await;
        assert!(answer.is_err());
    }
}

/// A request that is cancelled, so that nobody can end it, gives back in the background.
#[tokio::test]
async fn a_dropped_request_gives_back() {
    for (_store, queues) in both(QueueOptions::default()).await {
        for mode in [Effects::OnSuccess, Effects::Immediate] {
            let request = TestRequest::new(LISTED);
            let (session, _) = session(&queues, mode);
            let id = mode.as_str();
            queues.publish(&invoices(), id, "0").await.unwrap();
            let messages = receive(&session, &request, 1).await;
            assert_eq!(messages.len(), 1);
            drop(session);
            soon(queues.wait(&invoices())).await.unwrap();
            let back = queues.receive(&invoices(), 1, None).await.unwrap();
            assert!(queues.ack(&invoices(), &back[0].receipt).await.unwrap());
        }
    }
}

/// After a success, what was not acknowledged stays hidden for a while: a later request, which was
/// handed the receipt, can still acknowledge it. Left alone it comes again.
#[tokio::test]
async fn unacknowledged_messages_come_again() {
    let options = QueueOptions {
        visibility: Duration::from_millis(200),
        ..QueueOptions::default()
    };
    for (_store, queues) in both(options).await {
        let request = TestRequest::new(LISTED);
        let (first, _) = session(&queues, Effects::OnSuccess);
        for id in ["a", "b"] {
            queues.publish(&invoices(), id, "0").await.unwrap();
        }
        let messages = receive(&first, &request, 2).await;
        first.settle().await;
        assert!(
            queues
                .receive(&invoices(), 1, None)
                .await
                .unwrap()
                .is_empty()
        );
        let (later, held) = session(&queues, Effects::OnSuccess);
        ack(&later, &request, &messages[0]).await;
        commit(&held, &queues).await;
        soon(queues.wait(&invoices())).await.unwrap();
        let again = queues.receive(&invoices(), 10, None).await.unwrap();
        assert_eq!(again.len(), 1);
        assert_eq!((again[0].id.as_str(), again[0].attempt), ("b", 2));
    }
}

/// One controller's receipt is worth nothing to another, in neither space.
#[tokio::test]
async fn receipts_are_worth_nothing_elsewhere() {
    for (_store, queues) in both(QueueOptions::default()).await {
        let request = TestRequest::new(LISTED);
        let (owner, _) = session(&queues, Effects::Immediate);
        queues.publish(&invoices(), "a", "0").await.unwrap();
        let messages = receive(&owner, &request, 1).await;
        let thief = TestRequest::of("Thief", BARE);
        let held = Arc::default();
        let controller = "Thief".parse().unwrap();
        let session = QueueSession::new(queues.clone(), controller, Effects::Immediate, held);
        ack(&session, &thief, &messages[0]).await;
        assert_eq!(queues.depth(&invoices()).await, Ok(1));
        ack(&owner, &request, &messages[0]).await;
        assert_eq!(queues.depth(&invoices()).await, Ok(0));
    }
}

/// Budgets are E2004 and name themselves: the backlog, what is held, what is received.
#[tokio::test]
async fn budgets_are_named() {
    let options = QueueOptions {
        backlog_messages: 2,
        ..QueueOptions::default()
    };
    for (_store, queues) in both(options).await {
        let request = TestRequest::new(LISTED);
        let held = Arc::new(Held::new(HeldLimits {
            count: 1,
            bytes: 1000,
        }));
        let controller = "InvoiceSync".parse().unwrap();
        let session = QueueSession::new(queues.clone(), controller, Effects::OnSuccess, held);
        publish(&session, &request, json!(1)).await;
        let budget = async || {
            let parameters = json!({"queue": "invoices", "message": 1});
            let (answer, _) = perform(&session, &request, Method::QueuePublish, &parameters).await;
            let failure = answer.unwrap_err();
            assert_eq!(failure.code, ErrorCode::BudgetExceeded);
            failure.details["budget"].clone()
        };
        assert_eq!(budget().await, "effects");
        for id in ["a", "b"] {
            queues.publish(&invoices(), id, "0").await.unwrap();
        }
        assert_eq!(budget().await, "backlog");
    }
}

/// A request cannot take a whole queue for itself.
#[tokio::test]
async fn received_messages_have_a_budget() {
    let (_store, queues) = both(QueueOptions::default()).await.remove(0);
    let request = TestRequest::new(LISTED);
    let (session, _) = session(&queues, Effects::OnSuccess);
    for number in 0..=MOST_RECEIVED {
        let id = number.to_string();
        queues.publish(&invoices(), &id, "0").await.unwrap();
    }
    let mut received = 0;
    while received < MOST_RECEIVED {
        received += receive(&session, &request, 100).await.len();
    }
    let parameters = json!({"queue": "invoices", "max": 1});
    let (answer, _) = perform(&session, &request, Method::QueueReceive, &parameters).await;
    assert_eq!(answer.unwrap_err().details["budget"], "messages");
}

/// What no interpreter could read becomes a dead letter, and the rest is received.
#[tokio::test]
async fn unreadable_bodies_are_buried() {
    for (_store, queues) in both(QueueOptions::default()).await {
        let request = TestRequest::new(LISTED);
        let (session, _) = session(&queues, Effects::OnSuccess);
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        for (id, body) in [
            ("a", "not JSON"),
            ("b", deep.as_str()),
            ("c", "3"),
            ("d", ""),
        ] {
            queues.publish(&invoices(), id, body).await.unwrap();
        }
        let messages = receive(&session, &request, 10).await;
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0]["message"], 3);
        assert_eq!(queues.depth(&invoices().dead_letters()).await, Ok(3));
    }
}

/// Dead letters tell the controller that reads them what happened.
#[tokio::test]
async fn dead_letters_say_why() {
    for (_store, queues) in both(QueueOptions::default()).await {
        let request = TestRequest::new(LISTED);
        let (session, _) = session(&queues, Effects::OnSuccess);
        queues.publish(&invoices(), "a", "7").await.unwrap();
        let delivery = queues
            .receive(&invoices(), 1, None)
            .await
            .unwrap()
            .remove(0);
        queues
            .bury(&invoices(), &delivery.receipt, "E1003")
            .await
            .unwrap();
        let parameters = json!({"queue": "invoices.dead"});
        let (answer, facts) = perform(&session, &request, Method::QueueReceive, &parameters).await;
        let message = &answer.unwrap()["messages"][0];
        assert_eq!(message["message"], 7);
        assert_eq!(
            message["dead_letter"],
            json!({"reason": "E1003", "attempts": 1})
        );
        assert_eq!(facts["queue_name"], "invoices.dead");
    }
}

/// No call outlives the request's deadline, and a lost server is a retriable failure.
#[tokio::test]
async fn deadlines_and_outages_are_told_apart() {
    let mut server = Redis::start();
    let queues = Queues::connect(&server.socket_url(), "node", QueueOptions::default()).unwrap();
    let (session, held) = session(&queues, Effects::OnSuccess);
    let mut request = TestRequest::new(LISTED);
    publish(&session, &request, json!(1)).await;
    server.kill();
    let parameters = json!({"queue": "invoices", "message": 1});
    let (answer, _) = perform(&session, &request, Method::QueuePublish, &parameters).await;
    let failure = answer.unwrap_err();
    assert_eq!(failure.code, ErrorCode::ControllerFailed);
    assert_eq!(failure.details["retriable"], true);
    let cache = Cache::embedded(CacheOptions::default());
    let effects = held.take_effects();
    assert!(
        deliver(&effects[0], &queues, &cache)
            .await
            .unwrap_err()
            .is_retriable()
    );
    server.start_again();
    soon(async {
        while queues.depth(&invoices()).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.pause();
    request.deadline = Instant::now() + Duration::from_millis(50);
    let (answer, _) = perform(
        &session,
        &request,
        Method::QueueReceive,
        &json!({"queue": "invoices"}),
    )
    .await;
    assert_eq!(answer.unwrap_err().code, ErrorCode::Timeout);
    server.resume();
    // What was held is delivered now.
    soon(async {
        while deliver(&effects[0], &queues, &cache).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(queues.depth(&invoices()).await, Ok(1));
}

/// What a broken or hostile outbox row says is refused for good, not tried for ever.
#[tokio::test]
async fn effects_without_a_valid_key_are_refused() {
    let (_store, queues) = both(QueueOptions::default()).await.remove(0);
    let cache = Cache::embedded(CacheOptions::default());
    let text = |text: &str| text.to_owned();
    for effect in [
        Effect::Publish {
            queue: text("x"),
            id: text("a"),
            body: text("1"),
        },
        Effect::Publish {
            queue: text("s/q"),
            id: text(""),
            body: text("1"),
        },
        Effect::Ack {
            queue: text("s/"),
            receipt: text("a"),
        },
        Effect::CacheSet {
            key: text("s/a b"),
            value: text("1"),
            expires_at_ms: None,
        },
        Effect::CacheDelete { key: text("") },
    ] {
        let error = deliver(&effect, &queues, &cache).await.unwrap_err();
        assert!(!error.is_retriable(), "{effect:?}");
    }
}
