//! Who may have sent this request to a server that asks for no credentials.
//!
//! Binding to loopback keeps other machines out but not other web sites: a page open in the user's browser can send requests
//! to 127.0.0.1, and a DNS name under the attacker's control can be made to point there after the page was loaded, so that the
//! browser believes to speak to the page's own origin. Two headers that scripts cannot set betray both. `Host` carries the name
//! that the browser believes in, and `Origin` the page that asks. So: only loopback names as `Host`, and if there is an `Origin`
//! at all it must be that very host. An image or a form of another site sends GET without `Origin`; browsers say of those, in
//! `Sec-Fetch-Site`, that another site asks.

use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::{StatusCode, Uri};

use crate::cors::AllowedOrigins;
use crate::refusal::Refusal;

/// Names of this machine that no DNS answer can claim.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Who asks, as browsers say it (W3C Fetch Metadata). Programs that are no browsers do not send it.
const FETCH_SITE: &str = "sec-fetch-site";

/// Refuses a request whose `Host` is not a loopback name, or whose `Origin` is another host, or that a browser sends for another
/// site's page. Pages of origins that the operator has listed may ask all the same.
///
/// # Errors
/// The refusal, 403, with the header that was at fault in `details`.
pub(crate) fn check(
    uri: &Uri,
    headers: &HeaderMap,
    allowed: &AllowedOrigins,
) -> Result<(), Refusal> {
    let host = host_of(uri, headers)?;
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    if !LOOPBACK_NAMES
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
    {
        return Err(refused(
            "host",
            host,
            "this server has no authentication and answers only as localhost, 127.0.0.1 or [::1]",
        ));
    }
    if allowed.asking(headers).is_some() {
        return Ok(());
    }
    if let Some(origin) = headers.get(ORIGIN) {
        let origin = origin.to_str().unwrap_or("(not text)");
        let same = origin
            .split_once("://")
            .is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
        if !same {
            return Err(refused(
                "origin",
                origin,
                "this server has no authentication and refuses requests that a page of another origin sends",
            ));
        }
    }
    for site in headers.get_all(FETCH_SITE) {
        // `none` is an address that the user typed or a bookmark.
        if !matches!(site.as_bytes(), b"same-origin" | b"none") {
            return Err(refused(
                FETCH_SITE,
                site.to_str().unwrap_or("(not text)"),
                "this server has no authentication and refuses requests that a page of another origin sends",
            ));
        }
    }
    Ok(())
}

/// HTTP/2 and absolute request targets carry the host in the URI, and then that counts (RFC 9112, section 3.2.2).
fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, Refusal> {
    if let Some(authority) = uri.authority() {
        return Ok(authority.as_str());
    }
    let mut sent = headers.get_all(HOST).iter();
    match (sent.next(), sent.next()) {
        (Some(host), None) => host
            .to_str()
            .map_err(|_| refused("host", "(not text)", "the Host header is not text")),
        (None, _) => Err(refused("host", "", "the request has no Host header")),
        (Some(_), Some(_)) => Err(refused(
            "host",
            "(several)",
            "the request has more than one Host header",
        )),
    }
}

fn refused(constraint: &str, received: &str, message: &str) -> Refusal {
    let received: String = received.chars().take(200).collect();
    Refusal::http(StatusCode::FORBIDDEN, message)
        .with_detail("constraint", constraint)
        .with_detail("received", received)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn allowed(host: Option<&str>, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in [(HOST, host), (ORIGIN, origin)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_str(value).expect("a header"));
            }
        }
        check(
            &Uri::from_static("/api/health"),
            &headers,
            &AllowedOrigins::default(),
        )
        .is_ok()
    }

    /// What people and programs on this machine send.
    #[test]
    fn loopback_names_and_the_same_origin_pass() {
        for host in [
            "localhost",
            "LocalHost:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "[::1]",
        ] {
            assert!(allowed(Some(host), None), "{host}");
            assert!(
                allowed(Some(host), Some(&format!("http://{host}"))),
                "{host}"
            );
        }
    }

    /// What a browser sends for another site's page, and for a rebound name.
    #[test]
    fn other_hosts_and_origins_are_refused() {
        for host in [
            None,
            Some(""),
            Some("attacker.example"),
            Some("attacker.example:8080"),
            Some("127.0.0.1.attacker.example"),
            Some("localhost.attacker.example:8080"),
            Some("user@localhost"),
            Some("0.0.0.0:8080"),
        ] {
            assert!(!allowed(host, None), "{host:?}");
        }
        for origin in [
            "null",
            "https://attacker.example",
            "http://localhost:9999",
            "http://127.0.0.1:8080",
            "http://localhost:8080.attacker.example",
        ] {
            assert!(!allowed(Some("localhost:8080"), Some(origin)), "{origin}");
        }
    }

    /// An image of another site's page: a GET without `Origin`.
    #[test]
    fn what_a_browser_fetches_for_another_site_is_refused() {
        for (site, passes) in [
            ("same-origin", true),
            ("none", true),
            ("cross-site", false),
            ("same-site", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("localhost:8080"));
            headers.insert(FETCH_SITE, HeaderValue::from_str(site).expect("a header"));
            let answer = check(
                &Uri::from_static("/api/self-test"),
                &headers,
                &AllowedOrigins::default(),
            );
            assert_eq!(answer.is_ok(), passes, "{site}");
        }
    }

    /// In HTTP/2 the host is in the request target.
    #[test]
    fn the_authority_counts_before_the_header() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        let rebound = Uri::from_static("http://attacker.example/api/health");
        assert!(check(&rebound, &headers, &AllowedOrigins::default()).is_err());
        let own = Uri::from_static("http://localhost:8080/api/health");
        assert!(check(&own, &HeaderMap::new(), &AllowedOrigins::default()).is_ok());
    }
}
