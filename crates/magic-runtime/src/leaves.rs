//! Control groups for workers, made once and used again.
//!
//! Making the directories of a group costs more than moving a process into
//! one, so a leaf goes back into the pool after its request, once it is empty.
//! Its counters keep counting; whoever uses them takes differences.

use magic_sandbox::{GroupError, Groups, Leaf, Limits};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// More idle leaves than this are removed rather than kept.
const KEPT: usize = 64;

/// The groups of one supervisor, or none where the host gives none.
#[derive(Debug)]
pub(crate) struct Leaves {
    groups: Mutex<Option<Groups>>,
    enforced: bool,
    idle: Mutex<Vec<Leaf>>,
    made: AtomicU64,
}

impl Leaves {
    pub(crate) fn new(groups: Option<Groups>) -> Self {
        Self {
            enforced: groups.is_some(),
            groups: Mutex::new(groups),
            idle: Mutex::default(),
            made: AtomicU64::new(0),
        }
    }

    /// Whether limits are enforced by groups here.
    pub(crate) fn enforced(&self) -> bool {
        self.enforced
    }

    /// An empty leaf with these limits; `None` where the host gives no groups.
    /// Writes files: not for a task of the event loop.
    pub(crate) fn take(&self, limits: &Limits) -> Result<Option<Leaf>, GroupError> {
        if !self.enforced {
            return Ok(None);
        }
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let leaf = match idle {
            Some(leaf) => leaf,
            None => self.make()?,
        };
        match leaf.set_limits(limits) {
            Ok(()) => Ok(Some(leaf)),
            Err(error) => {
                // A limit below what the group is still charged with is
                // refused by the kernel; such a leaf is not worth keeping.
                let _ = leaf.remove();
                tracing::debug!(%error, "a leaf did not take its limits and was replaced");
                let leaf = self.make()?;
                leaf.set_limits(limits)?;
                Ok(Some(leaf))
            }
        }
    }

    fn make(&self) -> Result<Leaf, GroupError> {
        let name = format!("leaf-{}", self.made.fetch_add(1, Ordering::Relaxed));
        match &*self.groups.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(groups) => groups.create_leaf(&name),
            None => Err(GroupError::NotMounted),
        }
    }

    /// Takes a leaf back. One that is not empty, or one too many, is removed.
    pub(crate) fn give_back(&self, leaf: Leaf) {
        let empty = leaf.is_empty().unwrap_or(false);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if empty && idle.len() < KEPT {
            idle.push(leaf);
            return;
        }
        drop(idle);
        if let Err(error) = leaf.remove() {
            tracing::warn!(%error, "a control group could not be removed");
        }
    }

    /// Takes back a leaf that was seen to be empty and nobody can enter any more.
    pub(crate) fn give_back_empty(self: &Arc<Self>, leaf: Leaf) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(leaf);
            return;
        }
        drop(idle);
        let leaves = self.clone();
        // Removing waits for the kernel.
        tokio::task::spawn_blocking(move || leaves.give_back(leaf));
    }

    /// Removes every idle leaf and the groups' own subtree, at the end of the
    /// supervisor. Nothing is made afterwards.
    pub(crate) fn remove_all(&self) -> Result<(), GroupError> {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for leaf in idle {
            leaf.remove()?;
        }
        match self
            .groups
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            Some(groups) => groups.remove(),
            None => Ok(()),
        }
    }
}
