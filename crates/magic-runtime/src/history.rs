//! What became of requests and what controllers wrote, kept in the runtime's state for all nodes.
//!
//! A request puts down what there is to say of it and goes on; tasks of their
//! own write that into the state, many at a time. Nothing here is on the path of
//! an answer, and nothing of it may be relied on as the audit log may: while the
//! state is away, what waits is bounded, and beyond the bound the oldest goes and
//! is counted.
//!
//! Run logs exist twice on purpose. The ring in memory is what an author looks at
//! who works on this machine (`magic dev` and `magic run` print from it at once),
//! and what is left to show when the state is away. Everybody else is answered
//! from the state, because only there are the lines of all nodes, in one order,
//! under numbers by which a reader can go on after a restart. So that nobody who
//! asks after an answer misses its lines, reading waits, within a bound, until
//! this node has written down what had come by then.

mod draft;
mod read;
mod ship;
mod sweep;

pub use read::{AuditHead, KeptLogLine, KeptLogs, NodeSummary};

pub(crate) use draft::Draft;

use magic_store::state::{Execution, State};
use magic_store::{AuditLog, Backlog, LogLine};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What may wait while the state is slow or away, in bytes.
const LINES_WAITING: usize = 32 << 20;
const EXECUTIONS_WAITING: usize = 16 << 20;

/// How long the last lines are waited for at the end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long what is kept of the past is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Log lines.
    pub logs: Duration,
    /// Executions.
    pub executions: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        Self {
            logs: 7 * day,
            executions: 30 * day,
        }
    }
}

/// What waits to be written, and how far it was.
#[derive(Debug)]
pub(crate) struct History {
    state: State,
    node: String,
    retention: Retention,
    lines: Arc<Backlog<Arc<LogLine>>>,
    executions: Backlog<Execution>,
    /// How many of all lines and executions that were ever put down have been dealt with.
    lines_settled: watch::Sender<u64>,
    executions_settled: watch::Sender<u64>,
    /// Somebody waits for lines, or for executions.
    lines_wanted: Notify,
    executions_wanted: Notify,
    /// Things that the state did not take, for another reason than being away.
    refused: AtomicU64,
    /// Whether it was told that the state does not take the end of the audit log.
    head_refused: AtomicBool,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl History {
    pub(crate) fn new(state: State, node: String, retention: Retention) -> Self {
        Self {
            state,
            node,
            retention,
            lines: Arc::new(Backlog::new(LINES_WAITING)),
            executions: Backlog::new(EXECUTIONS_WAITING),
            lines_settled: watch::Sender::new(0),
            executions_settled: watch::Sender::new(0),
            lines_wanted: Notify::new(),
            executions_wanted: Notify::new(),
            refused: AtomicU64::new(0),
            head_refused: AtomicBool::new(false),
            tasks: Mutex::default(),
        }
    }

    /// Where run logs put their lines.
    pub(crate) fn outlet(&self) -> Arc<Backlog<Arc<LogLine>>> {
        self.lines.clone()
    }

    /// Begins to write what was put down, to show where the audit log ends, and
    /// to forget what is old.
    pub(crate) fn start(self: &Arc<Self>, audit: AuditLog) {
        let started = [
            tokio::spawn(ship::lines(self.clone())),
            tokio::spawn(ship::executions(self.clone())),
            tokio::spawn(ship::heads(self.clone(), audit)),
            tokio::spawn(sweep::run(self.clone())),
        ];
        self.tasks().extend(started);
    }

    /// Waits a little for what was put down, and ends.
    pub(crate) async fn stop(&self, audit: &AuditLog) {
        let last = async {
            self.flush_lines().await;
            self.flush_executions().await;
            ship::head(self, audit).await;
        };
        if timeout(LAST_WORDS, last).await.is_err() {
            tracing::warn!("the last log lines were not written into the state in time");
        }
        for task in self.tasks().drain(..) {
            task.abort();
        }
    }

    /// Ends when every line that has come by now was dealt with.
    async fn flush_lines(&self) {
        let upto = self.lines.pushed();
        self.lines_wanted.notify_one();
        let mut settled = self.lines_settled.subscribe();
        // The sender is our own.
        let _ = settled.wait_for(|settled| *settled >= upto).await;
    }

    async fn flush_executions(&self) {
        let upto = self.executions.pushed();
        self.executions_wanted.notify_one();
        let mut settled = self.executions_settled.subscribe();
        let _ = settled.wait_for(|settled| *settled >= upto).await;
    }

    /// What was lost, for people.
    pub(crate) fn told_losses(&self) -> Option<String> {
        let lines = self.lines.dropped();
        let executions = self.executions.dropped();
        let refused = self.refused.load(Ordering::Relaxed);
        (lines + executions + refused > 0).then(|| {
            format!(
                "the runtime's state did not keep up: {lines} log lines and {executions} executions were dropped, {refused} refused"
            )
        })
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
