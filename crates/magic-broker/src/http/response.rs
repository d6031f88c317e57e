//! What the controller is told of an answer.

use crate::http::exchange::too_large;
use crate::http::{EgressLimits, EgressTarget, HeaderSecrets};
use crate::problem;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::HeaderMap;
use magic_contract::Failure;
use serde::Serialize;
use std::borrow::Cow;

#[derive(Serialize)]
struct Told<'a> {
    status: u16,
    url: Cow<'a, str>,
    headers: Vec<(&'a str, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    redirects: usize,
}

/// The result of the call as JSON text. Secrets that the server echoes are masked wherever they
/// stand: a handle would be worth nothing if a header of the answer told what it stands for.
///
/// # Errors
/// E2004 if hiding secrets made the body larger than an answer may be.
pub(crate) fn told(
    target: &EgressTarget,
    status: StatusCode,
    headers: &HeaderMap,
    body: Vec<u8>,
    redirects: usize,
    secrets: &dyn HeaderSecrets,
    limits: &EgressLimits,
) -> Result<String, Failure> {
    let headers = headers
        .iter()
        .map(|(name, value)| {
            let masked = secrets.mask(value.as_bytes());
            (
                name.as_str(),
                header_text(masked.as_deref().unwrap_or(value.as_bytes())),
            )
        })
        .collect();
    let url = match secrets.mask(target.as_str().as_bytes()) {
        Some(masked) => String::from_utf8_lossy(&masked).into_owned().into(),
        None => target.as_str().into(),
    };
    let body = secrets.mask(&body).unwrap_or(body);
    if body.len() > limits.response_bytes {
        return Err(too_large(limits));
    }
    let (body, body_base64) = match String::from_utf8(body) {
        // Control characters take six bytes each in JSON, and a frame has room for base64 only.
        Ok(text) if json_length(&text) <= base64_length(text.len()).max(1024) => (Some(text), None),
        Ok(text) => (None, Some(STANDARD.encode(text))),
        Err(error) => (None, Some(STANDARD.encode(error.into_bytes()))),
    };
    let told = Told {
        status: status.as_u16(),
        url,
        headers,
        body,
        body_base64,
        redirects,
    };
    serde_json::to_string(&told).map_err(|error| {
        problem::backend("the answer cannot be passed on", false, error.to_string())
    })
}

/// A header's value as text: UTF-8 if it is that, else one character per byte (RFC 9110, section
/// 5.5, calls such bytes opaque; they were Latin-1 once).
fn header_text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().copied().map(char::from).collect(),
    }
}

/// Bytes of the text inside a JSON string, as serde_json writes it.
fn json_length(text: &str) -> usize {
    let bytes = text.bytes().map(|byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    });
    bytes.sum()
}

fn base64_length(bytes: usize) -> usize {
    bytes.div_ceil(3).saturating_mul(4)
}

#[cfg(test)]
mod tests;
