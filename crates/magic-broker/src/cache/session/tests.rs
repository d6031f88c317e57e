//! A request's view of the cache, on both back ends.

use super::*;
use crate::cache::CacheOptions;
use crate::cache::tests::both;
use crate::effects::deliver;
use crate::queue::tests::soon;
use crate::queue::{QueueOptions, Queues};
use crate::test_call::{TestRequest, outcome};
use serde_json::{Map, Value, json};

const BARE: &str = "[cache:read, cache:write]";
const LISTED: &str =
    r#"[{cache:read: {keys: ["rates:*", one]}}, {cache:write: {keys: ["rates:*"]}}]"#;

fn session(cache: &Cache, mode: Effects) -> (CacheSession, Arc<Held>) {
    let held = Arc::new(Held::default());
    let controller = "InvoiceSync".parse().unwrap();
    let session = CacheSession::new(cache.clone(), controller, mode, held.clone());
    (session, held)
}

async fn perform(
    session: &CacheSession,
    request: &TestRequest,
    method: Method,
    parameters: &Value,
) -> (Result<Value, Failure>, Map<String, Value>) {
    let mut call = request.call(method);
    let result = session.perform(&mut call, &parameters.to_string()).await;
    outcome(result, call)
}

/// The value of `rates:EUR` as the request sees it.
async fn get(session: &CacheSession, request: &TestRequest) -> Option<Value> {
    let parameters = json!({"key": "rates:EUR"});
    let (answer, _) = perform(session, request, Method::CacheGet, &parameters).await;
    let answer = answer.unwrap();
    answer["hit"]
        .as_bool()
        .unwrap()
        .then(|| answer["value"].clone())
}

async fn set(session: &CacheSession, request: &TestRequest, value: Value, ttl_ms: Option<u64>) {
    let mut parameters = json!({"key": "rates:EUR", "value": value});
    if let Some(ttl_ms) = ttl_ms {
        parameters["ttl_ms"] = json!(ttl_ms);
    }
    let (answer, _) = perform(session, request, Method::CacheSet, &parameters).await;
    assert_eq!(answer.unwrap(), Value::Null);
}

async fn delete(session: &CacheSession, request: &TestRequest) {
    let parameters = json!({"key": "rates:EUR"});
    let (answer, _) = perform(session, request, Method::CacheDelete, &parameters).await;
    assert_eq!(answer.unwrap(), Value::Null);
}

/// The four rows of the table in the module's description.
#[tokio::test]
async fn each_capability_chooses_its_space() {
    let (shared, private) = ("s/rates:EUR", "c/InvoiceSync/rates:EUR");
    let list = r#"{keys: ["rates:*"]}"#;
    let table = [
        ("[cache:read, cache:write]".to_owned(), private, private),
        (
            format!("[{{cache:read: {list}}}, {{cache:write: {list}}}]"),
            shared,
            shared,
        ),
        (
            format!("[{{cache:read: {list}}}, cache:write]"),
            shared,
            private,
        ),
        (
            format!("[cache:read, {{cache:write: {list}}}]"),
            private,
            shared,
        ),
    ];
    for (capabilities, reads, writes) in table {
        for mode in [Effects::OnSuccess, Effects::Immediate] {
            for (_server, cache) in both(CacheOptions::default()) {
                let request = TestRequest::new(&capabilities);
                let (session, held) = session(&cache, mode);
                for key in [shared, private] {
                    let key = CacheKey::parse(key).unwrap();
                    let value = serde_json::to_string(key.as_str()).unwrap();
                    cache.set(&key, &value, None).await.unwrap();
                }
                assert_eq!(get(&session, &request).await, Some(json!(reads)));
                set(&session, &request, json!("new"), None).await;
                let expected = if reads == writes { "new" } else { reads };
                assert_eq!(get(&session, &request).await, Some(json!(expected)));
                commit(&held, &cache).await;
                let written = cache.get(&CacheKey::parse(writes).unwrap()).await;
                assert_eq!(written, Ok(Some("\"new\"".to_owned())));
            }
        }
    }
}

