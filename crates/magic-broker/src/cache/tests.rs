//! What both caches keep, and what each does when it is full or lost.

use super::*;
use crate::queue::tests::soon;
use crate::redis_store::test_server::Redis;

fn key(name: &str) -> CacheKey {
    CacheKey::shared(name).unwrap()
}

/// Both caches, each with what keeps it alive.
pub(super) fn both(options: CacheOptions) -> Vec<(Option<Redis>, Cache)> {
    let server = Redis::start();
    let remote = Cache::connect(&server.socket_url(), options.clone()).unwrap();
    vec![(None, Cache::embedded(options)), (Some(server), remote)]
}

/// What was set is read, written over and forgotten; keys and spaces are apart.
#[tokio::test]
async fn entries_are_kept() {
    for (_server, cache) in both(CacheOptions::default()) {
        let controller = "A".parse().unwrap();
        let private = CacheKey::private(&controller, "a").unwrap();
        assert_eq!(cache.get(&key("a")).await, Ok(None));
        cache.delete(&key("a")).await.unwrap();
        let value = r#"{"rate":"1.10","text":"ü\n"}"#;
        cache.set(&key("a"), value, None).await.unwrap();
        assert_eq!(cache.get(&key("a")).await, Ok(Some(value.to_owned())));
        assert_eq!(cache.get(&private).await, Ok(None));
        cache.set(&private, "null", None).await.unwrap();
        cache.set(&key("a"), "2", None).await.unwrap();
        assert_eq!(cache.get(&key("a")).await, Ok(Some("2".to_owned())));
        assert_eq!(cache.get(&private).await, Ok(Some("null".to_owned())));
        cache.delete(&key("a")).await.unwrap();
        assert_eq!(cache.get(&key("a")).await, Ok(None));
        assert_eq!(cache.get(&private).await, Ok(Some("null".to_owned())));
    }
}

/// Entries end, by their own time or the longest there is; writing again begins anew.
#[tokio::test]
async fn entries_end() {
    let options = CacheOptions {
        longest: Duration::from_millis(500),
        ..CacheOptions::default()
    };
    for (_server, cache) in both(options) {
        for ttl in [None, Some(Duration::from_secs(3600))] {
            cache.set(&key("a"), "1", ttl).await.unwrap();
            assert_eq!(cache.get(&key("a")).await, Ok(Some("1".to_owned())));
            soon(async {
                while cache.get(&key("a")).await.unwrap().is_some() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
    }
    for (_server, cache) in both(CacheOptions::default()) {
        let short = Some(Duration::from_millis(50));
        cache.set(&key("a"), "1", short).await.unwrap();
        cache.set(&key("b"), "1", short).await.unwrap();
        cache.set(&key("a"), "2", None).await.unwrap();
        soon(async {
            while cache.get(&key("b")).await.unwrap().is_some() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(cache.get(&key("a")).await, Ok(Some("2".to_owned())));
        cache.set(&key("a"), "3", short).await.unwrap();
        soon(async {
            while cache.get(&key("a")).await.unwrap().is_some() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// A full cache drops something and never grows beyond its bytes.
#[tokio::test]
async fn the_embedded_cache_is_bounded() {
    let cache = Cache::embedded(CacheOptions {
        capacity_bytes: 100_000,
        ..CacheOptions::default()
    });
    let value = format!("\"{}\"", "x".repeat(1000));
    for number in 0..1000 {
        cache
            .set(&key(&number.to_string()), &value, None)
            .await
            .unwrap();
    }
    let mut kept = 0;
    for number in 0..1000 {
        kept += usize::from(
            cache
                .get(&key(&number.to_string()))
                .await
                .unwrap()
                .is_some(),
        );
    }
    assert!((1..=100).contains(&kept), "{kept}");
}

/// What Redis holds that is no value is a miss, and is never read beyond the limit.
#[tokio::test]
async fn foreign_values_are_misses() {
    let server = Redis::start();
    let store = RedisStore::connect(&server.socket_url()).unwrap();
    let options = CacheOptions {
        value_bytes: 1000,
        ..CacheOptions::default()
    };
    let cache = Cache::redis(store.clone(), options);
    let table = [
        ("1", true),
        ("not JSON", false),
        ("", false),
        ("1 2", false),
        (&"1".repeat(1000), true),
        (&"1".repeat(1001), false),
        (&format!("{}{}", "[".repeat(101), "]".repeat(101)), false),
        (&format!("{}{}", "[".repeat(100), "]".repeat(100)), true),
    ];
    for (value, found) in table {
        let _: () = store
            .command("SET", &["magic:cache:s/a", value])
            .await
            .unwrap();
        let expected = found.then(|| value.to_owned());
        assert_eq!(cache.get(&key("a")).await, Ok(expected));
    }
    let _: () = store.command("DEL", &["magic:cache:s/a"]).await.unwrap();
    let _: i64 = store
        .command("RPUSH", &["magic:cache:s/a", "x"])
        .await
        .unwrap();
    assert!(!cache.get(&key("a")).await.unwrap_err().is_retriable());
}

/// An outage is retriable and over when the server is back, with the entries that it kept.
#[tokio::test]
async fn an_outage_ends_by_itself() {
    let mut server = Redis::start();
    let cache = Cache::connect(&server.socket_url(), CacheOptions::default()).unwrap();
    cache.set(&key("a"), "1", None).await.unwrap();
    server.kill();
    for result in [
        cache.get(&key("a")).await.map(|_| ()),
        cache.set(&key("a"), "2", None).await,
        cache.delete(&key("a")).await,
    ] {
        assert!(result.unwrap_err().is_retriable());
    }
    server.start_again();
    soon(async {
        loop {
            match cache.get(&key("a")).await {
                Ok(value) => break assert_eq!(value.as_deref(), Some("1")),
                Err(error) => assert!(error.is_retriable()),
            }
        }
    })
    .await;
}
