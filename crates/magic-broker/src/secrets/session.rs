//! The secrets of one request: `secrets.get`, the handles it gave out, and what must be redacted.
//!
//! The order within a call is what keeps it quiet. Contract and policy judge the name before any
//! source is asked, so a name that is not declared is answered in the same words and the same time
//! whether or not a value exists. What is found is made known to the redactor before the answer is
//! on its way, so whatever the worker prints afterwards is looked through for it.

use super::handle::{Bound, Handles};
use super::redact::Redactor;
use super::value::SecretValue;
use super::{Secrets, SecretsError, is_reserved};
use crate::call::Call;
use crate::capability::Method;
use crate::http::HeaderSecrets;
use crate::problem::{backend, exhausted, misuse, outside, parameters};
use magic_contract::{Capability, Failure, Host, SecretName, Target};
use serde::Deserialize;
use std::borrow::Cow;

/// The bytes of distinct values that one request may read. Every one of them is kept and searched
/// for in everything that the request says, so they cannot be without bound.
const VALUE_BYTES: usize = 4 * SecretValue::LIMIT;

/// The secrets of one request.
#[derive(Debug)]
pub struct SecretsSession {
    secrets: Secrets,
    /// Every value that this request was given or that was sent for it.
    redactor: Redactor,
    /// The values that the controller must not see, for what servers send back.
    bound: Redactor,
    handles: Handles,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
}

impl SecretsSession {
    /// A session that reads from `secrets` and tells `redactor` what it hands out.
    #[must_use]
    pub fn new(secrets: Secrets, redactor: Redactor) -> Self {
        Self {
            secrets,
            redactor,
            bound: Redactor::new(),
            handles: Handles::default(),
        }
    }

    /// Answers `secrets.get`: the value as a JSON string, or a handle for it.
    ///
    /// # Errors
    /// E2003 or E2002 for a name that is not allowed; E3003 when there is no usable value.
    pub(crate) async fn perform(
        &self,
        call: &mut Call<'_>,
        params: &str,
    ) -> Result<String, Failure> {
        let Parameters { key } = parameters(Method::SecretsGet, params)?;
        let key = key.as_ref();
        call.fact("key_name", shown(key));
        let name: SecretName = key
            .parse()
            .map_err(|problem| outside(format!("`{}`: a {problem}", shown(key))))?;
        call.check(&Target::Secret(name.as_str()))?;
        let Capability::SecretsRead { keys, only_for } = call.capability() else {
            return Err(outside("secrets are read with `secrets:read` only"));
        };
        let value = match self.secrets.find(&name).await {
            Ok(Some(value)) => value,
            Ok(None) => return Err(without_value(&name)),
            Err(error) => return Err(unreadable(&name, &error)),
        };
        if !self.redactor.learn_within(&name, &value, VALUE_BYTES) {
            return Err(exhausted(
                "bytes",
                format!(
                    "this request has read {VALUE_BYTES} bytes of secrets; read fewer in one request"
                ),
            ));
        }
        let answer = match only_for {
            None => serde_json::to_string(value.expose()),
            Some(hosts) => {
                self.bound.learn(&name, &value);
                let handle = self.handles.give(Bound {
                    key: name,
                    value,
                    keys: keys.clone(),
                    only_for: hosts.clone(),
                })?;
                serde_json::to_string(&handle)
            }
        };
        answer.map_err(|error| {
            backend(
                "the secret cannot be written as JSON",
                false,
                error.to_string(),
            )
        })
    }
}

impl HeaderSecrets for SecretsSession {
    fn expand(&self, value: &str, host: &Host, port: u16, tls: bool) -> Result<String, Failure> {
        self.handles.expand(value, host, port, tls)
    }

    fn mask(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.bound.bytes(bytes)
    }
}

fn without_value(name: &SecretName) -> Failure {
    if is_reserved(name) {
        return misuse(format!(
            "names that begin with MAGIC_ are the runtime's own; give the secret `{name}` another"
        ));
    }
    misuse(format!(
        "the secret `{name}` has no value here; set it with: magic secrets set {name}"
    ))
}

fn unreadable(name: &SecretName, error: &SecretsError) -> Failure {
    let mut internal = format!("secret {name}: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        internal.push_str(": ");
        internal.push_str(&error.to_string());
        cause = error.source();
    }
    backend(
        format!("the value of the secret `{name}` cannot be read; the runtime's log says why"),
        error.is_passing(),
        internal,
    )
}

/// A name as sent, for people and records: printable, and not longer than names are.
fn shown(key: &str) -> String {
    let mut shown: String = key.chars().take(128).flat_map(char::escape_debug).collect();
    if key.chars().nth(128).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