/// Delivers as the outbox does after a crash: everything, twice.
async fn commit(held: &Held, cache: &Cache) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let queues = Queues::open_embedded(&path, QueueOptions::default())
        .await
        .unwrap();
    let effects = held.take_effects();
    for effect in effects.iter().chain(&effects) {
        deliver(effect, &queues, cache).await.unwrap();
    }
}

/// Held writes are seen by the request and by nobody else until they are delivered.
#[tokio::test]
async fn held_writes_are_the_requests_own() {
    let key = CacheKey::shared("rates:EUR").unwrap();
    for (_server, cache) in both(CacheOptions::default()) {
        let request = TestRequest::new(LISTED);
        let (session, held) = session(&cache, Effects::OnSuccess);
        assert_eq!(get(&session, &request).await, None);
        set(&session, &request, json!({"n": 1}), None).await;
        assert_eq!(get(&session, &request).await, Some(json!({"n": 1})));
        assert_eq!(cache.get(&key).await, Ok(None));
        delete(&session, &request).await;
        assert_eq!(get(&session, &request).await, None);
        set(&session, &request, json!(null), None).await;
        assert_eq!(get(&session, &request).await, Some(json!(null)));
        assert_eq!(cache.get(&key).await, Ok(None));
        assert!(request.intents.lock().unwrap().is_empty());
        commit(&held, &cache).await;
        assert_eq!(cache.get(&key).await, Ok(Some("null".to_owned())));
    }
}

