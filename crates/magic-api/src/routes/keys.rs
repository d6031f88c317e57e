//! `/api/keys`: the API keys of this runtime.
//!
//! A key's text is in one answer, that of its making, and nowhere else. Keys stay listed when they were revoked, so that a record that
//! names one can be understood later.

use std::num::NonZeroU32;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use hyper::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use magic_contract::{ControllerName, ErrorCode, Failure, JsonLimits, Reason, read_json};
use magic_store::state::{ApiKey, ApiKeys, KeyError, KeyRate, NewKey, StateError};
use magic_store::{Kind, Record};
use serde::{Deserialize, Serialize};

use super::json;
use crate::auth::authorize::Authorized;
use crate::auth::role::Role;
use crate::refusal::Refusal;
use crate::request_id::RequestId;
use crate::state::ApiState;

/// A key to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// What it is for.
    name: String,
    /// At least one.
    roles: Vec<String>,
    /// The controllers that it is bound to; absent means all.
    controllers: Option<Vec<String>>,
    /// When it ends, as a time.
    expires_at: Option<Timestamp>,
    /// Or how long it is good, such as `90d` or `12h`.
    expires_in: Option<String>,
    /// How many requests in a second each node takes; absent means as the node's settings say.
    rate: Option<u32>,
    /// How many at once; absent means twice the rate.
    burst: Option<u32>,
}

#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    name: &'a str,
    roles: &'a [String],
    controllers: Option<&'a [String]>,
    created_at: Timestamp,
    created_by: &'a str,
    expires_at: Option<Timestamp>,
    rate: Option<NonZeroU32>,
    burst: Option<NonZeroU32>,
    revoked_at: Option<Timestamp>,
    revoked_by: Option<&'a str>,
}

impl<'a> From<&'a ApiKey> for Shown<'a> {
    fn from(key: &'a ApiKey) -> Self {
        Self {
            id: &key.id,
            name: &key.name,
            roles: &key.roles,
            controllers: key.controllers.as_deref(),
            created_at: key.created_at,
            created_by: &key.created_by,
            expires_at: key.expires_at,
            rate: key.rate.map(|rate| rate.per_second),
            burst: key.rate.map(|rate| rate.burst),
            revoked_at: key.revoked.as_ref().map(|(at, _)| *at),
            revoked_by: key.revoked.as_ref().map(|(_, by)| by.as_str()),
        }
    }
}

#[derive(Serialize)]
struct Listed<'a> {
    keys: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct Made<'a> {
    /// The text: now, and never again.
    key: &'a str,
    #[serde(flatten)]
    shown: Shown<'a>,
}

#[derive(Serialize)]
struct Revoked<'a> {
    id: &'a str,
    /// Whether it was live until now.
    revoked: bool,
}

/// All keys, the newest first.
pub(super) async fn list(State(state): State<ApiState>) -> Result<Response, Refusal> {
    let keys = store(&state)?
        .list()
        .await
        .map_err(|error| failed(&error))?;
    Ok(json(&Listed {
        keys: keys.iter().map(Shown::from).collect(),
    }))
}

