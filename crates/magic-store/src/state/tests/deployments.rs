//! Deploying, rolling back, canaries and deleting.

use std::rc::Rc;
use std::time::Duration;

use super::{World, on_both};
use crate::state::{
    BundleError, CanaryShare, CannotMove, Deployment, DeploymentError, Difference, EventKind,
    NewVersion, Outcome, Placement, State, bundle_digest,
};

/// A version whose bundle is this text, with the bundle stored.
pub(super) async fn version(state: &State, version: &str, content: &str) -> NewVersion {
    NewVersion {
        controller: "InvoiceSync".to_owned(),
        version: version.to_owned(),
        digest: state.put_bundle(content.as_bytes()).await.unwrap(),
        packages_digest: None,
        wheels: Vec::new(),
        contract: format!("name: InvoiceSync\nversion: {version}\n"),
        allow_breaking: false,
        by: "ada".to_owned(),
        reason: Some("a test".to_owned()),
    }
}

/// What is served of the one controller.
async fn look(state: &State) -> Option<Deployment> {
    state.deployment("InvoiceSync").await.unwrap()
}

/// Deploys on what there is, as somebody does who looks and then asks.
pub(super) async fn deploy(
    state: &State,
    new: &NewVersion,
    placement: Placement,
) -> Result<Outcome, DeploymentError> {
    let seen = state.deployment(&new.controller).await?;
    state.deploy(new, placement, seen.as_ref()).await
}

/// Rolls the one controller back, in the same way.
async fn roll_back(state: &State, to: Option<&str>, by: &str) -> Result<Outcome, DeploymentError> {
    let seen = look(state).await;
    state
        .roll_back("InvoiceSync", to, seen.as_ref(), by, None)
        .await
}

const SHARE: CanaryShare = CanaryShare {
    percent: 5,
    error_margin: 0.01,
};

/// Active, previous and canary of the one controller.
async fn served(state: &State) -> Option<(String, Option<String>, Option<String>)> {
    let snapshot = state.snapshot().await.unwrap();
    let deployment = snapshot.deployments.into_iter().next()?;
    let canary = deployment.canary.map(|canary| canary.placed.version);
    Some((deployment.active.version, deployment.previous, canary))
}

fn at(
    active: &str,
    previous: &str,
    canary: &str,
) -> Option<(String, Option<String>, Option<String>)> {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Some((active.to_owned(), some(previous), some(canary)))
}

#[tokio::test]
async fn a_life_of_a_controller() {
    on_both(|world| async move {
        let state = world.open().await;
        let (one, two) = (
            version(&state, "1.0.0", "first").await,
            version(&state, "2.0.0", "second").await,
        );
        let done = deploy(&state, &one, Placement::Active).await.unwrap();
        assert!(done.changed);
        assert_eq!(
            (done.generation, done.active.as_deref()),
            (1, Some("1.0.0"))
        );
        // Again: nothing changes, and no number is used up.
        let again = deploy(&state, &one, Placement::Active).await.unwrap();
        assert_eq!((again.changed, again.generation), (false, 1));

        let canary = deploy(&state, &two, Placement::Canary(SHARE))
            .await
            .unwrap();
        assert_eq!(canary.generation, 2);
        assert_eq!(served(&state).await, at("1.0.0", "", "2.0.0"));
        let snapshot = state.snapshot().await.unwrap();
        let running = snapshot.deployments[0].canary.clone().unwrap();
        assert_eq!(
            (running.share, &running.placed.digest),
            (SHARE, &two.digest)
        );
        state
            .return_canary(
                "InvoiceSync",
                "2.0.0",
                look(&state).await.as_ref(),
                "watch",
                Some("too many errors"),
            )
            .await
            .unwrap();
        assert_eq!(served(&state).await, at("1.0.0", "", ""));
        deploy(&state, &two, Placement::Canary(SHARE))
            .await
            .unwrap();
        state
            .promote_canary(
                "InvoiceSync",
                "2.0.0",
                look(&state).await.as_ref(),
                "watch",
                None,
            )
            .await
            .unwrap();
        assert_eq!(served(&state).await, at("2.0.0", "1.0.0", ""));

        let back = roll_back(&state, None, "bob").await.unwrap();
        assert_eq!(back.replaced.as_deref(), Some("2.0.0"));
        assert_eq!(served(&state).await, at("1.0.0", "2.0.0", ""));
        let named = roll_back(&state, Some("2.0.0"), "bob").await.unwrap();
        assert_eq!((named.changed, named.generation), (true, 7));
        let again = roll_back(&state, Some("2.0.0"), "bob").await.unwrap();
        assert!(!again.changed);

        let gone = state
            .delete("InvoiceSync", look(&state).await.as_ref(), "ada", None)
            .await
            .unwrap();
        assert_eq!((gone.generation, gone.active), (8, None));
        assert_eq!(served(&state).await, None);
        assert_eq!(state.versions("InvoiceSync").await.unwrap().len(), 2);

        let events = state.history("InvoiceSync", 100).await.unwrap();
        let kinds: Vec<_> = events.iter().rev().map(|event| event.kind).collect();
        use EventKind::{CanaryBegin, CanaryPromote, CanaryReturn, Delete, Deploy, RollBack};
        assert_eq!(
            kinds,
            [
                Deploy,
                CanaryBegin,
                CanaryReturn,
                CanaryBegin,
                CanaryPromote,
                RollBack,
                RollBack,
                Delete
            ]
        );
        assert_eq!(events[5].reason.as_deref(), Some("too many errors"));
        assert_eq!((events[6].percent, events[6].by.as_str()), (Some(5), "ada"));
        assert_eq!(state.history("InvoiceSync", 2).await.unwrap().len(), 2);

        // Another node, after this one is gone, sees the same.
        state.close().await;
        let state = world.open().await;
        assert_eq!(state.revision().await.unwrap().generation, 8);
        let (stored, contract) = state.version("InvoiceSync", "1.0.0").await.unwrap();
        assert_eq!((stored.placed.digest, contract), (one.digest, one.contract));
        // A version keeps its content also after the controller is gone.
        let other = version(&state, "2.0.0", "other").await;
        let conflict = deploy(&state, &other, Placement::Active).await.unwrap_err();
        assert!(
            matches!(conflict, DeploymentError::VersionConflict { .. }),
            "{conflict}"
        );
        deploy(&state, &two, Placement::Active).await.unwrap();
        assert_eq!(served(&state).await, at("2.0.0", "", ""));
    })
    .await;
}

