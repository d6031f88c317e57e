//! Wheels beside versions: kept in pieces, believed by their hash, forgotten with care.

use std::io::Cursor;
use std::time::Duration;

use super::deployments::{deploy, version};
use super::on_both;
use crate::state::{
    DeploymentError, NewVersion, Placement, State, VersionWheel, WheelError, bundle_digest,
};

const HOUR: Duration = Duration::from_secs(3600);

/// More than one piece, and not a whole number of them.
fn wheel(seed: u8) -> Vec<u8> {
    (0..9_000_000_u32)
        .map(|number| number.to_le_bytes()[1] ^ seed)
        .collect()
}

async fn put(state: &State, bytes: &[u8]) -> String {
    let digest = bundle_digest(bytes);
    state.put_wheel(&digest, Cursor::new(bytes)).await.unwrap();
    digest
}

async fn read(state: &State, digest: &str) -> Result<Vec<u8>, WheelError> {
    let mut bytes = Vec::new();
    let size = state.read_wheel(digest, &mut bytes).await?;
    assert_eq!(size, bytes.len() as u64);
    Ok(bytes)
}

async fn with_wheels(state: &State, number: &str, digests: &[&str]) -> NewVersion {
    let wheels = digests
        .iter()
        .enumerate()
        .map(|(index, digest)| VersionWheel {
            file: format!("p{index}-1.0-py3-none-any.whl"),
            digest: (*digest).to_owned(),
        });
    NewVersion {
        packages_digest: Some("packages".to_owned()),
        wheels: wheels.collect(),
        ..version(state, number, number).await
    }
}

/// Sweeps until nothing more is forgotten, and says how much was.
async fn swept(state: &State) -> u64 {
    let mut all = 0;
    loop {
        match state.sweep_wheels(HOUR).await.unwrap() {
            0 => return all,
            some => all += some,
        }
    }
}

#[tokio::test]
async fn wheels_are_what_they_are_called() {
    on_both(|world| async move {
        let state = world.open().await;
        let bytes = wheel(0);
        let digest = put(&state, &bytes).await;
        assert!(read(&state, &digest).await.unwrap() == bytes);
        let empty = put(&state, b"").await;
        assert!(read(&state, &empty).await.unwrap().is_empty());
        let missing = read(&state, &bundle_digest(b"missing")).await;
        assert!(matches!(missing, Err(WheelError::NoSuchWheel { .. })), "{missing:?}");

        // Other bytes than its name says are not there, and do no harm to those that are.
        let other = bundle_digest(b"other");
        let changed = state.put_wheel(&other, Cursor::new(&bytes)).await;
        assert!(matches!(changed, Err(WheelError::Changed { .. })), "{changed:?}");
        assert!(read(&state, &other).await.is_err());
        state.put_wheel(&other, Cursor::new(b"other")).await.unwrap();
        assert_eq!(read(&state, &other).await.unwrap(), b"other");
        state.put_wheel(&digest, Cursor::new(b"not read")).await.unwrap();
        assert!(read(&state, &digest).await.unwrap() == bytes);

        // Somebody damages it behind our back; putting it again mends it.
        for damage in [
            "UPDATE wheel_pieces SET bytes = (SELECT p.bytes FROM wheel_pieces p WHERE p.number = 2) WHERE number = 1",
            "DELETE FROM wheel_pieces WHERE number = 1",
        ] {
            world.tamper(damage).await;
            let damaged = read(&state, &digest).await;
            assert!(matches!(damaged, Err(WheelError::Damaged { .. })), "{damage}");
            put(&state, &bytes).await;
            assert!(read(&state, &digest).await.unwrap() == bytes);
        }
    })
    .await;
}

#[tokio::test]
async fn a_version_has_the_wheels_that_were_put() {
    on_both(|world| async move {
        let state = world.open().await;
        let (one, two) = (put(&state, b"one").await, put(&state, b"two").await);
        let new = with_wheels(&state, "1.0.0", &[&one, &bundle_digest(b"missing")]).await;
        let refused = deploy(&state, &new, Placement::Active).await;
        assert!(
            matches!(refused, Err(DeploymentError::NoSuchWheel { .. })),
            "{refused:?}"
        );
        assert_eq!(state.revision().await.unwrap().generation, 0);

        let new = with_wheels(&state, "1.0.0", &[&one, &two]).await;
        assert!(
            deploy(&state, &new, Placement::Active)
                .await
                .unwrap()
                .changed
        );
        let found = state.version_wheels("InvoiceSync", "1.0.0").await.unwrap();
        assert_eq!(found, new.wheels);
        assert!(
            state
                .version_wheels("InvoiceSync", "2.0.0")
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(state.packages_digests().await.unwrap(), ["packages"]);

        // One that was deployed before wheels were kept gets them when it is deployed again.
        let bare = NewVersion {
            wheels: Vec::new(),
            ..with_wheels(&state, "1.1.0", &[]).await
        };
        deploy(&state, &bare, Placement::Active).await.unwrap();
        assert!(
            state
                .version_wheels("InvoiceSync", "1.1.0")
                .await
                .unwrap()
                .is_empty()
        );
        let again = with_wheels(&state, "1.1.0", &[&two]).await;
        let done = deploy(&state, &again, Placement::Active).await.unwrap();
        assert_eq!((done.changed, done.generation), (false, 2));
        assert_eq!(
            state.version_wheels("InvoiceSync", "1.1.0").await.unwrap(),
            again.wheels
        );
    })
    .await;
}

#[tokio::test]
async fn only_wheels_that_no_version_has_are_forgotten() {
    on_both(|world| async move {
        let state = world.open().await;
        let (kept, left) = (put(&state, &wheel(1)).await, put(&state, &wheel(2)).await);
        let new = with_wheels(&state, "1.0.0", &[&kept]).await;
        deploy(&state, &new, Placement::Active).await.unwrap();
        // Of a deploy that was cut off.
        let half = bundle_digest(b"half");
        state
            .put_wheel(&half, Cursor::new(wheel(3)))
            .await
            .unwrap_err();
        assert_eq!(swept(&state).await, 0, "they may be about to be deployed");

        world.tamper("UPDATE wheels SET put_at = 0").await;
        // Whoever puts one now keeps it.
        put(&state, b"young").await;
        assert_eq!(swept(&state).await, 2 * (1 + 3));
        assert!(read(&state, &left).await.is_err());
        assert!(read(&state, &kept).await.unwrap() == wheel(1));
        assert!(read(&state, &bundle_digest(b"young")).await.is_ok());
        // What was forgotten can be put again.
        put(&state, &wheel(2)).await;
        assert!(read(&state, &left).await.unwrap() == wheel(2));
    })
    .await;
}

/// Nodes that put the same wheel at once do not disturb each other, nor does one that sweeps.
#[tokio::test]
async fn many_nodes_put_one_wheel() {
    on_both(|world| async move {
        let bytes = wheel(4);
        let digest = bundle_digest(&bytes);
        let nodes = [world.open().await, world.open().await, world.open().await];
        let puts = nodes
            .each_ref()
            .map(|node| node.put_wheel(&digest, Cursor::new(&bytes)));
        let [one, two, three] = puts;
        let sweeper = world.open().await;
        let (one, two, three, _) = tokio::join!(one, two, three, sweeper.sweep_wheels(HOUR));
        for put in [one, two, three] {
            put.unwrap();
        }
        assert!(read(&sweeper, &digest).await.unwrap() == bytes);
    })
    .await;
}
