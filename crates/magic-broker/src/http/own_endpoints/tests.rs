//! Doors of the runtime by every way that leads to them.

use super::*;
use std::collections::HashMap;
use std::time::Duration;

fn resolver() -> Resolver {
    let table = [
        ("db.internal", "10.9.8.7"),
        ("moved.internal", "10.9.8.7"),
        ("redis.internal", "127.0.0.1"),
    ];
    let table: HashMap<String, Vec<IpAddr>> = table
        .into_iter()
        .map(|(name, address)| (name.to_owned(), vec![address.parse().unwrap()]))
        .collect();
    Resolver::Table(table)
}

async fn is_own(own: &OwnEndpoints, host: &str, address: &str) -> bool {
    let address: SocketAddr = address.parse().unwrap();
    let until = Instant::now() + Duration::from_secs(5);
    own.include(&Host::parse(host).unwrap(), &[address], &resolver(), until)
        .await
}

/// A listener is closed on every address of this machine, and only on its port.
#[tokio::test]
async fn listeners_are_closed_on_every_local_address() {
    let own = OwnEndpoints {
        listeners: vec![
            "0.0.0.0:8080".parse().unwrap(),
            "203.0.113.5:9090".parse().unwrap(),
        ],
        endpoints: Vec::new(),
    };
    let mut local: Vec<String> = [
        "127.0.0.1",
        "127.9.9.9",
        "[::1]",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
    ]
    .map(str::to_owned)
    .to_vec();
    local.extend(
        interface_addresses()
            .unwrap()
            .into_iter()
            .map(|one| match one {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            }),
    );
    for address in local {
        assert!(
            is_own(&own, "a.example", &format!("{address}:8080")).await,
            "{address}"
        );
        assert!(
            !is_own(&own, "a.example", &format!("{address}:8081")).await,
            "{address}"
        );
    }
    assert!(is_own(&own, "a.example", "203.0.113.5:9090").await);
    assert!(!is_own(&own, "a.example", "203.0.113.6:9090").await);
    // Addresses of this machine that a translator would make of it.
    assert!(is_own(&own, "a.example", "[64:ff9b::7f00:1]:8080").await);
}

/// A database is closed by its name, by its address and by any other name for it.
#[tokio::test]
async fn endpoints_are_closed_by_name_and_address() {
    let own = OwnEndpoints {
        listeners: Vec::new(),
        endpoints: vec![
            ("DB.internal".to_owned(), 5432),
            ("redis.internal".to_owned(), 6379),
            ("gone.internal".to_owned(), 7000),
            ("[::1]".to_owned(), 7001),
        ],
    };
    assert!(is_own(&own, "db.internal", "10.0.0.1:5432").await);
    assert!(is_own(&own, "moved.internal", "10.9.8.7:5432").await);
    assert!(is_own(&own, "10.9.8.7", "10.9.8.7:5432").await);
    assert!(is_own(&own, "a.example", "[::ffff:10.9.8.7]:5432").await);
    assert!(!is_own(&own, "a.example", "10.9.8.6:5432").await);
    assert!(!is_own(&own, "moved.internal", "10.9.8.7:5433").await);
    assert!(is_own(&own, "a.example", "127.3.3.3:6379").await);
    assert!(is_own(&own, "a.example", "[::1]:7001").await);
    // What cannot be found out is taken for a yes.
    assert!(is_own(&own, "a.example", "10.1.1.1:7000").await);
}
