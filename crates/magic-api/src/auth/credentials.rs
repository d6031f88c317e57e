//! What a request's head offers as credentials.
//!
//! Exactly one thing, sent once. A request with two keys, or a key and a token, is refused instead of the better one being
//! chosen: whatever stands between the client and us may have looked at the other one.

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::failure::AuthFailure;

/// The header of an API key.
pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The longest credentials that are looked at, in bytes.
pub(crate) const LONGEST: usize = 8 * 1024;

/// How a key of ours begins.
const KEY_PREFIX: &str = "mgk_";

/// Credentials, not yet judged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presented<'a> {
    /// Meant as an API key.
    Key(&'a str),
    /// A bearer token: a JWT, or the administrator's key.
    Bearer(&'a str),
}

impl<'a> Presented<'a> {
    /// Reads them; `None` if there are none.
    ///
    /// # Errors
    /// [`AuthFailure::Unreadable`].
    pub(crate) fn of(headers: &'a HeaderMap) -> Result<Option<Self>, AuthFailure> {
        let key = only(headers, &API_KEY)?;
        let authorization = only(headers, &AUTHORIZATION)?;
        match (key, authorization) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(AuthFailure::Unreadable(
                "send either X-API-Key or Authorization, not both",
            )),
            (Some(key), None) => text(key).map(Self::Key).map(Some),
            (None, Some(value)) => bearer(text(value)?).map(Some),
        }
    }
}

fn only<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, AuthFailure> {
    let mut sent = headers.get_all(name).iter();
    match (sent.next(), sent.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(AuthFailure::Unreadable("send credentials once")),
    }
}

fn text(value: &HeaderValue) -> Result<&str, AuthFailure> {
    match value.to_str() {
        Ok(text) if text.len() > LONGEST => {
            Err(AuthFailure::Unreadable("the credentials are too long"))
        }
        Ok("") => Err(AuthFailure::Unreadable("the credentials are empty")),
        Ok(text) => Ok(text),
        Err(_) => Err(AuthFailure::Unreadable("the credentials are not text")),
    }
}

/// `Bearer`, in any case (RFC 9110, section 11.1), one space, and a word.
fn bearer(value: &str) -> Result<Presented<'_>, AuthFailure> {
    let unreadable = AuthFailure::Unreadable("write the header as Authorization: Bearer TOKEN");
    let Some((scheme, word)) = value.split_once(' ') else {
        return Err(unreadable);
    };
    let word = word.trim_start_matches(' ');
    if !scheme.eq_ignore_ascii_case("bearer") || word.is_empty() || word.contains([' ', ',']) {
        return Err(unreadable);
    }
    Ok(if word.starts_with(KEY_PREFIX) {
        Presented::Key(word)
    } else {
        Presented::Bearer(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sent: &[(&str, &str)]) -> Result<Option<(bool, String)>, AuthFailure> {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
            );
        }
        Presented::of(&headers).map(|presented| {
            presented.map(|presented| match presented {
                Presented::Key(text) => (true, text.to_owned()),
                Presented::Bearer(text) => (false, text.to_owned()),
            })
        })
    }

    /// What clients send.
    #[test]
    fn one_thing_sent_once_is_read() {
        assert_eq!(read(&[("accept", "*/*")]), Ok(None));
        for (name, value, key, word) in [
            ("x-api-key", "mgk_1", true, "mgk_1"),
            ("X-API-Key", "hand-written", true, "hand-written"),
            ("authorization", "Bearer a.b.c", false, "a.b.c"),
            ("authorization", "bearer  a.b.c", false, "a.b.c"),
            ("authorization", "BEARER mgk_1", true, "mgk_1"),
        ] {
            let found = read(&[(name, value)]);
            assert_eq!(found, Ok(Some((key, word.to_owned()))), "{name}: {value}");
        }
    }

    /// Everything else is refused rather than read generously.
    #[test]
    fn anything_else_is_refused() {
        let long = "x".repeat(LONGEST + 1);
        for sent in [
            &[("x-api-key", "a"), ("x-api-key", "a")][..],
            &[("x-api-key", "a"), ("authorization", "Bearer a")],
            &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
            &[("x-api-key", "")],
            &[("x-api-key", "caf\u{e9}")],
            &[("x-api-key", long.as_str())],
            &[("authorization", "")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Basic YTpi")],
            &[("authorization", "Bearer a b")],
            &[("authorization", "Bearer a,Bearer b")],
            &[("authorization", "mgk_1")],
        ] {
            assert!(
                matches!(read(sent), Err(AuthFailure::Unreadable(_))),
                "{sent:?}"
            );
        }
    }
}