#[tokio::test]
async fn refusals_say_what_there_is() {
    on_both(|world| async move {
        let state = world.open().await;
        let one = version(&state, "1.0.0", "first").await;
        let early = deploy(&state, &one, Placement::Canary(SHARE)).await;
        assert!(matches!(
            early,
            Err(DeploymentError::CannotMove {
                why: CannotMove::NothingActive,
                ..
            })
        ));
        let nobody = roll_back(&state, None, "ada").await.unwrap_err();
        assert_eq!(
            nobody.to_string(),
            "there is no controller InvoiceSync; there are none"
        );
        deploy(&state, &one, Placement::Active).await.unwrap();
        let refused = [
            roll_back(&state, None, "ada").await.unwrap_err(),
            roll_back(&state, Some("9.0.0"), "ada").await.unwrap_err(),
            state
                .delete("Invoice", None, "ada", None)
                .await
                .unwrap_err(),
            state
                .promote_canary(
                    "InvoiceSync",
                    "1.0.0",
                    look(&state).await.as_ref(),
                    "ada",
                    None,
                )
                .await
                .unwrap_err(),
            state.versions("Other").await.unwrap_err(),
            state.version("InvoiceSync", "1.0.1").await.unwrap_err(),
        ];
        let said: Vec<_> = refused.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "InvoiceSync: version 1.0.0 has none before it to roll back to; name a version",
                "InvoiceSync has no version 9.0.0; there is 1.0.0",
                "there is no controller Invoice; there is InvoiceSync",
                "InvoiceSync: version 1.0.0 is not the canary; there is none",
                "there is no controller Other; there is InvoiceSync",
                "InvoiceSync has no version 1.0.1; there is 1.0.0",
            ]
        );
        for percent in [0, 100] {
            let share = CanaryShare {
                percent,
                error_margin: 0.0,
            };
            let refused = deploy(&state, &one, Placement::Canary(share)).await;
            assert!(matches!(refused, Err(DeploymentError::InvalidShare)));
        }
        let share = CanaryShare {
            percent: 5,
            error_margin: f64::NAN,
        };
        assert!(
            deploy(&state, &one, Placement::Canary(share))
                .await
                .is_err()
        );
        let packaged = NewVersion {
            packages_digest: Some("x".to_owned()),
            ..one.clone()
        };
        assert!(matches!(
            deploy(&state, &packaged, Placement::Active).await,
            Err(DeploymentError::VersionConflict {
                difference: Difference::Packages,
                ..
            })
        ));
        let unknown = NewVersion {
            version: "2.0.0".to_owned(),
            digest: bundle_digest(b"never put"),
            ..one
        };
        assert!(matches!(
            deploy(&state, &unknown, Placement::Active).await,
            Err(DeploymentError::NoSuchBundle { .. })
        ));
        // Nothing of all that counted.
        assert_eq!(state.revision().await.unwrap().generation, 1);
        assert_eq!(state.history("InvoiceSync", 100).await.unwrap().len(), 1);
    })
    .await;
}

