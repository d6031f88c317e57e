//! Tables are made once, by whoever is first, and never by an older program.

use super::deployments::version;
use super::keys::new_key;
use super::{World, on_both};
use crate::state::{KeyRate, NewKey, OpenError, Placement, State, StateOptions, bundle_digest};

#[tokio::test]
async fn many_nodes_start_at_once() {
    on_both(|world| async move {
        let open = || State::open(StateOptions::new(world.url()));
        let started = tokio::join!(open(), open(), open(), open(), open(), open());
        let started = [
            started.0, started.1, started.2, started.3, started.4, started.5,
        ];
        for state in started {
            assert_eq!(state.unwrap().revision().await.unwrap().generation, 0);
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_later_program_made_is_refused() {
    on_both(|world| async move {
        world.open().await.close().await;
        world.tamper("INSERT INTO migrations (number, name, sha256, applied_at) SELECT 99, 'later', 'x', applied_at FROM migrations WHERE number = 1").await;
        let refused = State::open(StateOptions::new(world.url())).await.unwrap_err();
        assert!(matches!(refused, OpenError::Later { found: 99, .. }), "{refused:?}");
        assert!(refused.to_string().contains("later program"));
        world.tamper("DELETE FROM migrations WHERE number = 99").await;
        world.open().await.close().await;
        world.tamper("UPDATE migrations SET sha256 = 'other'").await;
        let refused = State::open(StateOptions::new(world.url())).await.unwrap_err();
        assert!(matches!(refused, OpenError::Changed { number: 1 }), "{refused:?}");
    })
    .await;
}

/// A state that the program before this one left keeps what is in it, and gets what is new.
#[tokio::test]
async fn what_an_earlier_program_made_is_brought_up_to_date() {
    on_both(|world| async move {
        let state = world.open().await;
        let (text, key) = state.api_keys().create(new_key("old")).await.unwrap();
        state.close().await;
        world
            .tamper(
                "DROP TABLE version_wheels; DROP TABLE wheel_pieces; DROP TABLE wheels;
                 ALTER TABLE api_keys DROP COLUMN rate; ALTER TABLE api_keys DROP COLUMN burst;
                 DELETE FROM migrations WHERE number > 1",
            )
            .await;
        let keys = world.open().await.api_keys();
        let stored = keys.find(&key.id).await.unwrap().unwrap();
        assert_eq!(stored.admit(&text, jiff::Timestamp::now()), Ok(&key));
        let limited = NewKey {
            rate: Some(KeyRate::new(5, None).unwrap()),
            ..new_key("new")
        };
        keys.create(limited).await.unwrap();
        assert_eq!(keys.live_keys().await.unwrap().len(), 2);
    })
    .await;
}

/// The state does not move in with somebody else's tables.
#[tokio::test]
async fn a_file_with_other_tables_is_refused() {
    let world = World::sqlite();
    std::fs::write(world.url().file().unwrap(), "").unwrap();
    world.tamper("CREATE TABLE customers (id INTEGER)").await;
    let refused = State::open(StateOptions::new(world.url()))
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, OpenError::Foreign { table } if table == "customers"),
        "{refused:?}"
    );
}

/// What a program before wheels were kept has left is brought up to date, and nothing of it is lost.
#[tokio::test]
async fn a_state_of_an_earlier_program_goes_on() {
    on_both(|world| async move {
        let state = world.open().await;
        let old = version(&state, "1.0.0", "old").await;
        state.deploy(&old, Placement::Active, None).await.unwrap();
        state.close().await;
        world
            .tamper(
                "DROP TABLE version_wheels; DROP TABLE wheel_pieces; DROP TABLE wheels; DELETE FROM migrations WHERE number = 3",
            )
            .await;
        let state = world.open().await;
        assert_eq!(state.snapshot().await.unwrap().generation, 1);
        assert!(state.bundle(&old.digest).await.is_ok());
        assert!(state.version_wheels("InvoiceSync", "1.0.0").await.unwrap().is_empty());
        let digest = bundle_digest(b"wheel");
        state.put_wheel(&digest, &b"wheel"[..]).await.unwrap();
        let mut wheel = Vec::new();
        state.read_wheel(&digest, &mut wheel).await.unwrap();
        assert_eq!(wheel, b"wheel");
    })
    .await;
}
