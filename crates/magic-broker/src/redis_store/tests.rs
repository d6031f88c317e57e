//! The connection: what it says of itself, and how it comes back.

use super::test_server::Redis;
use super::*;

/// URLs that cannot be used say so without repeating themselves; each has a twin.
#[tokio::test]
async fn urls_are_judged_without_being_shown() {
    let table = [
        ("hunter2", Some(RedisUrlError::Form)),
        ("http://u:hunter2@host", Some(RedisUrlError::Form)),
        ("rediss://u:hunter2@host", Some(RedisUrlError::Tls)),
        ("valkeys://u:hunter2@host", Some(RedisUrlError::Tls)),
        ("redis://u:hunter2@host/0", None),
        ("valkey://u:hunter2@host:1/0", None),
        ("unix:///run/hunter.sock", None),
    ];
    for (url, expected) in table {
        let result = RedisStore::connect(url);
        let shown = format!("{result:?}");
        assert_eq!(result.err(), expected, "{url}");
        assert!(!shown.contains("hunter2"), "{shown}");
        if let Some(error) = expected {
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}

/// A server that is not there is a retriable failure, soon, and no password is in it.
#[tokio::test]
async fn an_absent_server_is_retriable() {
    // A port that was free a moment ago: nobody listens on it.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let store = RedisStore::connect(&format!("redis://u:hunter2@127.0.0.1:{port}/0")).unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(error.is_retriable(), "{error}");
    let failure = magic_contract::Failure::from(error.clone());
    for text in [
        error.to_string(),
        format!("{error:?}"),
        format!("{failure:?}"),
    ] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert_eq!(failure.details["retriable"], true);
    assert!(!failure.message.contains("127.0.0.1"), "{failure}");
}

/// A wrong password is nothing that passes by itself.
#[tokio::test]
async fn a_wrong_password_is_not_retriable() {
    let server = Redis::start();
    let store = RedisStore::connect(&server.socket_url()).unwrap();
    store.ping().await.unwrap();
    let wrong = RedisStore::connect(&format!("{}?pass=hunter2", server.socket_url())).unwrap();
    let error = wrong.ping().await.unwrap_err();
    assert!(!error.is_retriable(), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error}");
}

/// After an outage the next calls work, with nothing started anew but the server.
#[tokio::test]
async fn an_outage_ends_by_itself() {
    let mut server = Redis::start();
    let store = RedisStore::connect(&server.socket_url()).unwrap();
    store.ping().await.unwrap();
    server.kill();
    assert!(store.ping().await.unwrap_err().is_retriable());
    assert!(store.ping().await.unwrap_err().is_retriable());
    server.start_again();
    // The first call may still find the try that failed.
    let mut tries = 0;
    while let Err(error) = store.ping().await {
        assert!(error.is_retriable() && tries < 3, "{error}");
        tries += 1;
    }
}

/// A server that takes everything and answers nothing costs a bounded time, and is used again as
/// soon as it answers.
#[tokio::test]
async fn a_silent_server_costs_a_bounded_time() {
    let server = Redis::start();
    let store = RedisStore::connect(&server.socket_url()).unwrap();
    store.ping().await.unwrap();
    server.pause();
    let error = tokio::time::timeout(CALL + ANSWER, store.ping())
        .await
        .expect("a call must end")
        .unwrap_err();
    assert!(error.is_retriable(), "{error}");
    server.resume();
    store.ping().await.unwrap();
}
