//! What one version counts about itself.
//!
//! A request touches only the numbers of its own version, each an atomic, so that counting is never a lock that requests share.
//! Every label is from a closed set: codes, capabilities, causes, and the metrics that the contract declares. The numbers live as
//! long as their version does, so what is deleted vanishes from the next scrape.

use magic_broker::Measurement;
use magic_contract::{CapabilityKind, Contract, ErrorCode, Failure, Reason};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets of durations, in seconds.
const SECONDS: [f64; 15] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// How a request ends that has no code: well, or without anybody to tell.
const FURTHER: [&str; 2] = ["ok", "abandoned"];
const ENDS: usize = ErrorCode::ALL.len() + FURTHER.len();
const OK: usize = ErrorCode::ALL.len();
const ABANDONED: usize = OK + 1;

/// Why a worker was ended before it answered, or found dead.
pub(crate) const CAUSES: [&str; 7] = [
    "timeout",
    "memory",
    "system_call",
    "signal",
    "exited",
    "protocol",
    "abandoned",
];

/// The numbers of one version.
#[derive(Debug)]
pub(crate) struct Meters {
    requests: [AtomicU64; ENDS],
    pub(crate) duration: Distribution,
    /// Requests for which no worker was ready.
    pub(crate) cold_starts: AtomicU64,
    kills: [AtomicU64; CAUSES.len()],
    /// By capability, then by end; the last row is for methods of no capability.
    calls: Vec<[AtomicU64; ENDS]>,
    /// The metrics that the contract declares, by their names.
    own: Vec<Own>,
}

/// A metric of the controller's own. What it is shows when it is used.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) name: String,
    counted: AtomicBool,
    counter: Sum,
    pub(crate) observed: Distribution,
}

impl Own {
    /// The counter, if it was used as one.
    pub(crate) fn counter(&self) -> Option<f64> {
        let counted = self.counted.load(Ordering::Relaxed);
        counted.then(|| self.counter.get())
    }
}

fn zeros<const N: usize>() -> [AtomicU64; N] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

fn add_one(number: &AtomicU64) {
    number.fetch_add(1, Ordering::Relaxed);
}

fn word(end: usize) -> &'static str {
    ErrorCode::ALL
        .get(end)
        .map_or_else(|| FURTHER[end - ErrorCode::ALL.len()], |code| code.as_str())
}

impl Meters {
    pub(crate) fn new(contract: &Contract) -> Self {
        let own = contract.observability.metrics.iter().map(|name| Own {
            name: name.to_string(),
            counted: AtomicBool::new(false),
            counter: Sum::default(),
            observed: Distribution::default(),
        });
        Self {
            requests: zeros(),
            duration: Distribution::default(),
            cold_starts: AtomicU64::new(0),
            kills: zeros(),
            calls: (0..=CapabilityKind::ALL.len()).map(|_| zeros()).collect(),
            own: own.collect(),
        }
    }

    /// Counts a request; dropping it before its end is told counts it as abandoned.
    pub(crate) fn begin(self: &std::sync::Arc<Self>) -> Counting {
        Counting(Some(self.clone()))
    }

    /// Counts a capability call.
    pub(crate) fn call(
        &self,
        capability: Option<CapabilityKind>,
        ended: Result<(), ErrorCode>,
        cut_off: bool,
    ) {
        let all = CapabilityKind::ALL;
        let row = all.iter().position(|one| Some(*one) == capability);
        let end = match ended {
            _ if cut_off => ABANDONED,
            Ok(()) => OK,
            Err(code) => place(code),
        };
        add_one(&self.calls[row.unwrap_or(all.len())][end]);
    }

    /// Takes a measurement, if there is one; `false` if the contract declares no metric of that name.
    pub(crate) fn measure(&self, name: &str, measurement: Option<Measurement>) -> bool {
        let Some(own) = self.own.iter().find(|own| own.name == name) else {
            return false;
        };
        match measurement {
            Some(Measurement::Add(amount)) => {
                own.counter.add(amount);
                own.counted.store(true, Ordering::Relaxed);
            }
            None => {}
            Some(Measurement::Observe(value)) => own.observed.observe(value),
        }
        true
    }

