//! The tables against each other; what the kernel makes of them is tested with real programs.

use std::collections::BTreeMap;

use super::{allowed_calls, architecture, compile, denied};

fn judged() -> Vec<(&'static str, i64)> {
    let refused = denied::KILLED
        .iter()
        .chain(denied::DENIED)
        .chain(architecture::DENIED)
        .flat_map(|group| group.calls.iter().copied());
    let unknown = denied::UNANSWERED
        .iter()
        .map(|(name, number, _)| (*name, *number))
        .chain(architecture::UNKNOWN.iter().copied());
    allowed_calls()
        .map(|call| (call.name, call.number))
        .chain(refused)
        .chain(unknown)
        .collect()
}

/// A call in two tables would have two reasons, and one of them would be wrong.
#[test]
fn every_call_is_judged_once() {
    let mut seen = BTreeMap::new();
    for (name, number) in judged() {
        assert_eq!(seen.insert(number, name), None, "{name} is judged twice");
    }
}

/// Up to `futex_waitv` (449) the numbers have no gaps that a C library could use.
#[test]
#[cfg(target_arch = "x86_64")]
fn every_known_number_is_judged() {
    let judged: Vec<i64> = judged().into_iter().map(|(_, number)| number).collect();
    // 335 to 423 were never given out on this architecture.
    let missing: Vec<i64> = (0..335)
        .chain(424..=449)
        .filter(|number| !judged.contains(number))
        .collect();
    assert_eq!(missing, Vec::<i64>::new());
}

#[test]
fn every_reason_is_a_sentence() {
    let reasons = allowed_calls().map(|call| call.reason).chain(
        denied::KILLED
            .iter()
            .chain(denied::DENIED)
            .chain(architecture::DENIED)
            .map(|group| group.reason),
    );
    for reason in reasons {
        assert!(reason.len() > 8 && reason.ends_with('.'), "{reason:?}");
    }
}

/// The kernel takes at most 4,096 instructions a program and 32,768 in all.
#[test]
fn programs_are_small() {
    let filters = compile([1, 2, 3]).expect("the tables compile");
    for program in &filters.0 {
        assert!(program.len() < 2_000, "{} instructions", program.len());
    }
}
