//! `Idempotency-Key`: one answer for a request that is asked twice.
//!
//! The key is claimed before the controller runs and the answer is stored by
//! the commit that keeps its rows, so there is an answer exactly if there are
//! effects. Two inputs are the same if they are the same JSON, whatever their
//! spacing and the order of their members.

use crate::request::Request;
use crate::runtime::Shared;
use crate::version::Version;
use magic_broker::db::{Claim, IdempotentRequest, Token};
use magic_contract::{ErrorCode, Failure, Reason};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// How much longer than everything that a request may wait for its key stays
/// claimed if nobody gives it back.
const SPARE: Duration = Duration::from_secs(30);

/// A claimed key.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) token: Token,
    pub(crate) version: String,
    request_id: String,
}

impl Claimed {
    /// The text to store for an output.
    pub(crate) fn stored(&self, output: &Value) -> String {
        json!({ "request_id": self.request_id, "result": output }).to_string()
    }
}

/// The stored answer to an earlier request.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) result: Value,
    pub(crate) request_id: String,
    pub(crate) version: String,
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
    input: &Value,
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
        input_hash: &hash(input),
    };
    match services
        .backends
        .database
        .idempotency()
        .claim(&asked, lease)
        .await?
    {
        Claim::New(token) => Ok(Named::First(Claimed {
            token,
            version: version.contract.version.to_string(),
            request_id: request.request_id.clone(),
        })),
        Claim::Stored { answer, version } => read(&answer, version).map(Named::Again),
        Claim::Conflict => Err(Failure::new(
            ErrorCode::UnacceptableBody,
            "this Idempotency-Key was used with another input; use a new key for a new request",
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

/// SHA-256 of the value with the members of every object in order.
fn hash(input: &Value) -> String {
    let mut text = Vec::new();
    canonical(input, &mut text);
    Sha256::digest(&text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The depth of a value that was admitted is bounded.
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
        let one = hash(&json!({"a": 1, "b": [1, {"c": null, "d": "x"}]}));
        assert_eq!(one, hash(&json!({"b": [1, {"d": "x", "c": null}], "a": 1})));
        for other in [
            json!({"a": 1, "b": [{"c": null, "d": "x"}, 1]}),
            json!({"a": "1", "b": [1, {"c": null, "d": "x"}]}),
            json!({"a": 1}),
            json!([["a", 1]]),
        ] {
            assert_ne!(one, hash(&other), "{other}");
        }
    }
}