/// Eight nodes decide on the same and deploy at once: one of them gets there, and each of the others hears of
/// somebody who did. Those that look again get there too, one after the other.
#[tokio::test]
async fn of_many_nodes_that_deploy_at_once_one_wins_each_round() {
    on_both(|world| async move {
        let nodes = tokio::task::LocalSet::new();
        let all_have_looked = Rc::new(tokio::sync::Barrier::new(8));
        let mut tasks = Vec::new();
        for number in 0..8 {
            let (world, barrier) = (Rc::clone(&world), Rc::clone(&all_have_looked));
            tasks.push(nodes.spawn_local(async move {
                let state = world.open().await;
                let name = format!("1.0.{number}");
                let new = version(&state, &name, &name).await;
                let mut seen = look(&state).await;
                barrier.wait().await;
                let mut lost = 0;
                loop {
                    match state.deploy(&new, Placement::Active, seen.as_ref()).await {
                        Ok(done) => break (done.generation, name, lost),
                        Err(DeploymentError::Overtaken { active, by, .. }) => {
                            let by = by.expect("an event");
                            assert_ne!(by.version, name, "nobody is overtaken by themselves");
                            assert_eq!(active, Some(by.version));
                            lost += 1;
                            seen = look(&state).await;
                        }
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }));
        }
        nodes.await;
        let mut done = Vec::new();
        for task in tasks {
            done.push(task.await.unwrap());
        }
        done.sort();
        let numbers: Vec<_> = done.iter().map(|(generation, ..)| *generation).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
        let never_lost = done.iter().filter(|(_, _, lost)| *lost == 0).count();
        assert_eq!(never_lost, 1, "all had seen the same: {done:?}");
        let state = world.open().await;
        assert_eq!(served(&state).await, at(&done[7].1, &done[6].1, ""));
        assert_eq!(state.history("InvoiceSync", 100).await.unwrap().len(), 8);
    })
    .await;
}

/// The same version from two nodes with different content: one wins, the other hears of it.
#[tokio::test]
async fn one_content_per_version_whoever_is_first() {
    on_both(|world| async move {
        let (one, other) = (world.open().await, world.open().await);
        let (mine, theirs) = (
            version(&one, "1.0.0", "mine").await,
            version(&other, "1.0.0", "theirs").await,
        );
        let (first, second) = tokio::join!(
            deploy(&one, &mine, Placement::Active),
            deploy(&other, &theirs, Placement::Active),
        );
        assert_ne!(first.is_ok(), second.is_ok());
        let lost = first.err().or(second.err()).unwrap();
        assert!(matches!(lost, DeploymentError::VersionConflict { .. }));
    })
    .await;
}

#[tokio::test]
async fn bundles_are_what_they_are_called() {
    on_both(|world| async move {
        let state = world.open().await;
        let digest = state.put_bundle(b"bytes \0 of a bundle").await.unwrap();
        assert_eq!(state.put_bundle(b"bytes \0 of a bundle").await.unwrap(), digest);
        assert_eq!(state.bundle(&digest).await.unwrap().bytes, b"bytes \0 of a bundle");
        let missing = state.bundle(&bundle_digest(b"")).await;
        assert!(matches!(missing, Err(BundleError::NoSuchBundle { .. })));
        assert_eq!(state.put_bundle(b"").await.unwrap(), bundle_digest(b""));
        assert!(state.bundle(&bundle_digest(b"")).await.unwrap().bytes.is_empty());

        // Somebody damages it behind our back; putting it again mends it.
        world.tamper("UPDATE bundles SET bytes = (SELECT b.bytes FROM bundles b WHERE b.size = 0) WHERE size > 0").await;
        let damaged = state.bundle(&digest).await;
        assert!(matches!(damaged, Err(BundleError::Damaged { .. })), "{damaged:?}");
        state.put_bundle(b"bytes \0 of a bundle").await.unwrap();
        assert!(state.bundle(&digest).await.is_ok());

        // Only what nobody deployed is forgotten.
        let new = version(&state, "1.0.0", "deployed").await;
        deploy(&state, &new, Placement::Active).await.unwrap();
        assert_eq!(state.sweep_bundles(Duration::from_secs(3600)).await.unwrap(), 0);
        world.tamper("UPDATE bundles SET put_at = 0").await;
        assert_eq!(state.sweep_bundles(Duration::from_secs(3600)).await.unwrap(), 2);
        assert!(state.bundle(&digest).await.is_err());
        assert!(state.bundle(&new.digest).await.is_ok());
    })
    .await;
}

/// A deploy is heard by its number.
#[tokio::test]
async fn generations_are_heard() {
    let world = World::sqlite();
    let (one, other) = (world.open().await, world.open().await);
    let mut there = other.watch();
    let new = version(&one, "1.0.0", "heard").await;
    deploy(&one, &new, Placement::Active).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), there.changed())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(there.borrow().generation, 1);
}
