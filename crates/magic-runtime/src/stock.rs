//! The stock of one deployment: ready workers, made ahead of demand.
//!
//! Taking a worker is a lock and a pop. Making them is the work of one task,
//! the *keeper*, that owns the template, so that nothing about a template's
//! life needs a lock: it starts one when somebody waits, keeps the stock at its
//! target, replaces a template that ended, grew old or bred crashes, and lets
//! go of one that serves nobody.

mod keeper;

use crate::admission::no_place;
use crate::launcher::Launcher;
use crate::meters::Meters;
use crate::template::Template;
use crate::version::Version;
use crate::worker::Worker;
use keeper::Keeper;
use magic_contract::Failure;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// For so long a version that was just loaded is kept ready for its first
/// request. One that nobody asks for is then as cheap as one that nobody has
/// asked for in a long time: it has no process.
const FRESH: Duration = Duration::from_secs(30);

/// A handle on the stock; dropping it ends the keeper, the template and every
/// worker that waits.
#[derive(Debug)]
pub(crate) struct Stock {
    shared: Arc<Shared>,
    meters: Arc<Meters>,
}

/// How much there is, for whoever watches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Levels {
    /// Workers that are ready.
    pub(crate) ready: u64,
    /// Requests that wait for one.
    pub(crate) waiting: u64,
    /// Templates: one or none.
    pub(crate) templates: u64,
}

/// What takers and keeper share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the keeper.
    wake: Notify,
    /// Whether the keeper had a template when it last looked.
    has_template: AtomicBool,
}

#[derive(Debug)]
struct State {
    ready: VecDeque<Worker>,
    waiting: VecDeque<oneshot::Sender<Result<Worker, Failure>>>,
    /// When somebody last wanted a worker.
    last_taken: Option<Instant>,
    /// Until when it is kept ready although nobody has asked yet.
    fresh_until: Instant,
    /// Set when a worker died of a signal that suggests a damaged process.
    suspicious: bool,
    closed: bool,
}

impl Stock {
    /// A stock that begins with the template of a trial, if that still lives.
    pub(crate) fn new(
        launcher: Arc<Launcher>,
        version: Arc<Version>,
        template: Option<Arc<Template>>,
    ) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                waiting: VecDeque::new(),
                last_taken: None,
                fresh_until: match &template {
                    Some(_) => Instant::now() + FRESH,
                    // Nobody waits for it, so it is started when somebody does.
                    None => Instant::now(),
                },
                suspicious: false,
                closed: false,
            }),
            wake: Notify::new(),
            has_template: AtomicBool::new(template.is_some()),
        });
        let meters = version.meters.clone();
        let keeper = Keeper::new(launcher.clone(), version, shared.clone(), template);
        launcher.cleaner.track(keeper.run());
        Self { shared, meters }
    }

    /// How much there is now.
    pub(crate) fn levels(&self) -> Levels {
        let state = self.shared.lock();
        Levels {
            ready: state.ready.len() as u64,
            waiting: state.waiting.len() as u64,
            templates: u64::from(self.shared.has_template.load(Ordering::Relaxed)),
        }
    }

    /// Takes a ready worker, or waits for one.
    ///
    /// # Errors
    ///
    /// E3005 when none became ready in time; what the keeper says when there
    /// can be none, E3003 or E3002 for a controller that does not load.
    pub(crate) async fn take(&self, patience: Duration) -> Result<Worker, Failure> {
        let receiver = {
            let mut state = self.shared.lock();
            state.last_taken = Some(Instant::now());
            while let Some(worker) = state.ready.pop_front() {
                // A worker may have been killed while it waited, by a template
                // that ended for example.
                if worker.is_alive() {
                    // While others are ready, replacing this one can wait for
                    // the end of its request: a fork now would compete with it
                    // for a core.
                    let last = state.ready.is_empty();
                    drop(state);
                    if last {
                        self.shared.wake.notify_one();
                    }
                    return Ok(worker);
                }
            }
            let (sender, receiver) = oneshot::channel();
            state.waiting.push_back(sender);
            receiver
        };
        self.meters.cold_starts.fetch_add(1, Ordering::Relaxed);
        self.shared.wake.notify_one();
        match tokio::time::timeout(patience, receiver).await {
            Ok(Ok(taken)) => taken,
            Ok(Err(_)) => Err(no_place(
                "the controller was withdrawn while the request waited",
            )),
            Err(_) => Err(no_place("no worker became ready in time")),
        }
    }

    /// Tells that a request has ended, so that its worker is replaced.
    pub(crate) fn refill(&self) {
        self.shared.wake.notify_one();
    }

    /// Tells that a worker died in a way that makes its template suspicious.
    pub(crate) fn suspect(&self) {
        self.shared.lock().suspicious = true;
        self.shared.wake.notify_one();
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        let (ready, waiting) = {
            let mut state = self.shared.lock();
            state.closed = true;
            (
                std::mem::take(&mut state.ready),
                std::mem::take(&mut state.waiting),
            )
        };
        // Outside the lock, since dropping a worker runs code of its own.
        drop((ready, waiting));
        self.shared.wake.notify_one();
    }
}

impl State {
    /// Whether nobody has asked for so long that nothing is kept ready.
    fn is_idle(&self, patience: Duration) -> bool {
        match self.last_taken {
            Some(taken) => taken.elapsed() > patience,
            None => Instant::now() >= self.fresh_until,
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request waits for a worker.
    fn is_awaited(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// Gives a worker to who waits longest, or puts it into the stock.
    fn supply(&self, mut worker: Worker) {
        loop {
            let waiter = {
                let mut state = self.lock();
                match state.waiting.pop_front() {
                    None if state.closed => break,
                    None => {
                        state.ready.push_back(worker);
                        return;
                    }
                    Some(waiter) => waiter,
                }
            };
            match waiter.send(Ok(worker)) {
                Ok(()) => return,
                // The client went away while it waited.
                Err(Ok(refused)) => worker = refused,
                Err(Err(_)) => return,
            }
        }
    }

    /// Answers everybody who waits with the same failure.
    fn disappoint(&self, failure: &Failure) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        for waiter in waiting {
            // One who has gone away needs no answer.
            let _ = waiter.send(Err(failure.clone()));
        }
    }
}
