//! `Idempotency-Key`: one answer for a request that is asked twice.
//!
//! The key is claimed before the controller runs and the answer is stored by
//! the commit that keeps its rows, so there is an answer exactly if there are
//! effects. Two requests are the same if they ask for the same version and their
//! bodies are the same JSON, whatever its spacing and the order of its members.
//! The body is compared as it came, before any version's defaults are filled in
//! and before it is judged: what was answered once is answered again, also when
//! the schema has changed since.

use crate::request::Request;
use crate::runtime::Shared;
use crate::version::Version;
use magic_broker::db::{Claim, Idempotency, IdempotentRequest, Token};
use magic_contract::{ErrorCode, Failure, Reason};
use magic_store::{Kind, Record};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// How much longer than everything that a request may wait for its key stays
/// claimed if nobody gives it back.
const SPARE: Duration = Duration::from_secs(30);

/// A claimed key. Dropped, it is given back, so that a retry can run.
#[derive(Debug)]
pub(crate) struct Claimed {
    /// `None` once it was given back, or is kept.
    token: Option<Token>,
    pub(crate) version: String,
    request_id: String,
    keys: Idempotency,
    closings: TaskTracker,
}

impl Claimed {
    /// What the commit that stores the answer must show.
    pub(crate) fn token(&self) -> &Token {
        self.token
            .as_ref()
            .expect("only what consumes the claim takes its token")
    }

    /// The text to store for an output.
    pub(crate) fn stored(&self, output: &Value) -> String {
        json!({ "request_id": self.request_id, "result": output }).to_string()
    }

    /// Gives the key back before anything else is done.
    pub(crate) async fn release(mut self) {
        if let Some(token) = self.token.take() {
            release(&self.keys, &token).await;
        }
    }

    /// Leaves the key claimed until its lease ends or its answer is stored.
    pub(crate) fn keep(mut self) {
        self.token = None;
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            let keys = self.keys.clone();
            self.closings
                .spawn(async move { release(&keys, &token).await });
        }
    }
}

async fn release(keys: &Idempotency, token: &Token) {
    if let Err(failure) = keys.release(token).await {
        tracing::warn!(
            internal = failure.internal,
            "an Idempotency-Key stays claimed until its lease ends: {}",
            failure.message
        );
    }
}

/// The stored answer to an earlier request.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) result: Value,
    pub(crate) request_id: String,
    pub(crate) version: String,
}

impl Stored {
    /// Records that nothing was done: somebody saw an answer again.
    pub(crate) fn record(&self, shared: &Shared, request: &Request) {
        shared.record(&Record {
            request_id: Some(request.request_id.clone()),
            controller: Some(request.controller.clone()),
            version: Some(self.version.clone()),
            caller: Some(request.caller.subject.clone()),
            fields: Map::from_iter([
                ("effects".to_owned(), json!("none")),
                ("replayed".to_owned(), json!(self.request_id)),
            ]),
            ..Record::new(Kind::Execution)
        });
    }
}

/// What a key is good for.
#[derive(Debug)]
pub(crate) enum Named {
    /// The client gave no key.
    No,
    /// The request is to be run.
    First(Claimed),
    /// It ran before.
    Again(Stored),
}

/// Claims the key of a request, if it has one.
///
/// # Errors
///
/// E1004 for a key that was used with another input, E3005 while the first
/// request of that key runs, E3003 when the database fails.
pub(crate) async fn claim(
    shared: &Shared,
    request: &Request,
    version: &Version,
    body: &Value,
) -> Result<Named, Failure> {
    let (Some(key), Some(services)) = (&request.idempotency_key, &shared.services) else {
        return Ok(Named::No);
    };
    let limits = &shared.launcher.limits;
    let lease = version.contract.resources.timeout + limits.queue_wait + limits.load_time + SPARE;
    let asked = IdempotentRequest {
        controller: version.contract.name.as_str(),
        key: key.as_str(),
        caller: &request.caller.subject,
        input_hash: &hash(body, request.version.as_deref()),
    };
    let keys = services.backends.database.idempotency();
    match keys.claim(&asked, lease).await? {
        Claim::New(token) => Ok(Named::First(Claimed {
            token: Some(token),
            keys,
            closings: shared.closings.clone(),
            version: version.contract.version.to_string(),
            request_id: request.request_id.clone(),
        })),
        Claim::Stored { answer, version } => read(&answer, version).map(Named::Again),
        Claim::Conflict => Err(Failure::new(
            ErrorCode::UnacceptableBody,
            "this Idempotency-Key was used with another input or another `?version=`; use a new key for a new request",
        )
        .with_detail("constraint", "idempotency-key")),
        Claim::Busy => Err(Failure::new(
            ErrorCode::NoCapacity,
            "the first request with this Idempotency-Key is still running; ask again for its answer",
        )
        .with_reason(Reason::Queue)),
    }
}

fn read(answer: &str, version: String) -> Result<Stored, Failure> {
    let parsed = serde_json::from_str::<Value>(answer)
        .ok()
        .and_then(|mut answer| {
            Some(Stored {
                request_id: answer.get("request_id")?.as_str()?.to_owned(),
                result: answer.get_mut("result")?.take(),
                version,
            })
        });
    parsed.ok_or_else(|| {
        Failure::new(
            ErrorCode::ControllerFailed,
            "the stored answer of this Idempotency-Key cannot be read",
        )
        .with_reason(Reason::Internal)
    })
}

/// SHA-256 of the value with the members of every object in order, and of the
/// version that was asked for, if one was.
fn hash(body: &Value, version: Option<&str>) -> String {
    let mut text = Vec::new();
    canonical(body, &mut text);
    if let Some(version) = version {
        // No JSON text has anything after its value.
        text.extend(b"@");
        text.extend(version.strip_prefix('v').unwrap_or(version).bytes());
    }
    Sha256::digest(&text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The depth of a value that was read is bounded.
fn canonical(value: &Value, text: &mut Vec<u8>) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push(b'{');
            for (name, member) in members {
                text.extend(json!(name).to_string().bytes());
                text.push(b':');
                canonical(member, text);
                text.push(b',');
            }
            text.push(b'}');
        }
        Value::Array(items) => {
            text.push(b'[');
            for item in items {
                canonical(item, text);
                text.push(b',');
            }
            text.push(b']');
        }
        scalar => text.extend(scalar.to_string().bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::hash;
    use serde_json::json;

    /// Order of members does not matter, order of items and everything else does.
    #[test]
    fn the_same_json_has_the_same_hash() {
        let hashed = |body: serde_json::Value| hash(&body, None);
        let value = json!({"a": 1, "b": [1, {"c": null, "d": "x"}]});
        let one = hash(&value, None);
        assert_eq!(
            one,
            hashed(json!({"b": [1, {"d": "x", "c": null}], "a": 1}))
        );
        for other in [
            json!({"a": 1, "b": [{"c": null, "d": "x"}, 1]}),
            json!({"a": "1", "b": [1, {"c": null, "d": "x"}]}),
            json!({"a": 1}),
            json!([["a", 1]]),
        ] {
            assert_ne!(one, hashed(other.clone()), "{other}");
        }
        let pinned = hash(&value, Some("1.0.0"));
        assert_ne!(one, pinned);
        assert_eq!(pinned, hash(&value, Some("v1.0.0")));
    }
}
