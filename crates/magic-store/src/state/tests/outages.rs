//! The database is away, and comes back.

use std::time::Duration;

use super::deployments::{deploy, version};
use super::keys::new_key;
use crate::state::postgres_server::Postgres;
use crate::state::{DeploymentError, Link, OpenError, Placement, State, StateError, StateOptions};
use magic_contract::DatabaseUrl;

const PATIENCE: Duration = Duration::from_secs(30);

fn options(url: &str) -> StateOptions {
    let mut options = StateOptions::new(DatabaseUrl::parse(url).unwrap());
    options.call_limit = Duration::from_secs(2);
    options
}

#[tokio::test]
async fn a_lost_database_is_told_from_a_refusal_and_found_again() {
    let mut server = Postgres::start();
    let url = server.database("state");
    let state = State::open(options(&url)).await.unwrap();
    let new = version(&state, "1.0.0", "first").await;
    deploy(&state, &new, Placement::Active).await.unwrap();
    let mut link = state.link();
    assert!(matches!(*link.borrow_and_update(), Link::Connected { .. }));

    server.stop();
    let refused = deploy(&state, &new, Placement::Active).await.unwrap_err();
    assert!(
        matches!(&refused, DeploymentError::State(error) if error.is_unavailable()),
        "{refused:?}"
    );
    assert!(state.snapshot().await.unwrap_err().is_unavailable());
    let lost = link.wait_for(|link| matches!(link, Link::Lost { .. }));
    tokio::time::timeout(PATIENCE, lost).await.unwrap().unwrap();
    let down = State::open(options(&url)).await.unwrap_err();
    assert!(matches!(down, OpenError::Connect { .. }), "{down:?}");
    assert!(!down.to_string().contains("password"));

    server.resume();
    let back = link.wait_for(|link| matches!(link, Link::Connected { .. }));
    tokio::time::timeout(PATIENCE, back).await.unwrap().unwrap();
    assert!(
        !deploy(&state, &new, Placement::Active)
            .await
            .unwrap()
            .changed
    );
    // It hears again of what others do.
    let other = State::open(options(&url)).await.unwrap();
    let mut heard = state.watch();
    other.api_keys().create(new_key("after")).await.unwrap();
    let heard = heard.wait_for(|revision| revision.keys == 1);
    tokio::time::timeout(PATIENCE, heard)
        .await
        .unwrap()
        .unwrap();
}

/// A node that stands still in the middle of a change holds the others up no longer than a call may take.
#[tokio::test]
async fn a_turn_that_is_not_given_back_ends() {
    let server = Postgres::start();
    let url = server.database("state");
    let (stuck, state) = (
        State::open(options(&url)).await.unwrap(),
        State::open(options(&url)).await.unwrap(),
    );
    let new = version(&state, "1.0.0", "first").await;
    let held = stuck.begin(crate::state::Access::Change).await.unwrap();
    // The server ends it by itself; until then the others are told that it is not available.
    let deployed = async {
        loop {
            match deploy(&state, &new, Placement::Active).await {
                Ok(done) => break done,
                Err(DeploymentError::State(StateError::Unavailable { .. })) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    let deployed = tokio::time::timeout(PATIENCE, deployed).await.unwrap();
    assert_eq!((deployed.changed, deployed.generation), (true, 1));
    assert!(held.commit().await.unwrap_err().is_unavailable());
}

/// Two writers of one file: the second waits for the first, and not for ever.
#[tokio::test]
async fn a_file_that_is_busy_is_unavailable() {
    let world = super::World::sqlite();
    let state = world
        .open_with(|options| options.call_limit = Duration::from_millis(300))
        .await;
    let other = world.open().await;
    let new = version(&state, "1.0.0", "first").await;
    let held = other.begin(crate::state::Access::Change).await.unwrap();
    let refused = deploy(&state, &new, Placement::Active).await.unwrap_err();
    assert!(
        matches!(&refused, DeploymentError::State(error) if error.is_unavailable()),
        "{refused:?}"
    );
    // Reading goes on meanwhile.
    assert_eq!(state.snapshot().await.unwrap().generation, 0);
    held.end().await.unwrap();
    assert!(
        deploy(&state, &new, Placement::Active)
            .await
            .unwrap()
            .changed
    );
}
