//! What a redirect makes of a request: a pure function from one hop to the next.
//!
//! Where the next hop may go is judged like the first one; here only its shape is decided, after
//! RFC 9110, section 15.4, and what browsers made of it. Credentials stay with the origin that they
//! were meant for: once a redirect leaves it they are gone, even if a later one leads back.

use crate::http::request::AskedHeader;
use crate::http::{EgressTarget, TargetProblem};
use bytes::Bytes;
use hyper::StatusCode;
use magic_contract::HttpMethod;

/// One request as it goes to one target.
#[derive(Debug)]
pub(crate) struct Hop {
    pub(crate) method: HttpMethod,
    pub(crate) target: EgressTarget,
    pub(crate) headers: Vec<AskedHeader>,
    pub(crate) body: Bytes,
}

/// Whether an answer with this status leads elsewhere, if it says where.
pub(crate) fn leads_elsewhere(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

impl Hop {
    /// The hop that follows this one. `carried_secret` tells which headers had a secret put in.
    ///
    /// # Errors
    /// The location is no target.
    pub(crate) fn next(
        mut self,
        status: StatusCode,
        location: &str,
        carried_secret: &[bool],
    ) -> Result<Self, TargetProblem> {
        let target = self.target.resolve(location)?;
        let mut keep: Vec<bool> = vec![true; self.headers.len()];
        if !target.has_origin_of(&self.target) {
            for (place, header) in self.headers.iter().enumerate() {
                let secret = carried_secret.get(place).copied().unwrap_or(true);
                keep[place] = !secret && !may_be_credential(header.name.as_str());
            }
        }
        let keeps_method = matches!(status.as_u16(), 307 | 308)
            || matches!(self.method, HttpMethod::Get | HttpMethod::Head);
        if !keeps_method {
            self.method = HttpMethod::Get;
            self.body = Bytes::new();
            for (place, header) in self.headers.iter().enumerate() {
                keep[place] &= !header.name.as_str().starts_with("content-");
            }
        }
        let mut keep = keep.into_iter();
        self.headers.retain(|_| keep.next().unwrap_or(false));
        self.target = target;
        Ok(self)
    }
}

/// Whether a header by its name may carry what proves who sends it. Too many names here cost a
/// header after a redirect to another host; too few cost a key.
fn may_be_credential(name: &str) -> bool {
    const PARTS: &[&str] = &[
        "auth",
        "cookie",
        "api-key",
        "apikey",
        "api_key",
        "access-key",
        "token",
        "secret",
        "credential",
        "password",
        "passwd",
        "session",
        "signature",
        "csrf",
        "xsrf",
    ];
    name.ends_with("-key") || PARTS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests;
