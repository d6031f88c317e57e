//! Random sequences of operations against a model.

use super::{State, TABLES, act, controllers, observe};
use crate::world::World;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Few, since each starts a process and asks every back end; the seeds differ from run to run.
const CASES: u32 = 16;

#[derive(Debug, Clone)]
enum Step {
    Insert(i64, u8),
    Update(i64, u8),
    Delete(i64),
    Publish(u16),
    Set(bool, u8),
    Forget(bool),
}

impl Step {
    fn as_json(&self) -> Value {
        let key = |first: bool| if first { "a" } else { "b" };
        match self {
            Self::Insert(id, note) => json!(["insert", id, note.to_string()]),
            Self::Update(id, note) => json!(["update", id, note.to_string()]),
            Self::Delete(id) => json!(["delete", id]),
            Self::Publish(body) => json!(["publish", "out", body]),
            Self::Set(first, value) => json!(["set", key(*first), value]),
            Self::Forget(first) => json!(["forget", key(*first)]),
        }
    }

    fn apply(&self, state: &mut State) {
        let mut rows: BTreeMap<i64, String> = state
            .rows
            .iter()
            .map(|row| row.split_once(' ').expect("a number and a note"))
            .map(|(id, note)| (id.parse().expect("a number"), note.to_owned()))
            .collect();
        match self {
            Self::Insert(id, note) => {
                // The second of that number fails, and is caught.
                rows.entry(*id).or_insert(note.to_string());
            }
            Self::Update(id, note) => {
                if let Some(row) = rows.get_mut(id) {
                    *row = note.to_string();
                }
            }
            Self::Delete(id) => {
                rows.remove(id);
            }
            Self::Publish(body) => {
                state.outgoing.push(body.to_string());
                state.outgoing.sort();
            }
            Self::Set(first, value) => state.cache[usize::from(!first)] = json!(value),
            Self::Forget(first) => state.cache[usize::from(!first)] = Value::Null,
        }
        state.rows = rows
            .iter()
            .map(|(id, note)| format!("{id} {note}"))
            .collect();
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4_i64, any::<u8>()).prop_map(|(id, note)| Step::Insert(id, note)),
        (0..4_i64, any::<u8>()).prop_map(|(id, note)| Step::Update(id, note)),
        (0..4_i64).prop_map(Step::Delete),
        any::<u16>().prop_map(Step::Publish),
        (any::<bool>(), any::<u8>()).prop_map(|(first, value)| Step::Set(first, value)),
        any::<bool>().prop_map(Step::Forget),
    ]
}

/// After a success the state is the model's; after a failure it is what it was. Each case begins with what the last one left.
#[test]
fn any_sequence_is_done_wholly_or_not_at_all() {
    let world = World::embedded(controllers(), TABLES);
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        max_shrink_iters: 32,
        failure_persistence: None,
        ..Config::default()
    });
    let ends = prop_oneof![Just("return"), Just("raise"), Just("break")];
    let cases = (proptest::collection::vec(step(), 1..10), ends);
    let before = std::cell::RefCell::new(observe(&world));
    let outcome = runner.run(&cases, |(steps, end)| {
        let mut expected = before.borrow().clone();
        if end == "return" {
            for step in &steps {
                step.apply(&mut expected);
            }
        }
        let texts: Vec<Value> = steps.iter().map(Step::as_json).collect();
        let answer = act(&world, "Act", &json!(texts), end);
        let after = observe(&world);
        before.replace(after.clone());
        prop_assert_eq!(answer.status == 200, end == "return", "{}", answer.body);
        prop_assert_eq!(&after, &expected);
        if end == "return" {
            let seen = &answer.body["result"]["seen"];
            prop_assert_eq!(&seen["rows"], &json!(after.rows));
            prop_assert_eq!(&seen["cache"], &json!(after.cache));
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
