//! Trying a version on a share of the requests.
//!
//! The share is dealt evenly and not drawn: of any hundred requests in a row it
//! is exactly the percentage, so that a small share is tried at all and a large
//! one never gets more. Both sides are counted from the moment at which the
//! trial began, since an error rate of last week says nothing about this one.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A trial is not judged before the canary has answered so often: one failure
/// of three requests would be a rate of a third.
const ENOUGH: u64 = 20;

/// Which version a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Active,
    Canary,
}

/// What a trial shows so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    GoOn,
    /// The canary fails more often than it may; told once.
    Return,
}

/// Requests of one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) failures: u64,
}

impl Tally {
    fn note(&mut self, failed: bool) {
        self.requests += 1;
        self.failures += u64::from(failed);
    }

    /// Failures of all requests, from 0 to 1.
    #[expect(
        clippy::cast_precision_loss,
        reason = "nobody counts 2^53 requests of a trial"
    )]
    pub(crate) fn rate(self) -> f64 {
        if self.requests == 0 {
            return 0.0;
        }
        self.failures as f64 / self.requests as f64
    }
}

/// One trial, from its begin to its end.
#[derive(Debug)]
pub(crate) struct Trial {
    percent: u64,
    /// How much the canary's rate of failures may be above the active one's.
    margin: f64,
    dealt: AtomicU64,
    /// The canary has failed too often and gets nothing more here, whenever the
    /// state comes to say so.
    over: AtomicBool,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    active: Tally,
    canary: Tally,
    returned: bool,
}

impl Trial {
    pub(crate) fn new(percent: u8, margin: f64) -> Self {
        Self {
            percent: percent.min(100).into(),
            margin,
            dealt: AtomicU64::new(0),
            over: AtomicBool::new(false),
            counts: Mutex::default(),
        }
    }

    /// The share in percent.
    pub(crate) fn percent(&self) -> u64 {
        self.percent
    }

    /// Where the next request goes.
    pub(crate) fn next(&self) -> Side {
        if self.over.load(Ordering::Relaxed) {
            return Side::Active;
        }
        let number = self.dealt.fetch_add(1, Ordering::Relaxed) % 100;
        // The line through (0, 0) and (100, percent) takes a step here.
        if (number + 1) * self.percent / 100 > number * self.percent / 100 {
            Side::Canary
        } else {
            Side::Active
        }
    }

    /// Counts how a request ended.
    pub(crate) fn note(&self, side: Side, failed: bool) -> Verdict {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match side {
            Side::Active => counts.active.note(failed),
            Side::Canary => counts.canary.note(failed),
        }
        if counts.returned || !is_worse(counts.active, counts.canary, self.margin) {
            return Verdict::GoOn;
        }
        counts.returned = true;
        self.over.store(true, Ordering::Relaxed);
        Verdict::Return
    }

    /// Active and canary, so far.
    pub(crate) fn tallies(&self) -> (Tally, Tally) {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        (counts.active, counts.canary)
    }

    /// The return did not take place; it is told again with the next request.
    pub(crate) fn not_returned(&self) {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .returned = false;
    }
}

/// Whether the canary has shown enough to say that it fails too often.
fn is_worse(active: Tally, canary: Tally, margin: f64) -> bool {
    canary.requests >= ENOUGH && canary.rate() > active.rate() + margin
}

#[cfg(test)]
mod tests {
    use super::{Side, Tally, Trial, Verdict, is_worse};

    /// Of any hundred in a row, exactly the share.
    #[test]
    fn the_share_is_dealt_evenly() {
        for percent in [1_u8, 7, 10, 33, 50, 99] {
            let trial = Trial::new(percent, 0.1);
            let sides: Vec<_> = (0..300).map(|_| trial.next()).collect();
            for window in sides.windows(100) {
                let count = window.iter().filter(|side| **side == Side::Canary).count();
                assert_eq!(count, usize::from(percent));
            }
        }
    }

    /// When a canary goes back.
    #[test]
    fn a_canary_that_fails_more_often_is_returned_once() {
        let tally = |requests, failures| Tally { requests, failures };
        for (active, canary, worse) in [
            (tally(100, 0), tally(19, 19), false),
            (tally(100, 0), tally(20, 2), false),
            (tally(100, 0), tally(20, 3), true),
            (tally(100, 50), tally(20, 11), false),
            (tally(0, 0), tally(20, 20), true),
        ] {
            assert_eq!(
                is_worse(active, canary, 0.1),
                worse,
                "{active:?} {canary:?}"
            );
        }
        let trial = Trial::new(50, 0.0);
        let verdicts: Vec<_> = (0..30).map(|_| trial.note(Side::Canary, true)).collect();
        let told = verdicts.iter().filter(|told| **told == Verdict::Return);
        assert_eq!(told.count(), 1);
        // From then on nobody else meets it here.
        assert!((0..100).all(|_| trial.next() == Side::Active));
    }
}
