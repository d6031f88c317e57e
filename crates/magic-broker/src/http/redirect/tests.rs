//! What each redirect keeps.

use super::*;
use hyper::header::HeaderName;

fn hop(method: HttpMethod, url: &str, headers: &[&str]) -> Hop {
    Hop {
        method,
        target: EgressTarget::parse(url).unwrap(),
        headers: headers
            .iter()
            .map(|name| AskedHeader {
                name: HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value: "x".to_owned(),
            })
            .collect(),
        body: Bytes::from_static(b"body"),
    }
}

fn names(hop: &Hop) -> Vec<&str> {
    hop.headers
        .iter()
        .map(|header| header.name.as_str())
        .collect()
}

/// Methods and bodies by status.
#[test]
fn methods_follow_the_status() {
    use HttpMethod::{Delete, Get, Head, Post, Put};
    for (status, before, after, keeps_body) in [
        (301, Post, Get, false),
        (302, Post, Get, false),
        (303, Post, Get, false),
        (303, Put, Get, false),
        (302, Delete, Get, false),
        (307, Post, Post, true),
        (308, Put, Put, true),
        (301, Head, Head, true),
        (303, Head, Head, true),
        (302, Get, Get, true),
    ] {
        let next = hop(before, "https://a.example/", &["content-type", "accept"])
            .next(StatusCode::from_u16(status).unwrap(), "/x", &[false, false])
            .unwrap();
        assert_eq!(next.method, after, "{status}");
        assert_eq!(!next.body.is_empty(), keeps_body, "{status}");
        assert_eq!(
            names(&next).contains(&"content-type"),
            keeps_body,
            "{status}"
        );
        assert!(names(&next).contains(&"accept"));
    }
    for status in [200, 201, 300, 304, 305, 306, 400] {
        assert!(
            !leads_elsewhere(StatusCode::from_u16(status).unwrap()),
            "{status}"
        );
    }
}

/// Credentials leave with the origin: host, port and scheme each make another one.
#[test]
fn credentials_stay_with_their_origin() {
    let headers = [
        "authorization",
        "cookie",
        "x-api-key",
        "apikey",
        "x-auth-token",
        "ocp-apim-subscription-key",
        "x-plain",
        "x-carries-a-handle",
    ];
    let secrets = [false, false, false, false, false, false, false, true];
    for location in [
        "https://b.example/",
        "https://a.example:8443/",
        "http://a.example/",
        "https://sub.a.example/",
    ] {
        let next = hop(HttpMethod::Get, "https://a.example/", &headers)
            .next(StatusCode::FOUND, location, &secrets)
            .unwrap();
        assert_eq!(names(&next), ["x-plain"], "{location}");
    }
    for location in ["/x", "https://a.example/x", "https://a.example:443/x"] {
        let next = hop(HttpMethod::Get, "https://a.example/", &headers)
            .next(StatusCode::FOUND, location, &secrets)
            .unwrap();
        assert_eq!(names(&next), headers, "{location}");
    }
}
