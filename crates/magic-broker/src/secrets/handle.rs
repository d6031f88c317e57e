//! Handles: what a controller holds of a secret that may go to named hosts only.
//!
//! With `only_for` in the contract, `secrets.get` answers with random text that stands for the
//! value within this one request. The controller puts it into a header of a request as it would
//! put the value; the HTTP capability asks for the exchange when it knows the very host, port and
//! transport that it is about to use. The value never enters the sandbox, so code that sends it
//! elsewhere, logs it or returns it has nothing but the handle.
//!
//! Text that looks like a handle and is none of this request stays what it is: text.

use super::redact::SHORTEST;
use super::value::SecretValue;
use crate::problem::misuse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use magic_contract::{CapabilityKind, ErrorCode, Failure, Host, HostPattern, SecretName};
use serde_json::json;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

/// What every handle begins with. Letters, digits and underscores are part of a token in every
/// grammar of a header field, so nothing on the way has a reason to quote a handle.
const PREFIX: &str = "magic_secret_";
/// The digits that follow: 128 random bits.
const DIGITS: usize = 32;
/// The most bytes of a header value after the exchange. One handle is shorter than what it stands
/// for, and may be repeated.
const EXPANDED_LIMIT: usize = 128 * 1024;

/// A secret and where it may go.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) key: SecretName,
    pub(super) value: SecretValue,
    /// The keys of the contract's line, to show the line as it would have to be.
    pub(super) keys: Option<Vec<SecretName>>,
    pub(super) only_for: Vec<HostPattern>,
}

/// The handles of one request.
#[derive(Debug, Default)]
pub(super) struct Handles {
    given: Mutex<HashMap<String, Bound>>,
}

impl Handles {
    /// A handle for this secret. The same secret with the same value has one handle.
    ///
    /// # Errors
    /// When the system gives no random numbers, or the value is too short to be recognised in
    /// what a server sends back.
    pub(super) fn give(&self, bound: Bound) -> Result<String, Failure> {
        if bound.value.expose().len() < SHORTEST {
            return Err(misuse(format!(
                "the secret `{}` has fewer than {SHORTEST} bytes and cannot be kept from a \
                 controller; give it a longer value, or remove `only_for` from the contract",
                bound.key
            )));
        }
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let known = given
            .iter()
            .find(|(_, one)| one.key == bound.key && one.value == bound.value);
        if let Some((handle, _)) = known {
            return Ok(handle.clone());
        }
        let handle = draw()?;
        given.insert(handle.clone(), bound);
        Ok(handle)
    }

    /// See [`HeaderSecrets::expand`].
    pub(super) fn expand(
        &self,
        value: &str,
        host: &Host,
        port: u16,
        tls: bool,
    ) -> Result<String, Failure> {
        let exchange = |text: &str| self.exchange(text, host, port, tls);
        // A handle that became part of Basic credentials is not visible as such, and that is how
        // many services want their keys.
        if let Some((scheme, credentials)) = basic_credentials(value)
            && let Some(expanded) = exchange(&credentials)?
        {
            return Ok(format!("{scheme} {}", STANDARD.encode(expanded)));
        }
        Ok(exchange(value)?.unwrap_or_else(|| value.to_owned()))
    }

    /// The text with its handles exchanged; `None` when it has none.
    fn exchange(
        &self,
        text: &str,
        host: &Host,
        port: u16,
        tls: bool,
    ) -> Result<Option<String>, Failure> {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let mut expanded = String::new();
        let mut copied = 0;
        let mut searched = 0;
        while let Some(offset) = text[searched..].find(PREFIX) {
            let start = searched + offset;
            let end = start + PREFIX.len() + DIGITS;
            let Some(bound) = text.get(start..end).and_then(|text| given.get(text)) else {
                searched = start + 1;
                continue;
            };
            bound.may_go_to(host, port, tls)?;
            let secret = bound.value.expose();
            if expanded.len() + (start - copied) + secret.len() > EXPANDED_LIMIT {
                return Err(misuse(format!(
                    "with its secrets this header value is longer than {EXPANDED_LIMIT} bytes"
                )));
            }
            expanded.push_str(&text[copied..start]);
            expanded.push_str(secret);
            copied = end;
            searched = end;
        }
        if copied == 0 {
            return Ok(None);
        }
        expanded.push_str(&text[copied..]);
        Ok(Some(expanded))
    }
}

impl Bound {
    fn may_go_to(&self, host: &Host, port: u16, tls: bool) -> Result<(), Failure> {
        let covered = self
            .only_for
            .iter()
            .any(|pattern| pattern.covers(host, port));
        let refuse = |message: String| {
            Failure::new(ErrorCode::TargetNotAllowed, message)
                .with_detail("capability", CapabilityKind::SecretsRead.as_str())
                .with_detail("layer", "contract")
                .with_detail("rule", "only_for")
                .with_detail("key", self.key.as_str())
                .with_detail("target", place(host, port))
                .with_detail("listed", json!(self.only_for))
        };
        if !covered {
            let line = self.line_with(host, port);
            return Err(refuse(format!(
                "the contract binds the secret `{}` to other hosts than `{}`; to send it there, \
                 write: {line}",
                self.key,
                place(host, port)
            ))
            .with_detail("line", line));
        }
        if !tls {
            // No line allows this.
            return Err(refuse(format!(
                "the secret `{}` is bound by `only_for` and is sent over https only; call \
                 https://{}",
                self.key,
                place(host, port)
            )));
        }
        // A value with a line break would begin a header of its own.
        if let Some(byte) = self
            .value
            .expose()
            .bytes()
            .find(|byte| byte.is_ascii_control() && *byte != b'\t')
        {
            return Err(misuse(format!(
                "the secret `{}` holds the control character 0x{byte:02x} and cannot be sent in a \
                 header",
                self.key
            )));
        }
        Ok(())
    }

    /// The contract's line, as it would have to be for this host.
    fn line_with(&self, host: &Host, port: u16) -> String {
        let keys = match &self.keys {
            Some(keys) => joined(keys.iter().map(SecretName::to_string)),
            None => self.key.to_string(),
        };
        let hosts = self.only_for.iter().map(quoted);
        let hosts = joined(hosts.chain([quoted(place(host, port))]));
        format!("- secrets:read: {{ keys: [{keys}], only_for: [{hosts}] }}")
    }
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// YAML reads a bare `*` as an alias and may read `host:port` as a mapping.
fn quoted(host: impl ToString) -> String {
    let text = host.to_string();
    if text.contains(['*', ':', '[']) {
        format!("\"{text}\"")
    } else {
        text
    }
}

/// A host and port as contracts write them.
fn place(host: &Host, port: u16) -> String {
    match port {
        443 => host.to_string(),
        port => format!("{host}:{port}"),
    }
}

fn draw() -> Result<String, Failure> {
    let mut random = [0; DIGITS / 2];
    getrandom::fill(&mut random).map_err(|error| {
        crate::problem::backend(
            "no random numbers are to be had here, so no handle can be made",
            true,
            error.to_string(),
        )
    })?;
    let mut handle = PREFIX.to_owned();
    for byte in random {
        // Writing into a string does not fail.
        let _ = write!(handle, "{byte:02x}");
    }
    Ok(handle)
}

/// The scheme as written and the decoded credentials of `Basic` (RFC 7617).
fn basic_credentials(value: &str) -> Option<(&str, String)> {
    let (scheme, credentials) = value.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(credentials.trim()).ok()?;
    String::from_utf8(decoded).ok().map(|text| (scheme, text))
}