/// A held delete hides what the store still has; a held value ends when its time is over.
#[tokio::test]
async fn held_deletes_and_ends_are_seen() {
    let key = CacheKey::shared("rates:EUR").unwrap();
    for (_server, cache) in both(CacheOptions::default()) {
        let request = TestRequest::new(LISTED);
        let (session, held) = session(&cache, Effects::OnSuccess);
        cache.set(&key, "1", None).await.unwrap();
        delete(&session, &request).await;
        assert_eq!(get(&session, &request).await, None);
        set(&session, &request, json!(2), Some(40)).await;
        assert_eq!(get(&session, &request).await, Some(json!(2)));
        soon(async {
            while get(&session, &request).await.is_some() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(cache.get(&key).await, Ok(Some("1".to_owned())));
        // Delivered after its end, the write still ends what was there before.
        let effects = held.take_effects();
        assert!(
            matches!(effects[1], Effect::CacheSet { expires_at_ms: Some(end), .. } if end <= now_ms())
        );
        let held = Held::default();
        held.hold(effects[1].clone()).unwrap();
        commit(&held, &cache).await;
        assert_eq!(cache.get(&key).await, Ok(None));
    }
}

/// With `effects: immediate` each write is announced with its facts and made at once.
#[tokio::test]
async fn immediate_writes_are_announced() {
    let key = CacheKey::shared("rates:EUR").unwrap();
    for (_server, cache) in both(CacheOptions::default()) {
        let request = TestRequest::new(LISTED);
        let (session, held) = session(&cache, Effects::Immediate);
        set(&session, &request, json!(1), Some(60_000)).await;
        assert_eq!(cache.get(&key).await, Ok(Some("1".to_owned())));
        delete(&session, &request).await;
        assert_eq!(cache.get(&key).await, Ok(None));
        assert!(held.take_effects().is_empty());
        let intents = request.intents.lock().unwrap();
        assert_eq!(intents[0].0, Method::CacheSet);
        assert_eq!(
            Value::Object(intents[0].1.clone()),
            json!({"key": "rates:EUR", "ttl": 60_000})
        );
        assert_eq!(intents[1].0, Method::CacheDelete);
    }
}

/// Each refusal beside the call that differs in one point and is allowed; and what is recorded.
#[tokio::test]
async fn refusals_and_their_twins() {
    use Method::{CacheDelete as Delete, CacheGet as Get, CacheSet as Set};
    let options = CacheOptions {
        value_bytes: 100,
        longest: Duration::from_secs(10),
        ..CacheOptions::default()
    };
    let table = [
        (
            Get,
            json!({"key": "rates:EUR"}),
            None,
            json!({"key_pattern": "rates:*"}),
        ),
        (
            Get,
            json!({"key": "one"}),
            None,
            json!({"key_pattern": "one"}),
        ),
        (
            Get,
            json!({"key": "two"}),
            Some("E2003"),
            json!({"key_pattern": "two"}),
        ),
        (Get, json!({"key": "rates:*"}), Some("E3003"), json!({})),
        (Get, json!({"key": ""}), Some("E3003"), json!({})),
        (Get, json!({"key": "rates: EUR"}), Some("E3003"), json!({})),
        (
            Get,
            json!({"key": "c/Other/rates:EUR"}),
            Some("E2003"),
            json!({"key_pattern": "c/Other/rates:EUR"}),
        ),
        (
            Get,
            json!({"key": "one", "default": 1}),
            Some("E3003"),
            json!({}),
        ),
        (
            Set,
            json!({"key": "rates:EUR", "value": 1}),
            None,
            json!({"key": "rates:EUR", "ttl": null}),
        ),
        (
            Set,
            json!({"key": "one", "value": 1}),
            Some("E2003"),
            json!({"key": "one", "ttl": null}),
        ),
        (Set, json!({"key": "rates:EUR"}), Some("E3003"), json!({})),
        (
            Set,
            json!({"key": "rates:EUR", "value": 1, "ttl_ms": 10_000}),
            None,
            json!({"key": "rates:EUR", "ttl": 10_000}),
        ),
        (
            Set,
            json!({"key": "rates:EUR", "value": 1, "ttl_ms": 10_001}),
            Some("E3003"),
            json!({"key": "rates:EUR", "ttl": 10_001}),
        ),
        (
            Set,
            json!({"key": "rates:EUR", "value": 1, "ttl_ms": 0}),
            Some("E3003"),
            json!({"key": "rates:EUR", "ttl": 0}),
        ),
        (
            Set,
            json!({"key": "rates:EUR", "value": 1, "ttl_ms": -1}),
            Some("E3003"),
            json!({}),
        ),
        (
            Set,
            json!({"key": "rates:EUR", "value": "x".repeat(98)}),
            None,
            json!({"key": "rates:EUR", "ttl": null}),
        ),
        (
            Set,
            json!({"key": "rates:EUR", "value": "x".repeat(99)}),
            Some("E2004"),
            json!({"key": "rates:EUR", "ttl": null}),
        ),
        (
            Delete,
            json!({"key": "rates:EUR"}),
            None,
            json!({"key": "rates:EUR"}),
        ),
        (
            Delete,
            json!({"key": "one"}),
            Some("E2003"),
            json!({"key": "one"}),
        ),
    ];
    for (_server, cache) in both(options) {
        for mode in [Effects::OnSuccess, Effects::Immediate] {
            let (session, _) = session(&cache, mode);
            for (method, parameters, code, recorded) in &table {
                let request = TestRequest::new(LISTED);
                let (answer, facts) = perform(&session, &request, *method, parameters).await;
                let got = answer.as_ref().err().map(|failure| failure.code.as_str());
                assert_eq!(got, *code, "{method:?} {parameters} {answer:?}");
                assert_eq!(Value::Object(facts), *recorded, "{method:?} {parameters}");
                if code.is_some() {
                    assert!(request.intents.lock().unwrap().is_empty());
                }
            }
        }
    }
}

/// A private entry is recorded by its whole key, so that two of the same name can be told apart.
#[tokio::test]
async fn private_entries_are_recorded_by_their_whole_key() {
    let cache = Cache::embedded(CacheOptions::default());
    let request = TestRequest::new(BARE);
    let (session, _) = session(&cache, Effects::OnSuccess);
    let parameters = json!({"key": "a"});
    let (_, facts) = perform(&session, &request, Method::CacheGet, &parameters).await;
    assert_eq!(facts["key_pattern"], "c/InvoiceSync/*");
    let (_, facts) = perform(&session, &request, Method::CacheDelete, &parameters).await;
    assert_eq!(facts["key"], "c/InvoiceSync/a");
}
