//! Sizes, types and the shared budget, on bodies made by hand. Slow and lying bodies are tried on the real server.

use futures_util::stream;
use hyper::header::HeaderValue;

use super::*;

fn limits(bytes: usize, memory: usize) -> BodyLimits {
    BodyLimits::of(&ApiOptions {
        body_limit: bytes,
        body_memory: memory,
        ..ApiOptions::default()
    })
}

/// A body in pieces, without a declared length.
fn chunked(pieces: &[&'static str]) -> Body {
    let pieces: Vec<_> = pieces
        .iter()
        .map(|piece| Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes())))
        .collect();
    Body::from_stream(stream::iter(pieces))
}

/// A body of exactly the limit is taken, whole and in pieces; one byte more is not.
#[tokio::test]
async fn the_limit_is_exact() {
    let limits = limits(4, 1024 * 1024);
    let none = HeaderMap::new();
    for pieces in [&["abcd"][..], &["a", "bc", "d"], &["", "abcd"]] {
        let read = limits.read(&none, chunked(pieces)).await.expect("it fits");
        assert_eq!(read.bytes, "abcd");
    }
    assert!(limits.read(&none, chunked(&["abcde"])).await.is_err());
    assert!(limits.read(&none, chunked(&["abc", "de"])).await.is_err());
}

/// A declared length above the limit is refused although the body itself would fit.
#[tokio::test]
async fn a_declared_length_is_believed() {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
    assert!(
        limits(4, 1024)
            .read(&headers, chunked(&["ab"]))
            .await
            .is_err()
    );
}

/// Bodies in memory share one budget, and give it back when they go.
#[tokio::test]
async fn the_budget_is_shared_and_returned() {
    let limits = limits(4096, 2048);
    let none = HeaderMap::new();
    let first = limits.read(&none, chunked(&["a"])).await.expect("it fits");
    let second = limits.read(&none, chunked(&["b"])).await.expect("it fits");
    assert!(limits.read(&none, chunked(&["c"])).await.is_err());
    drop(first);
    limits
        .read(&none, chunked(&["c"]))
        .await
        .expect("it fits again");
    drop(second);
}

/// Which types count as JSON.
#[test]
fn json_types() {
    for (content_type, json) in [
        ("application/json", true),
        ("Application/JSON; charset=UTF-8", true),
        ("application/json; charset=\"utf-8\"", true),
        ("application/problem+json", true),
        ("application/json; charset=utf-16", false),
        ("text/plain", false),
        ("text/json", false),
        ("application/x-www-form-urlencoded", false),
        ("", false),
    ] {
        assert_eq!(is_json(content_type), json, "{content_type}");
    }
}
