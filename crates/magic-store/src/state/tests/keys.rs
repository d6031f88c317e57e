//! API keys, from being made to being revoked.

use jiff::{SignedDuration, Timestamp};

use super::on_both;
use crate::state::{KeyError, KeyRate, KeyRefusal, KeyText, NewKey};

pub(super) fn new_key(name: &str) -> NewKey {
    NewKey {
        name: name.to_owned(),
        roles: vec!["execute".to_owned(), "read".to_owned()],
        controllers: Some(vec!["InvoiceSync".to_owned()]),
        expires_at: None,
        rate: None,
        created_by: "ada".to_owned(),
    }
}

#[tokio::test]
async fn keys_are_made_found_admitted_and_revoked() {
    on_both(|world| async move {
        let state = world.open().await;
        let keys = state.api_keys();
        let now = Timestamp::now();
        let (text, key) = keys.create(new_key("first")).await.unwrap();
        let (other, _) = keys.create(new_key("second")).await.unwrap();

        let read = KeyText::parse(&text.expose()).unwrap();
        let stored = keys.find(read.id()).await.unwrap().unwrap();
        assert_eq!(stored.key(), &key);
        assert_eq!(stored.admit(&read, now), Ok(&key));
        assert_eq!(stored.admit(&other, now), Err(KeyRefusal::Wrong));
        assert!(keys.find("0123456789abcdef").await.unwrap().is_none());
        assert!(keys.find("' OR 1=1").await.unwrap().is_none());

        // The same on another node, after this one is gone.
        state.close().await;
        let state = world.open().await;
        let keys = state.api_keys();
        assert_eq!(keys.live_keys().await.unwrap().len(), 2);
        assert!(keys.revoke(&key.id, "bob").await.unwrap());
        assert!(!keys.revoke(&key.id, "eve").await.unwrap());
        let stored = keys.find(&key.id).await.unwrap().unwrap();
        assert_eq!(stored.admit(&read, now), Err(KeyRefusal::Revoked));
        let revoked = stored.key().revoked.clone().unwrap();
        assert_eq!(revoked.1, "bob");
        let live = keys.live_keys().await.unwrap();
        assert_eq!(live.len(), 1);
        assert_eq!(live[0].admit(&other, now).unwrap().name, "second");
        assert_eq!(keys.list().await.unwrap().len(), 2);
        assert!(matches!(
            keys.revoke("0123456789abcdef", "bob").await,
            Err(KeyError::NoSuchKey { .. })
        ));
    })
    .await;
}

/// A rate is the key's own, on every node and after a restart; without one there is none.
#[tokio::test]
async fn rates_are_kept_with_their_keys() {
    on_both(|world| async move {
        let state = world.open().await;
        let rate = KeyRate::new(20, Some(7)).unwrap();
        let limited = NewKey {
            rate: Some(rate),
            ..new_key("limited")
        };
        let (_, made) = state.api_keys().create(limited).await.unwrap();
        assert_eq!(made.rate, Some(rate));
        let (_, free) = state.api_keys().create(new_key("free")).await.unwrap();
        state.close().await;
        let keys = world.open().await.api_keys();
        let found = |id: String, keys: crate::state::ApiKeys| async move {
            keys.find(&id).await.unwrap().unwrap().key().rate
        };
        assert_eq!(found(made.id, keys.clone()).await, Some(rate));
        assert_eq!(found(free.id, keys.clone()).await, None);
        let live = keys.live_keys().await.unwrap();
        let rates: Vec<_> = live.iter().filter_map(|key| key.key().rate).collect();
        assert_eq!(rates, [rate]);
    })
    .await;
}

#[tokio::test]
async fn keys_end_at_their_time_and_say_so_only_to_their_owner() {
    on_both(|world| async move {
        let keys = world.open().await.api_keys();
        let expiry = Timestamp::now() + SignedDuration::from_secs(60);
        let new = NewKey {
            expires_at: Some(expiry),
            controllers: None,
            ..new_key("short")
        };
        let (text, key) = keys.create(new).await.unwrap();
        let stored = keys.find(&key.id).await.unwrap().unwrap();
        assert!(stored.admit(&text, Timestamp::now()).is_ok());
        let later = expiry + SignedDuration::from_secs(1);
        assert_eq!(stored.admit(&text, later), Err(KeyRefusal::Expired));
        let forged = format!("mgk_{}_{}", key.id, "A".repeat(43));
        let forged = KeyText::parse(&forged).unwrap();
        assert_eq!(stored.admit(&forged, later), Err(KeyRefusal::Wrong));
    })
    .await;
}

/// Neither a list nor a `Debug` nor the database holds what opens.
#[tokio::test]
async fn secrets_are_nowhere() {
    let world = super::World::sqlite();
    let state = world.open().await;
    let (text, _) = state.api_keys().create(new_key("hidden")).await.unwrap();
    let exposed = text.expose();
    let secret = &exposed[21..];
    let shown = format!(
        "{:?} {:?}",
        state.api_keys().list().await,
        state.api_keys().live_keys().await
    );
    assert!(shown.contains("hidden") && !shown.contains(secret) && !shown.contains("sha256"));
    let file = world.url().file().unwrap().to_owned();
    for name in ["", "-wal"] {
        let mut path = file.clone().into_os_string();
        path.push(name);
        let bytes = std::fs::read(path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(secret));
    }
}

#[tokio::test]
async fn keys_that_mean_nothing_are_refused() {
    let state = super::World::sqlite();
    let keys = state.open().await.api_keys();
    for new in [
        new_key(" "),
        new_key(&"x".repeat(201)),
        new_key("a\nb"),
        NewKey {
            roles: vec![],
            ..new_key("none")
        },
        NewKey {
            controllers: Some(vec![]),
            ..new_key("none")
        },
        NewKey {
            created_by: "\0".to_owned(),
            ..new_key("none")
        },
    ] {
        assert!(matches!(keys.create(new).await, Err(KeyError::Invalid(_))));
    }
}
