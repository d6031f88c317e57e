//! Web pages of other origins: which may ask from a browser (`ALLOWED_ORIGINS`).
//!
//! Origins are compared as a whole and letter by letter; there are no patterns, and `*` is refused at the start. No origin is ever
//! allowed to send cookies or a browser's stored credentials: callers here are known by headers that a script sets itself. A
//! question of a browser in advance (a preflight) carries no credentials and is answered before any are asked for; it opens nothing.

use axum::response::{IntoResponse, Response};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderMap, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, StatusCode, Uri};
use std::sync::Arc;

/// What a script may use, and may read of an answer. Minutes are remembered by the browser, not hours: origins get removed.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, last-event-id, x-api-key, x-request-id",
);
const EXPOSED: HeaderValue =
    HeaderValue::from_static("idempotency-replayed, retry-after, x-request-id");
const REMEMBERED: HeaderValue = HeaderValue::from_static("600");

/// The origins whose pages may ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedOrigins(Arc<[HeaderValue]>);

/// One of the origins cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an origin: write each as https://app.example.com, with its port if it has one, without a path; * is not allowed"
)]
pub struct NotAnOrigin(String);

impl AllowedOrigins {
    /// Reads origins that are separated by commas.
    ///
    /// # Errors
    /// [`NotAnOrigin`], for `*` and `null` as well.
    pub fn parse(text: &str) -> Result<Self, NotAnOrigin> {
        let origins = text
            .split(',')
            .map(str::trim)
            .filter(|origin| !origin.is_empty())
            .map(|origin| {
                canonical(origin).ok_or_else(|| NotAnOrigin(origin.chars().take(200).collect()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self(origins.into()))
    }

    /// Whether the page that asks may.
    pub(crate) fn allow(&self, origin: &HeaderValue) -> bool {
        self.0.contains(origin)
    }

    /// The answer to a browser that asks in advance; `None` if this is no such question, or nobody may ask from other pages.
    pub(crate) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        if self.0.is_empty()
            || method != Method::OPTIONS
            || !headers.contains_key(ORIGIN)
            || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        {
            return None;
        }
        let mut response = StatusCode::NO_CONTENT.into_response();
        if self.asking(headers).is_some() {
            let answer = response.headers_mut();
            answer.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
            answer.insert(ACCESS_CONTROL_MAX_AGE, REMEMBERED);
        }
        Some(response)
    }

    /// The one origin that asks, if it may.
    pub(crate) fn asking<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let mut sent = headers.get_all(ORIGIN).iter();
        match (sent.next(), sent.next()) {
            (Some(origin), None) if self.allow(origin) => Some(origin),
            _ => None,
        }
    }

    /// Tells the browser, and caches, whom the answer is for.
    pub(crate) fn mark(&self, asking: Option<HeaderValue>, answer: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        answer.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = asking {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

/// The origin as browsers send it: a scheme, a host in small letters, a port if it is not the usual one.
fn canonical(origin: &str) -> Option<HeaderValue> {
    let (scheme, authority) = origin.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let usual = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let authority = authority.to_ascii_lowercase();
    let authority = authority.strip_suffix(usual).unwrap_or(&authority);
    let plain = authority
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte));
    let uri: Uri = format!("{scheme}://{authority}").parse().ok()?;
    let whole = uri.authority().is_some_and(|parsed| {
        parsed.as_str() == authority && !parsed.host().is_empty() && uri.query().is_none()
    });
    (plain && whole && uri.path() == "/")
        .then(|| HeaderValue::from_str(&format!("{scheme}://{authority}")).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is listed is allowed as browsers send it.
    #[test]
    fn exact_origins() {
        let origins = AllowedOrigins::parse(
            "https://App.example.com, http://localhost:3000,https://a.example:443",
        )
        .expect("origins");
        for (origin, allowed) in [
            ("https://app.example.com", true),
            ("http://localhost:3000", true),
            ("https://a.example", true),
            ("http://app.example.com", false),
            ("https://app.example.com:8443", false),
            ("https://app.example.com.attacker.example", false),
            ("https://sub.app.example.com", false),
            ("http://localhost", false),
            ("null", false),
            ("*", false),
        ] {
            let value = HeaderValue::from_static(origin);
            assert_eq!(origins.allow(&value), allowed, "{origin}");
        }
    }

    /// What is not exactly one origin is refused before the server starts.
    #[test]
    fn not_origins() {
        for text in [
            "*",
            "null",
            "https://*.example.com",
            "example.com",
            "https://example.com/",
            "https://example.com/app",
            "https://example.com?x",
            "https://example.com#x",
            "https://user@example.com",
            "ftp://example.com",
            "https://",
            "https://example.com https://other.example",
        ] {
            assert!(AllowedOrigins::parse(text).is_err(), "{text}");
        }
        assert_eq!(AllowedOrigins::parse(" , "), Ok(AllowedOrigins::default()));
    }
}
