//! Two nodes that change the same: nobody overwrites what they have not seen.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use super::deployments::{deploy, version};
use super::{World, on_both};
use crate::state::{
    CanaryShare, Deployment, DeploymentError, EventKind, NewVersion, Outcome, Placement, State,
};

const NAME: &str = "InvoiceSync";

const SHARE: CanaryShare = CanaryShare {
    percent: 10,
    error_margin: 0.1,
};

/// One thing that somebody asks for.
#[derive(Debug, Clone, Copy)]
enum Change {
    Deploy(u8),
    Canary(u8),
    RollBack(Option<u8>),
    Promote(u8),
    Return(u8),
    Delete,
}

fn any_change() -> impl Strategy<Value = Change> {
    let number = || 0_u8..4;
    prop_oneof![
        4 => number().prop_map(Change::Deploy),
        3 => number().prop_map(Change::Canary),
        2 => prop::option::of(number()).prop_map(Change::RollBack),
        1 => number().prop_map(Change::Promote),
        1 => number().prop_map(Change::Return),
        1 => Just(Change::Delete),
    ]
}

async fn numbered(state: &State, number: u8) -> NewVersion {
    let number = format!("{number}.0.0");
    version(state, &number, &number).await
}

async fn make(
    state: &State,
    change: Change,
    seen: Option<&Deployment>,
    by: &str,
) -> Result<Outcome, DeploymentError> {
    let name = |number: u8| format!("{number}.0.0");
    match change {
        Change::Deploy(number) => {
            let new = numbered(state, number).await;
            let new = NewVersion {
                by: by.to_owned(),
                ..new
            };
            state.deploy(&new, Placement::Active, seen).await
        }
        Change::Canary(number) => {
            let new = numbered(state, number).await;
            let new = NewVersion {
                by: by.to_owned(),
                ..new
            };
            state.deploy(&new, Placement::Canary(SHARE), seen).await
        }
        Change::RollBack(to) => {
            let to = to.map(name);
            state.roll_back(NAME, to.as_deref(), seen, by, None).await
        }
        Change::Promote(number) => {
            state
                .promote_canary(NAME, &name(number), seen, by, None)
                .await
        }
        Change::Return(number) => {
            state
                .return_canary(NAME, &name(number), seen, by, None)
                .await
        }
        Change::Delete => state.delete(NAME, seen, by, None).await,
    }
}

/// Active version, the one before, and the canary with its percentage.
type Content = (String, Option<String>, Option<(String, u8)>);

/// What is served, without when and by which change.
fn content(row: Option<&Deployment>) -> Option<Content> {
    row.map(|row| {
        let canary = row.canary.as_ref();
        let canary = canary.map(|canary| (canary.placed.version.clone(), canary.share.percent));
        (row.active.version.clone(), row.previous.clone(), canary)
    })
}

