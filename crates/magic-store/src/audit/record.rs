//! One record, as its writer hands it over, and the bytes that are kept of it.
//!
//! The member names are read by programs and by later versions of this one: members are added, never renamed. What is absent
//! is left out instead of written as null, so that a record says only what is known.
//!
//! A record is never refused for what it holds, since then something would happen of which there is no record. Instead every
//! text has a largest size, and fields that are too large or too deep to be read back are replaced by their size and digest:
//! whoever has the original can still prove that it is the one.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::entry::Hash;

/// The most bytes that one text of a record keeps.
const TEXT_BYTES: usize = 1024;

/// The most bytes of JSON that the fields of a record keep.
const FIELDS_BYTES: usize = 64 * 1024;

/// The deepest fields that are kept. A JSON reader gives up at 128, and the fields already stand inside of a record.
const FIELDS_DEPTH: usize = 32;

/// Writes an enum of words that stand in records, in both directions.
macro_rules! words {
    ($(#[$about:meta])* $name:ident, $error:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every one, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that stands in the record.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|one| one.as_str() == text).ok_or($error)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        /// The text is none of the words.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
        #[error("write one of: {}", [$($word),+].join(", "))]
        pub struct $error;
    };
}

words! {
    /// What a record is about.
    Kind, UnknownKind {
        /// A capability call, allowed or denied.
        Call = "call",
        /// A call that is about to do something that cannot be taken back.
        Intent = "intent",
        /// One request, from its input to its outcome.
        Execution = "execution",
        /// A held effect was delivered after its request had been answered.
        Delivery = "delivery",
        /// A controller version was deployed, or its deployment was refused.
        Deploy = "deploy",
        /// A controller was removed.
        Remove = "remove",
        /// A controller went back to an earlier version.
        Rollback = "rollback",
        /// The policy was loaded or replaced, or a new one was refused.
        Policy = "policy",
        /// A key was made or revoked.
        Key = "key",
        /// Somebody was refused for want of credentials, or of a right that theirs do not give.
        Auth = "auth",
        /// A stored secret was set or removed.
        Secret = "secret",
        /// The supervisor began.
        Start = "start",
        /// The supervisor ended in order.
        Stop = "stop",
        /// The log itself: it was opened after a crash, and cut off what had never been acknowledged.
        Recovery = "recovery",
        /// The log itself: so many records were refused for want of room, and whoever made them was told.
        Gap = "gap",
    }
}

words! {
    /// Whether what the record is about was allowed.
    Decision, UnknownDecision {
        /// Contract and policy both allow it.
        Allow = "allow",
        /// One of them does not.
        Deny = "deny",
    }
}

/// What decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// The layer: `contract`, `policy`, `budget`, `kernel`.
    #[serde(serialize_with = "text")]
    pub layer: String,
    /// The rule's name, where rules have names.
    #[serde(
        serialize_with = "optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub name: Option<String>,
    /// The line of contract or policy that decided, or that would allow it.
    #[serde(
        serialize_with = "optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub line: Option<String>,
}

/// One record. Time and number are given by the log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// What it is about.
    pub kind: Kind,
    /// The request that it belongs to.
    #[serde(
        serialize_with = "optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub request_id: Option<String>,
    /// The controller.
    #[serde(
        serialize_with = "optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub controller: Option<String>,
    /// The controller's version.
    #[serde(
        serialize_with = "optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub version: Option<String>,
    /// On whose behalf: a key's id, a token's subject, a local user.
    #[serde(
        serialize_with = "optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub caller: Option<String>,
    /// The capability, as contracts spell it.
    #[serde(
        serialize_with = "optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub capability: Option<String>,
    /// The method that was called.
    #[serde(
        serialize_with = "optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub method: Option<String>,
    /// Whether it was allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// What decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// The error code in which it ended; absent for success.
    #[serde(
        serialize_with = "optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub code: Option<String>,
    /// The digest of the policy that was in force.
    #[serde(
        serialize_with = "optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub policy_hash: Option<String>,
    /// How long it took, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
    /// The facts that belong to this capability or event.
    #[serde(serialize_with = "fields", skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

impl Record {
    /// A record that says nothing but what it is about.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            request_id: None,
            controller: None,
            version: None,
            caller: None,
            capability: None,
            method: None,
            decision: None,
            rule: None,
            code: None,
            policy_hash: None,
            duration_us: None,
            fields: Map::new(),
        }
    }

    /// Adds one fact, replacing an earlier one of that name.
    #[must_use]
    pub fn with_field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }

    /// The record's JSON without its time, which is known only when it takes its place in the log.
    pub(super) fn timeless(&self) -> String {
        serde_json::to_string(self).expect("texts and JSON values are JSON")
    }
}