/// Makes a key: 201.
pub(super) async fn create(
    State(state): State<ApiState>,
    authorized: Authorized,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let keys = store(&state)?;
    let body = state.bodies.read(&headers, body).await?;
    let wanted = read_json(&body.bytes, JsonLimits::default()).map_err(Refusal::of)?;
    let wanted: Wanted = serde_json::from_value(wanted).map_err(|error| {
        let said: String = error.to_string().chars().take(300).collect();
        unacceptable("the key cannot be made as it is described").with_detail("received", said)
    })?;
    let new = checked(wanted, authorized.caller().subject())?;
    let (text, key) = keys.create(new).await.map_err(refused)?;
    let mut record = record(&authorized, &request_id, "create", &key.id)
        .with_field("name", key.name.clone())
        .with_field("roles", key.roles.clone());
    if let Some(controllers) = &key.controllers {
        record = record.with_field("controllers", controllers.clone());
    }
    if let Some(expiry) = key.expires_at {
        record = record.with_field("expires_at", expiry.to_string());
    }
    if let Some(rate) = key.rate {
        record = record
            .with_field("rate", rate.per_second.get())
            .with_field("burst", rate.burst.get());
    }
    state.runtime.record(&record);
    state.authentication.until(&key.id, true).await;
    let text = text.expose();
    let mut response = json(&Made {
        key: &text,
        shown: Shown::from(&key),
    });
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// Revokes a key; that it was revoked before is no error.
pub(super) async fn revoke(
    State(state): State<ApiState>,
    authorized: Authorized,
    Extension(request_id): Extension<RequestId>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let keys = store(&state)?;
    let Path(id) = path.map_err(|_| Refusal::unknown("the key's id is not valid UTF-8"))?;
    let revoked = keys
        .revoke(&id, authorized.caller().subject())
        .await
        .map_err(refused)?;
    state
        .runtime
        .record(&record(&authorized, &request_id, "revoke", &id).with_field("was_live", revoked));
    state.authentication.until(&id, false).await;
    Ok(json(&Revoked { id: &id, revoked }))
}

fn store(state: &ApiState) -> Result<&ApiKeys, Refusal> {
    state
        .keys
        .as_ref()
        .ok_or_else(|| Refusal::unknown("this server keeps no API keys"))
}

fn record(authorized: &Authorized, request_id: &RequestId, action: &str, id: &str) -> Record {
    let mut record = Record::new(Kind::Key)
        .with_field("action", action)
        .with_field("key", id);
    record.caller = Some(authorized.caller().subject().to_owned());
    record.request_id = Some(request_id.as_str().to_owned());
    record
}

/// The key, if its words mean something: a role or a controller that does not exist would be a key that opens nothing, or less than
/// its maker believes.
fn checked(wanted: Wanted, by: &str) -> Result<NewKey, Refusal> {
    let known = Role::GRANTABLE.map(Role::as_str);
    if wanted.roles.is_empty() || wanted.roles.iter().any(|role| Role::parse(role).is_none()) {
        return Err(
            unacceptable("a key has at least one role, and only known ones")
                .with_detail("field", "/roles")
                .with_detail("expected", known.to_vec()),
        );
    }
    if let Some(names) = &wanted.controllers
        && (names.is_empty()
            || names
                .iter()
                .any(|name| name.parse::<ControllerName>().is_err()))
    {
        return Err(unacceptable(
            "`controllers` is a list of at least one name of a controller, or absent for all",
        )
        .with_detail("field", "/controllers"));
    }
    let now = Timestamp::now();
    let expires_at = match (wanted.expires_at, wanted.expires_in.as_deref()) {
        (Some(_), Some(_)) => {
            return Err(unacceptable("give either expires_at or expires_in"));
        }
        (at, None) => at,
        (None, Some(text)) => Some(after(now, text).ok_or_else(|| {
            unacceptable("`expires_in` is a time such as 90d, 12h or 30m")
                .with_detail("field", "/expires_in")
        })?),
    };
    if expires_at.is_some_and(|expiry| expiry <= now) {
        return Err(unacceptable("the key would have expired already"));
    }
    let rate = match (wanted.rate, wanted.burst) {
        (None, Some(_)) => {
            return Err(
                unacceptable("a burst belongs to a rate; give both").with_detail("field", "/burst")
            );
        }
        (None, None) => None,
        (Some(per_second), burst) => Some(
            KeyRate::new(per_second, burst)
                .map_err(|error| refused(error).with_detail("field", "/rate"))?,
        ),
    };
    Ok(NewKey {
        rate,
        name: wanted.name,
        roles: wanted.roles,
        controllers: wanted.controllers,
        expires_at,
        created_by: by.to_owned(),
    })
}

/// So long after `now`: days, which are 24 hours here, or a time such as `12h`.
fn after(now: Timestamp, text: &str) -> Option<Timestamp> {
    let duration = match text.strip_suffix('d') {
        Some(days) => SignedDuration::from_hours(days.parse::<u16>().ok().map(i64::from)? * 24),
        None => text.parse().ok()?,
    };
    now.checked_add(duration).ok()
}

fn unacceptable(message: &str) -> Refusal {
    Refusal::of(Failure::new(ErrorCode::UnacceptableBody, message))
}

fn refused(error: KeyError) -> Refusal {
    match error {
        KeyError::NoSuchKey { .. } => Refusal::unknown("there is no such API key"),
        KeyError::Invalid(why) => unacceptable(why),
        KeyError::State(error) => failed(&error),
        other => internal(&other.to_string()),
    }
}

/// The store is away, or worse.
fn failed(error: &StateError) -> Refusal {
    if error.is_unavailable() {
        let failure = Failure::new(
            ErrorCode::DeploymentFailed,
            "the runtime's store cannot be reached; look whether the change took place, or try again",
        );
        return Refusal::of(
            failure
                .with_reason(Reason::Store)
                .with_internal(error.to_string()),
        )
        .with_status(StatusCode::SERVICE_UNAVAILABLE);
    }
    internal(&error.to_string())
}

fn internal(said: &str) -> Refusal {
    Refusal::of(
        Failure::new(ErrorCode::DeploymentFailed, "the runtime's store failed")
            .with_reason(Reason::Store)
            .with_internal(said),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Result<NewKey, Refusal> {
        checked(serde_json::from_str(text).expect("a description"), "ada")
    }

    /// What is described is made.
    #[test]
    fn keys_are_described() {
        let new = key(r#"{"name": "ci", "roles": ["execute", "read"], "controllers": ["Echo"], "expires_in": "90d"}"#)
            .expect("a key");
        assert_eq!(new.created_by, "ada");
        let left = new
            .expires_at
            .expect("an end")
            .duration_since(Timestamp::now())
            .as_hours();
        assert!((2159..=2160).contains(&left), "{left}");
        let forever = key(r#"{"name": "ci", "roles": ["admin"]}"#).expect("a key");
        assert_eq!((forever.controllers, forever.expires_at), (None, None));
        assert_eq!(forever.rate, None);
        let rate = |text: &str| {
            let rate = key(text).expect("a key").rate.expect("a rate");
            (rate.per_second.get(), rate.burst.get())
        };
        let usual = rate(r#"{"name": "ci", "roles": ["execute"], "rate": 20}"#);
        assert_eq!(usual, (20, 40));
        let own = rate(r#"{"name": "ci", "roles": ["execute"], "rate": 20, "burst": 1}"#);
        assert_eq!(own, (20, 1));
    }

    /// Words that mean nothing, and lists that are empty, are refused.
    #[test]
    fn mistakes_are_refused() {
        for text in [
            r#"{"name": "x", "roles": []}"#,
            r#"{"name": "x", "roles": ["public"]}"#,
            r#"{"name": "x", "roles": ["Admin"]}"#,
            r#"{"name": "x", "roles": ["read"], "controllers": []}"#,
            r#"{"name": "x", "roles": ["read"], "controllers": ["*"]}"#,
            r#"{"name": "x", "roles": ["read"], "expires_in": "soon"}"#,
            r#"{"name": "x", "roles": ["read"], "expires_in": "-1h"}"#,
            r#"{"name": "x", "roles": ["read"], "expires_in": "0d"}"#,
            r#"{"name": "x", "roles": ["read"], "expires_at": "2020-01-01T00:00:00Z"}"#,
            r#"{"name": "x", "roles": ["read"], "rate": 0}"#,
            r#"{"name": "x", "roles": ["read"], "rate": 1000001}"#,
            r#"{"name": "x", "roles": ["read"], "rate": 1, "burst": 601}"#,
            r#"{"name": "x", "roles": ["read"], "rate": 1, "burst": 0}"#,
            r#"{"name": "x", "roles": ["read"], "burst": 1}"#,
            r#"{"name": "x", "roles": ["read"], "expires_in": "1h", "expires_at": "2999-01-01T00:00:00Z"}"#,
        ] {
            assert!(key(text).is_err(), "{text}");
        }
    }
}
