//! Ending processes and taking their groups back, off the path of an answer.
//!
//! Whatever a request leaves (a worker that waits to be killed, threads,
//! children, children of children) is in its control group and its process
//! namespace. So nothing is searched for: the group goes back into the pool only
//! when it is seen to be empty, and if it is not so when the worker has ended, it
//! is killed as a whole.

use crate::admission::Permit;
use crate::history::Draft;
use crate::leaves::Leaves;
use crate::process::Process;
use magic_sandbox::{Lap, Leaf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// A process that has not ended so long after its SIGKILL is reported.
const PATIENCE: Duration = Duration::from_secs(5);

/// A process that has not ended so long after its SIGKILL is ended with its
/// whole group, of which it may have used up the processor time. Longer than a
/// busy host takes to give a process the moment that it needs to end: the other
/// way costs more, and would come just when there is the least time for it.
const ALONE: Duration = Duration::from_millis(50);
/// How often, and after which pauses, a group is looked at that may be empty.
const LOOKS: usize = 3;
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Cleans up in tasks of its own and knows when all of them are done.
#[derive(Debug, Clone)]
pub(crate) struct Cleaner {
    leaves: Arc<Leaves>,
    tasks: TaskTracker,
    handle: Handle,
}

impl Cleaner {
    /// A cleaner whose tasks run on the event loop of the current task.
    pub(crate) fn new(leaves: Arc<Leaves>) -> Self {
        Self {
            leaves,
            tasks: TaskTracker::new(),
            handle: Handle::current(),
        }
    }

    /// Ends a worker. Its share of the permit is given back when it is gone, and
    /// what its group has used is told to the draft of its request.
    pub(crate) fn worker(
        &self,
        process: Arc<Process>,
        leaf: Option<Leaf>,
        permit: Option<Arc<Permit>>,
        draft: Option<Arc<Draft>>,
    ) {
        let leaves = self.leaves.clone();
        self.tasks.spawn_on(
            async move {
                let used = end(&process, leaf, &leaves).await;
                drop(permit);
                if let (Some(draft), Some(used)) = (draft, used) {
                    draft.used(used);
                }
            },
            &self.handle,
        );
    }

    /// Ends a template and reaps it: the supervisor is its parent.
    pub(crate) fn template(&self, process: Arc<Process>, leaf: Option<Leaf>) {
        let leaves = self.leaves.clone();
        self.tasks.spawn_on(
            async move {
                end(&process, leaf, &leaves).await;
                if let Err(error) = process.pidfd().wait() {
                    tracing::debug!(%error, "a template was not reaped");
                }
            },
            &self.handle,
        );
    }

    /// Runs a task that ends when its processes have: the reading of their
    /// output, the keeping of a stock. It counts among what is waited for.
    pub(crate) fn track(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.handle);
    }

    /// Waits until everything that was to be cleaned up is.
    pub(crate) async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }
}

/// Ends everything; what its group has used, if it had one.
async fn end(process: &Arc<Process>, leaf: Option<Leaf>, leaves: &Arc<Leaves>) -> Option<Lap> {
    // Through its descriptor and not through the group: that waits for nobody,
    // and most workers have started nothing that would be left.
    process.kill();
    let Some(leaf) = leaf else {
        if !process.ended_within(PATIENCE).await {
            tracing::error!("a process has not ended {PATIENCE:?} after its SIGKILL");
        }
        return None;
    };
    if only_one_counts(&leaf) {
        process.ended_within(ALONE).await;
        for _ in 0..LOOKS {
            match leaf.counted_tasks() {
                Ok(Some(0)) => {
                    let used = leaf.lap();
                    leaves.give_back_empty(leaf);
                    return Some(used);
                }
                // The kernel counts a process for a moment after it has told its end.
                Ok(Some(1)) => tokio::time::sleep(LOOK_AGAIN).await,
                _ => break,
            }
        }
    }
    let leaves = leaves.clone();
    let killing = tokio::task::spawn_blocking(move || {
        let killed = leaf.kill(PATIENCE);
        if let Err(error) = &killed {
            tracing::error!(%error, "a control group could not be emptied");
        }
        // Whoever gets the group next begins to count here.
        let used = leaf.lap();
        leaves.give_back(leaf);
        used
    });
    let killed = killing.await;
    if killed.is_err() || !process.ended_within(PATIENCE).await {
        tracing::error!("a process has not ended {PATIENCE:?} after its SIGKILL");
    }
    killed.ok()
}

/// Whether there is nobody to end but the worker itself.
fn only_one_counts(leaf: &Leaf) -> bool {
    matches!(leaf.counted_tasks(), Ok(Some(0 | 1)))
}