/// The record's JSON, complete. `timeless` is an object with at least one member.
pub(super) fn timed(timeless: &str, time: Timestamp) -> String {
    format!("{{\"time\":\"{time:.6}\",{}", &timeless[1..])
}

fn text<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text[..text.floor_char_boundary(TEXT_BYTES)])
}

fn optional_text<S: Serializer>(value: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    text(value.as_deref().unwrap_or_default(), serializer)
}

fn fields<S: Serializer>(fields: &Map<String, Value>, serializer: S) -> Result<S::Ok, S::Error> {
    if fields
        .values()
        .any(|value| deeper_than(value, FIELDS_DEPTH))
    {
        return omitted(None).serialize(serializer);
    }
    let json = serde_json::to_string(fields).expect("JSON values are JSON");
    if json.len() > FIELDS_BYTES {
        return omitted(Some(&json)).serialize(serializer);
    }
    fields.serialize(serializer)
}

/// What stands in place of fields that cannot be kept.
fn omitted(json: Option<&str>) -> Value {
    match json {
        Some(json) => serde_json::json!({
            "omitted_bytes": json.len(),
            "omitted_sha256": Hash::of(json.as_bytes()).to_string(),
        }),
        None => serde_json::json!({ "omitted": "too deep" }),
    }
}

/// Whether a value has more than `limit` levels. Looks no deeper than that.
fn deeper_than(value: &Value, limit: usize) -> bool {
    match value {
        Value::Array(items) => limit == 0 || items.iter().any(|item| deeper_than(item, limit - 1)),
        Value::Object(members) => {
            limit == 0 || members.values().any(|item| deeper_than(item, limit - 1))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::lines::LINE_BYTES;

    /// The bytes of a record, written out: these names are a promise.
    #[test]
    fn members_and_their_order() {
        let record = Record {
            request_id: Some("req_1".to_owned()),
            controller: Some("InvoiceSync".to_owned()),
            version: Some("1.0.0".to_owned()),
            caller: Some("key:a".to_owned()),
            capability: Some("db:read".to_owned()),
            method: Some("db.query".to_owned()),
            decision: Some(Decision::Deny),
            rule: Some(Rule {
                layer: "policy".to_owned(),
                name: Some("no-bare-db".to_owned()),
                line: None,
            }),
            code: Some("E2002".to_owned()),
            policy_hash: Some("ab".to_owned()),
            duration_us: Some(12),
            ..Record::new(Kind::Call)
        }
        .with_field("table", "customers");
        let time = "2026-01-31T12:00:01Z".parse().expect("a time");
        assert_eq!(
            timed(&record.timeless(), time),
            r#"{"time":"2026-01-31T12:00:01.000000Z","kind":"call","request_id":"req_1","controller":"InvoiceSync","version":"1.0.0","caller":"key:a","capability":"db:read","method":"db.query","decision":"deny","rule":{"layer":"policy","name":"no-bare-db"},"code":"E2002","policy_hash":"ab","duration_us":12,"fields":{"table":"customers"}}"#
        );
        assert_eq!(Record::new(Kind::Start).timeless(), r#"{"kind":"start"}"#);
    }

    /// Whatever is put into a record, it fits on a line and can be read back.
    #[test]
    fn nothing_is_too_large_or_too_deep() {
        let large = "\u{1}".repeat(1_000_000);
        let mut record = Record::new(Kind::Call).with_field("query_text", large.clone());
        for text in [
            &mut record.request_id,
            &mut record.controller,
            &mut record.version,
            &mut record.caller,
            &mut record.capability,
            &mut record.method,
            &mut record.code,
            &mut record.policy_hash,
        ] {
            *text = Some(large.clone());
        }
        record.rule = Some(Rule {
            layer: large.clone(),
            name: Some(large.clone()),
            line: Some(large.clone()),
        });
        let text = record.timeless();
        assert!(text.len() < LINE_BYTES / 2, "{}", text.len());
        let read: Value = serde_json::from_str(&text).expect("JSON");
        assert!(
            read["fields"]["omitted_sha256"].is_string(),
            "{}",
            read["fields"]
        );

        let deep = (0..100).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
        let text = Record::new(Kind::Call).with_field("x", deep).timeless();
        assert_eq!(text, r#"{"kind":"call","fields":{"omitted":"too deep"}}"#);
    }
}
