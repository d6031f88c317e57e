//! What holds of the file: who may read it, and copies of it.

use std::os::unix::fs::PermissionsExt as _;

use super::deployments::{deploy, version};
use super::keys::new_key;
use super::{World, on_both};
use crate::state::{BackupError, OpenError, Placement, State, StateOptions};
use magic_contract::DatabaseUrl;

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_file_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("new/folder/state.db");
    let open = || State::open(StateOptions::new(DatabaseUrl::sqlite(&place)));
    let state = open().await.unwrap();
    state.api_keys().create(new_key("first")).await.unwrap();
    assert_eq!(mode(&place), 0o600);
    assert_eq!(mode(&place.with_file_name("state.db-wal")), 0o600);
    assert_eq!(mode(place.parent().unwrap()), 0o700);
    state.close().await;
    // What others could read is taken from them.
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o644)).unwrap();
    let state = open().await.unwrap();
    assert_eq!(mode(&place), 0o600);
    state.close().await;
}

/// A copy made while others write is whole, and can be opened as it is.
#[tokio::test]
async fn a_backup_is_one_moment() {
    let world = World::sqlite();
    let state = world.open().await;
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    let first = version(&state, "1.0.0", "first").await;
    deploy(&state, &first, Placement::Active).await.unwrap();
    let writing = async {
        for number in 1..20 {
            let name = format!("1.0.{number}");
            let new = version(&state, &name, &name).await;
            deploy(&state, &new, Placement::Active).await.unwrap();
        }
    };
    let ((), copied) = tokio::join!(writing, state.backup(&copy));
    assert_eq!(copied.unwrap(), std::fs::metadata(&copy).unwrap().len());
    assert_eq!(mode(&copy), 0o600);
    let copied = State::open(StateOptions::new(DatabaseUrl::sqlite(&copy)))
        .await
        .unwrap();
    let snapshot = copied.snapshot().await.unwrap();
    let events = copied.history("InvoiceSync", 100).await.unwrap();
    assert_eq!(i64::try_from(events.len()), Ok(snapshot.generation));
    assert_eq!(events[0].version, snapshot.deployments[0].active.version);
    assert!(copied.bundle(&first.digest).await.is_ok());
    // Nothing is written over, and nothing unfinished stays.
    assert!(matches!(
        state.backup(&copy).await,
        Err(BackupError::File { .. })
    ));
    copied.close().await;
    let names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(
        names
            .iter()
            .all(|name| !name.to_string_lossy().contains("unfinished")),
        "{names:?}"
    );
    assert!(
        state
            .backup(&folder.path().join("missing/copy.db"))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn postgresql_is_copied_by_its_own_tools() {
    let world = World::postgres();
    let refused = world
        .open()
        .await
        .backup(std::path::Path::new("/nowhere"))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("pg_dump"));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("state.db");
    std::fs::write(
        &place,
        "not a database at all, but long enough to be looked at",
    )
    .unwrap();
    let refused = State::open(StateOptions::new(DatabaseUrl::sqlite(&place)))
        .await
        .unwrap_err();
    assert!(
        matches!(
            refused,
            OpenError::Connect { .. } | OpenError::Schema { .. }
        ),
        "{refused:?}"
    );
    assert!(
        std::fs::read_to_string(&place)
            .unwrap()
            .starts_with("not a database")
    );
}

/// The handles of one place are one state.
#[tokio::test]
async fn what_one_handle_wrote_another_reads_at_once() {
    on_both(|world| async move {
        let (one, other) = (world.open().await, world.open().await);
        for number in 0..5 {
            let new = version(&one, &format!("1.0.{number}"), "same").await;
            let done = deploy(&one, &new, Placement::Active).await.unwrap();
            assert_eq!(other.snapshot().await.unwrap().generation, done.generation);
        }
    })
    .await;
}