/// Two nodes look at the same and race, again and again. Whatever either order of the two would have made, a change that is
/// made was decided on what it replaces; what it replaces may differ from what its author saw by a trial that was over, and
/// by nothing else. Who loses is told who won, and nothing of theirs is done.
async fn race(world: &World, rounds: Vec<(Change, Change)>) {
    let (one, other) = (world.open().await, world.open().await);
    for (mine, theirs) in rounds {
        let seen = one.deployment(NAME).await.unwrap();
        let before = one.revision().await.unwrap().generation;
        let (first, second) = tokio::join!(
            make(&one, mine, seen.as_ref(), "ada"),
            make(&other, theirs, seen.as_ref(), "bob"),
        );
        let said = format!("{mine:?} {first:?}\n{theirs:?} {second:?}\n{seen:?}");
        let made = |result: &Result<Outcome, _>| result.as_ref().is_ok_and(|done| done.changed);
        let number = [made(&first), made(&second)]
            .into_iter()
            .filter(|made| *made)
            .count();
        let after = one.revision().await.unwrap().generation;
        assert_eq!(after - before, i64::try_from(number).unwrap(), "{said}");
        let events = one.history(NAME, 2).await.unwrap();
        if number == 2 {
            // Only a trial that ended leaves the other change as right as it was.
            let earlier = &events[1];
            let had_canary = seen.as_ref().is_some_and(|seen| seen.canary.is_some());
            assert!(had_canary && earlier.from.is_none(), "{said}");
            assert_ne!(earlier.kind, EventKind::CanaryBegin, "{said}");
        }
        for (result, other) in [(&first, "bob"), (&second, "ada")] {
            if let Err(DeploymentError::Overtaken { active, by, .. }) = result {
                assert!(number >= 1, "{said}");
                let by = by.as_deref().expect("an event");
                assert_eq!(by.by, other, "{said}");
                let now = one.deployment(NAME).await.unwrap();
                assert_eq!(active, &now.map(|now| now.active.version), "{said}");
            }
        }
        // What is refused or changed nothing has left nothing behind.
        let now = one.deployment(NAME).await.unwrap();
        if number == 0 {
            assert_eq!(content(seen.as_ref()), content(now.as_ref()), "{said}");
        }
        assert_eq!(now, other.deployment(NAME).await.unwrap());
    }
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn no_race_of_two_nodes_overwrites_what_was_not_seen() {
    let mut runner = TestRunner::new(Config::default());
    let pairs = prop::collection::vec((any_change(), any_change()), 80);
    for world in [World::sqlite(), World::postgres()] {
        let rounds = pairs.new_tree(&mut runner).unwrap().current();
        race(&world, rounds).await;
    }
}

/// Every change that was decided on an older sight is refused and says what happened; with a new look it is made.
#[tokio::test]
async fn a_change_on_an_old_sight_is_refused_and_made_on_a_new_one() {
    on_both(|world| async move {
        let state = world.open().await;
        for number in 0..2 {
            let new = numbered(&state, number).await;
            deploy(&state, &new, Placement::Active).await.unwrap();
        }
        for change in [
            Change::Deploy(3),
            Change::Canary(2),
            Change::Promote(2),
            Change::Canary(3),
            Change::Return(3),
            Change::RollBack(None),
            Change::RollBack(Some(0)),
            Change::Delete,
        ] {
            let old = state.deployment(NAME).await.unwrap();
            // Somebody comes and goes: what holds is the same, and who looked then has still not seen it.
            let (active, previous) = {
                let old = old.as_ref().expect("deployed");
                (old.active.version.clone(), old.previous.clone())
            };
            let canary = old.as_ref().and_then(|old| old.canary.clone());
            let away = version(&state, "9.0.0", "9.0.0").await;
            deploy(&state, &away, Placement::Active).await.unwrap();
            let refused = make(&state, change, old.as_ref(), "ada").await.unwrap_err();
            assert_eq!(
                refused.to_string(),
                "InvoiceSync was changed while this was prepared, so nothing of it was done: version 9.0.0 was deployed by ada, \
                 and 9.0.0 is active now; `magic versions InvoiceSync` shows what holds now, and asking again decides on that",
                "{change:?}"
            );
            // Back to what was there, and from there on.
            for version in previous.iter().chain([&active]) {
                let seen = state.deployment(NAME).await.unwrap();
                state
                    .roll_back(NAME, Some(version), seen.as_ref(), "ada", None)
                    .await
                    .unwrap();
            }
            if let Some(canary) = canary {
                let new = version(&state, &canary.placed.version, &canary.placed.version).await;
                deploy(&state, &new, Placement::Canary(SHARE)).await.unwrap();
            }
            let seen = state.deployment(NAME).await.unwrap();
            let made = make(&state, change, seen.as_ref(), "ada").await;
            assert!(made.as_ref().is_ok_and(|made| made.changed), "{change:?} {made:?}");
        }
    })
    .await;
}

/// Two people say "back" at once: both get the version before, and nobody comes forward again.
#[tokio::test]
async fn two_who_roll_back_at_once_roll_back_once() {
    on_both(|world| async move {
        let (one, other) = (world.open().await, world.open().await);
        for number in 0..3 {
            let new = numbered(&one, number).await;
            deploy(&one, &new, Placement::Active).await.unwrap();
        }
        let seen = one.deployment(NAME).await.unwrap();
        let back = Change::RollBack(None);
        let (first, second) = tokio::join!(
            make(&one, back, seen.as_ref(), "ada"),
            make(&other, back, seen.as_ref(), "bob"),
        );
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_ne!(first.changed, second.changed);
        assert_eq!(
            (first.active.as_deref(), second.active.as_deref()),
            (Some("1.0.0"), Some("1.0.0"))
        );
        // One after the other, each with a look of their own, they come back.
        let seen = one.deployment(NAME).await.unwrap();
        let forward = make(&one, back, seen.as_ref(), "ada").await.unwrap();
        assert_eq!(forward.active.as_deref(), Some("2.0.0"));
    })
    .await;
}

/// A trial that the runtime ends while a deploy is prepared does not cost the deploy.
#[tokio::test]
async fn a_trial_that_ends_meanwhile_is_in_nobodys_way() {
    on_both(|world| async move {
        let state = world.open().await;
        let first = numbered(&state, 0).await;
        deploy(&state, &first, Placement::Active).await.unwrap();
        let tried = numbered(&state, 1).await;
        deploy(&state, &tried, Placement::Canary(SHARE))
            .await
            .unwrap();
        let seen = state.deployment(NAME).await.unwrap();
        state
            .return_canary(NAME, "1.0.0", seen.as_ref(), "runtime", None)
            .await
            .unwrap();
        let made = make(&state, Change::Deploy(2), seen.as_ref(), "ada")
            .await
            .unwrap();
        assert_eq!(made.replaced.as_deref(), Some("0.0.0"));
        // One that began meanwhile is: it would end without anybody having seen it.
        let seen = state.deployment(NAME).await.unwrap();
        deploy(&state, &tried, Placement::Canary(SHARE))
            .await
            .unwrap();
        let refused = make(&state, Change::Deploy(3), seen.as_ref(), "ada").await;
        assert!(
            matches!(refused, Err(DeploymentError::Overtaken { .. })),
            "{refused:?}"
        );
    })
    .await;
}
