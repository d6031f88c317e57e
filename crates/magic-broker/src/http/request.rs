//! What a controller asks to send, read strictly.
//!
//! Everything that frames a message or belongs to the connection is written by the supervisor. A
//! controller that could send its own `Content-Length` or a line break in a value could make two
//! servers on the way see two requests where the broker saw one.

use crate::capability::Method;
use crate::http::EgressLimits;
use crate::problem;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use magic_contract::{Failure, HttpMethod};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Header lines of one request.
const MOST_HEADERS: usize = 100;

/// A request as the controller wants it; its target is still text.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: HttpMethod,
    pub(crate) url: String,
    pub(crate) headers: Vec<AskedHeader>,
    pub(crate) body: Bytes,
    pub(crate) timeout: Option<Duration>,
    pub(crate) follow: bool,
}

/// One header line. Its value may carry handles of secrets and is text until they are expanded.
#[derive(Debug, Clone)]
pub(crate) struct AskedHeader {
    pub(crate) name: HeaderName,
    pub(crate) value: String,
}

/// One header line as it is sent to one target.
#[derive(Debug)]
pub(crate) struct HeaderLine {
    pub(crate) name: HeaderName,
    pub(crate) value: HeaderValue,
    /// Whether a handle in it was replaced by its secret.
    pub(crate) carries_secret: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters<'a> {
    method: String,
    url: String,
    #[serde(default, deserialize_with = "header_list")]
    headers: Vec<(String, String)>,
    #[serde(default, borrow)]
    body: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    body_base64: Option<Cow<'a, str>>,
    #[serde(default)]
    timeout_ms: Option<u64>,
    #[serde(default)]
    redirects: Option<bool>,
}

impl Asked {
    /// Reads the parameters of `http.request`.
    ///
    /// # Errors
    /// A misuse that names what does not fit; E2004 for a body that is too large.
    pub(crate) fn parse(params: &str, limits: &EgressLimits) -> Result<Self, Failure> {
        let parameters: Parameters<'_> = problem::parameters(Method::HttpRequest, params)?;
        let method = HttpMethod::ALL
            .iter()
            .copied()
            .find(|one| one.as_str() == parameters.method)
            .ok_or_else(|| {
                let names: Vec<&str> = HttpMethod::ALL.iter().map(|one| one.as_str()).collect();
                problem::misuse(format!("the method must be one of {}", names.join(", ")))
            })?;
        let body = body(&parameters, limits)?;
        let timeout = match parameters.timeout_ms {
            Some(0) => return Err(problem::misuse("`timeout_ms` must be at least 1")),
            other => other.map(Duration::from_millis),
        };
        Ok(Self {
            method,
            headers: headers(parameters.headers, limits)?,
            url: parameters.url,
            body,
            timeout,
            follow: parameters.redirects.unwrap_or(true),
        })
    }
}

fn body(parameters: &Parameters<'_>, limits: &EgressLimits) -> Result<Bytes, Failure> {
    let body = match (&parameters.body, &parameters.body_base64) {
        (Some(_), Some(_)) => {
            return Err(problem::misuse(
                "a request has either `body` or `body_base64`",
            ));
        }
        (Some(text), None) => Bytes::copy_from_slice(text.as_bytes()),
        (None, Some(text)) => STANDARD
            .decode(text.as_bytes())
            .map_err(|_| problem::misuse("`body_base64` is not base64"))?
            .into(),
        (None, None) => Bytes::new(),
    };
    if body.len() > limits.request_bytes {
        return Err(problem::exhausted(
            "bytes",
            format!(
                "the body has {} bytes, and a request sends at most {}",
                body.len(),
                limits.request_bytes
            ),
        ));
    }
    Ok(body)
}

fn headers(
    listed: Vec<(String, String)>,
    limits: &EgressLimits,
) -> Result<Vec<AskedHeader>, Failure> {
    let bytes: usize = listed
        .iter()
        .map(|(name, value)| name.len() + value.len() + 4)
        .sum();
    if bytes > limits.request_header_bytes {
        return Err(problem::exhausted(
            "bytes",
            format!(
                "the headers have {bytes} bytes, and a request sends at most {}",
                limits.request_header_bytes
            ),
        ));
    }
    listed.into_iter().map(header).collect()
}

fn header((name, value): (String, String)) -> Result<AskedHeader, Failure> {
    let shown = name.chars().take(64).collect::<String>();
    let shown = shown.escape_debug();
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err(problem::misuse(format!("`{shown}` is not a header's name")));
    };
    if is_reserved(parsed.as_str()) {
        return Err(problem::misuse(format!(
            "the header `{shown}` is written by the runtime; leave it out"
        )));
    }
    if header_value(&value).is_none() {
        return Err(problem::misuse(format!(
            "the value of the header `{shown}` has a line break or another control character"
        )));
    }
    Ok(AskedHeader {
        name: parsed,
        value,
    })
}

/// A value as the request carries it; `None` if it has control characters other than tabs.
pub(crate) fn header_value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

/// Whether only the supervisor writes this header: what frames the message, names the host, belongs
/// to the connection (RFC 9110, section 7.6.1) or to a proxy, and the encodings that it can undo.
fn is_reserved(name: &str) -> bool {
    name.starts_with("proxy-")
        || matches!(
            name,
            "accept-encoding"
                | "connection"
                | "content-length"
                | "expect"
                | "host"
                | "http2-settings"
                | "keep-alive"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
        )
}

/// A list of pairs that stops growing at the limit, whatever the frame holds.
fn header_list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
    struct Pairs;

    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(String, String)>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(formatter, "at most {MOST_HEADERS} pairs of name and value")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = items.next_element()? {
                if pairs.len() == MOST_HEADERS {
                    return Err(A::Error::invalid_length(MOST_HEADERS + 1, &self));
                }
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }

    from.deserialize_any(Pairs)
}

#[cfg(test)]
mod tests;
