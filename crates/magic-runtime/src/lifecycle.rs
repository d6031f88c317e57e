//! Versions that arrive, change places and go while requests flow.
//!
//! What serves is written in the runtime's state, and every node makes its
//! registry follow it. So there is one way from a change to service, whoever
//! made it: a deploy on this node commits, and then follows like every other
//! node, only at once and with the template of its trial ready. The commit of
//! the state is the moment at which a deploy has taken place; a crash before it
//! leaves the old version, after it the new one, and in between there is
//! nothing.
//!
//! A node whose state is away goes on with what it has, refuses changes, and
//! catches up.

mod deploy;
mod examples;
mod follow;
mod refusal;
mod turn;
mod versions;

pub use deploy::{DeployOrder, Share, Step};
pub use turn::Moved;
pub use versions::VersionSummary;

pub(crate) use deploy::{deploy, introduce};
pub(crate) use follow::{follow, start};
pub(crate) use turn::{delete, end_canary, roll_back, take_canary_back};
pub(crate) use versions::{pinned, versions};

use crate::deployment::Deployment;
use crate::runtime::Shared;
use magic_contract::Failure;
use magic_store::state::State;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The state, and how far this node has followed it.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    pub(crate) state: State,
    /// This node's name.
    pub(crate) node: String,
    /// Held by whoever makes the registry follow: one at a time.
    followed: tokio::sync::Mutex<Followed>,
    /// Trials that were imported and wait for their commit, by name and version.
    prepared: Mutex<BTreeMap<(String, String), Arc<Deployment>>>,
    /// Controllers that this node cannot serve as the state says, and why.
    troubles: Mutex<BTreeMap<String, String>>,
}

#[derive(Debug, Default)]
struct Followed {
    /// The last change of the state that the registry shows.
    generation: Option<i64>,
}

impl Lifecycle {
    pub(crate) fn new(state: State, node: String) -> Self {
        Self {
            state,
            node,
            followed: tokio::sync::Mutex::default(),
            prepared: Mutex::default(),
            troubles: Mutex::default(),
        }
    }

    fn prepared(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), Arc<Deployment>>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn troubles(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why controllers are not served as the state says, by their names.
    pub(crate) fn told_troubles(&self) -> Vec<String> {
        self.troubles()
            .iter()
            .map(|(name, why)| format!("{name} is not served as deployed: {why}"))
            .collect()
    }
}

/// Who changes something, and why.
#[derive(Debug, Clone)]
pub struct Actor {
    /// As authentication names them.
    pub subject: String,
    /// In their own words, for the history.
    pub reason: Option<String>,
}

/// The lifecycle of a runtime that has a state.
///
/// # Errors
///
/// E4005 where nothing is kept, as in a run from the command line.
pub(crate) fn of(shared: &Shared) -> Result<&Lifecycle, Failure> {
    shared.lifecycle.as_ref().ok_or_else(refusal::no_state)
}