    /// Requests by their end, those ends that took place.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> {
        happened(&self.requests)
    }

    /// Kills by cause.
    pub(crate) fn kills(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.kills.iter().map(|count| count.load(Ordering::Relaxed));
        CAUSES
            .into_iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
    }

    /// Calls by capability and end.
    pub(crate) fn calls(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.calls.iter().enumerate().flat_map(|(row, ends)| {
            let capability = CapabilityKind::ALL
                .get(row)
                .map_or("none", |kind| kind.as_str());
            happened(ends).map(move |(end, count)| (capability, end, count))
        })
    }

    /// The controller's own metrics.
    pub(crate) fn own(&self) -> &[Own] {
        &self.own
    }
}

fn happened(ends: &[AtomicU64; ENDS]) -> impl Iterator<Item = (&'static str, u64)> {
    ends.iter()
        .enumerate()
        .map(|(end, count)| (word(end), count.load(Ordering::Relaxed)))
        .filter(|(_, count)| *count > 0)
}

fn place(code: ErrorCode) -> usize {
    let position = ErrorCode::ALL.iter().position(|one| *one == code);
    position.expect("ALL has every code")
}

/// A request that is counted when it ends.
#[derive(Debug)]
pub(crate) struct Counting(Option<std::sync::Arc<Meters>>);

impl Counting {
    /// It has ended so.
    pub(crate) fn ended(mut self, ended: Result<(), &Failure>, after: Duration) {
        let Some(meters) = self.0.take() else {
            return;
        };
        let end = ended.map_or_else(|failure| place(failure.code), |()| OK);
        add_one(&meters.requests[end]);
        meters.duration.observe(after.as_secs_f64());
        let cause = ended.err().and_then(cause);
        let cause = cause.and_then(|cause| CAUSES.iter().position(|one| *one == cause));
        if let Some(cause) = cause {
            add_one(&meters.kills[cause]);
        }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        if let Some(meters) = &self.0 {
            add_one(&meters.requests[ABANDONED]);
            add_one(&meters.kills[CAUSES.len() - 1]);
        }
    }
}

/// Why the worker of a request that failed so did not answer.
fn cause(failure: &Failure) -> Option<&'static str> {
    let reason = || failure.reason();
    match failure.code {
        ErrorCode::Timeout => Some("timeout"),
        ErrorCode::MemoryExceeded => Some("memory"),
        ErrorCode::SandboxViolation => Some("system_call"),
        ErrorCode::ControllerFailed if reason() == Some(Reason::Signal.as_str()) => Some("signal"),
        ErrorCode::ControllerFailed if reason() == Some(Reason::Exited.as_str()) => Some("exited"),
        ErrorCode::ControllerFailed if reason() == Some(Reason::Protocol.as_str()) => {
            Some("protocol")
        }
        _ => None,
    }
}

/// A sum of numbers.
#[derive(Debug, Default)]
struct Sum(AtomicU64);

impl Sum {
    fn add(&self, amount: f64) {
        let more = |bits| Some((f64::from_bits(bits) + amount).to_bits());
        // It never gives up.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// How many values were how large.
#[derive(Debug, Default)]
pub(crate) struct Distribution {
    sum: Sum,
    /// The last bucket has no bound.
    buckets: [AtomicU64; SECONDS.len() + 1],
}

impl Distribution {
    pub(crate) fn observe(&self, value: f64) {
        let bucket = SECONDS.partition_point(|bound| *bound < value);
        self.sum.add(value);
        add_one(&self.buckets[bucket]);
    }

    /// Bounds and counts, each bucket for itself, and the sum. The count of all is the sum of the buckets, so that the two cannot
    /// disagree while others go on counting.
    pub(crate) fn read(&self) -> (f64, Vec<(f64, u64)>) {
        let bounds = SECONDS.into_iter().chain([f64::INFINITY]);
        let counts = self
            .buckets
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        (self.sum.get(), bounds.zip(counts).collect())
    }
}
