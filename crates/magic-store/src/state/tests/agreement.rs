//! Both databases answer the same to the same long sequence of operations.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use super::World;
use super::deployments::{deploy, version};
use crate::state::{CanaryShare, NewVersion, Placement, State};

#[derive(Debug, Clone)]
enum Operation {
    /// A version with one of two contents, to everybody or to some.
    Deploy(u8, bool, Option<u8>),
    RollBack(Option<u8>),
    Promote(u8),
    Return(u8),
    Delete,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let number = 0_u8..4;
    let operation = prop_oneof![
        4 => (number.clone(), prop::bool::weighted(0.1), prop::option::of(0_u8..=100))
            .prop_map(|(version, other, percent)| Operation::Deploy(version, other, percent)),
        2 => prop::option::of(number.clone()).prop_map(Operation::RollBack),
        1 => number.clone().prop_map(Operation::Promote),
        1 => number.prop_map(Operation::Return),
        1 => Just(Operation::Delete),
    ];
    prop::collection::vec(operation, 60)
}

/// What is answered, and what can be read afterwards, but for times.
async fn answer(state: &State, operation: &Operation) -> String {
    let name = |number: &u8| format!("{number}.0.0");
    let (by, why) = ("ada", Some("a test"));
    let seen = state.deployment("InvoiceSync").await.unwrap();
    let seen = seen.as_ref();
    let done = match operation {
        Operation::Deploy(number, other, percent) => {
            let content = if *other { "other" } else { "first" };
            let new: NewVersion = version(state, &name(number), content).await;
            let share = |percent| CanaryShare {
                percent,
                error_margin: 0.1,
            };
            let placement = percent.map_or(Placement::Active, |percent| {
                Placement::Canary(share(percent))
            });
            deploy(state, &new, placement).await
        }
        Operation::RollBack(to) => {
            let to = to.as_ref().map(name);
            state
                .roll_back("InvoiceSync", to.as_deref(), seen, by, why)
                .await
        }
        Operation::Promote(number) => {
            let version = name(number);
            state
                .promote_canary("InvoiceSync", &version, seen, by, why)
                .await
        }
        Operation::Return(number) => {
            let version = name(number);
            state
                .return_canary("InvoiceSync", &version, seen, by, why)
                .await
        }
        Operation::Delete => state.delete("InvoiceSync", seen, by, why).await,
    };
    let done = done.map_err(|error| error.to_string());
    let snapshot = state.snapshot().await.unwrap();
    let served: Vec<_> = snapshot
        .deployments
        .iter()
        .map(|one| {
            let canary = one
                .canary
                .as_ref()
                .map(|canary| (&canary.placed, canary.share));
            (&one.active, canary, &one.previous, one.generation)
        })
        .collect();
    let events = state.history("InvoiceSync", 1_000).await.unwrap();
    // Every change has its event, and the last one made what is served.
    assert_eq!(i64::try_from(events.len()), Ok(snapshot.generation));
    let last = events.first().map(|event| {
        (
            event.kind,
            &event.version,
            &event.from,
            event.percent,
            event.generation,
        )
    });
    format!("{done:?} {} {served:?} {last:?}", snapshot.generation)
}

#[tokio::test]
async fn both_databases_answer_the_same() {
    let mut runner = TestRunner::new(Config::default());
    let (file, server) = (World::sqlite(), World::postgres());
    for _ in 0..2 {
        let operations = operations().new_tree(&mut runner).unwrap().current();
        let states = (file.open().await, server.open().await);
        for (number, operation) in operations.iter().enumerate() {
            let one = answer(&states.0, operation).await;
            let other = answer(&states.1, operation).await;
            assert_eq!(one, other, "{:?}", &operations[..=number]);
        }
    }
}
