//! The identity of one request, from the client if it is well-formed, else made here.
//!
//! A client's own id is worth keeping, since it ties our records to theirs; but it ends up in logs, headers and records, so
//! only a short run of harmless characters is taken, and anything else is replaced rather than escaped or cut.

use std::fmt;
use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use ulid::Ulid;

/// The header that carries the id both ways.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The most characters that a client's id may have.
const LONGEST: usize = 128;

/// A well-formed request id. Cloning does not copy it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(Arc<str>);

impl RequestId {
    /// The id that the client sent, if it sent exactly one and it is well-formed; else a fresh one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut sent = headers.get_all(HEADER).iter();
        match (sent.next(), sent.next()) {
            (Some(only), None) => only
                .to_str()
                .ok()
                .filter(|text| is_well_formed(text))
                .map_or_else(Self::fresh, |text| Self(text.into())),
            _ => Self::fresh(),
        }
    }

    fn fresh() -> Self {
        let mut buffer = [0_u8; ulid::ULID_LEN];
        let digits = Ulid::generate().array_to_str(&mut buffer).to_owned();
        Self(format!("req_{digits}").into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn to_header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("a well-formed id is visible ASCII")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn is_well_formed(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(sent: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append(HEADER, HeaderValue::from_bytes(value).expect("a header"));
        }
        RequestId::of(&headers).to_string()
    }

    /// A harmless id comes back as it was sent.
    #[test]
    fn well_formed_ids_are_taken() {
        let longest = "x".repeat(128);
        for id in ["a", "req_01HZ", "9f-A.b_c", longest.as_str()] {
            assert_eq!(taken(&[id.as_bytes()]), id);
        }
    }

    /// Anything else, and two at once, is replaced by one of ours.
    #[test]
    fn other_ids_are_replaced() {
        let too_long = "x".repeat(129);
        let cases: [&[&[u8]]; 6] = [
            &[],
            &[b""],
            &[b"two words"],
            &[b"caf\xe9"],
            &[too_long.as_bytes()],
            &[b"one", b"two"],
        ];
        for sent in cases {
            let id = taken(sent);
            assert!(id.starts_with("req_") && id.len() == 30, "{id}");
        }
    }
}
