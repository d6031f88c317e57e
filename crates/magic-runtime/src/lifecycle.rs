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
mod housekeeping;
pub(crate) mod refusal;
mod turn;
mod turns;
mod versions;

pub use deploy::{DeployOrder, Share, Step};
pub use turn::Moved;
pub use versions::{EventSummary, VersionSummary, Versions};

pub(crate) use deploy::{deploy, introduce};
pub(crate) use follow::{follow, start};
pub(crate) use turn::{delete, end_canary, roll_back, take_canary_back};
pub(crate) use versions::{pinned, unserved, versions};

use crate::deploy::Accepted;
use crate::deployment::Deployment;
use crate::runtime::Shared;
use crate::summary::Unserved;
use magic_contract::Failure;
use magic_store::state::{self, Link, Placed, State};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use turns::Turns;

/// The state, and how far this node has followed it.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    pub(crate) state: State,
    /// This node's name.
    pub(crate) node: String,
    /// Held by whoever makes the registry follow: one at a time.
    followed: tokio::sync::Mutex<Followed>,
    /// What was imported and waits for its commit.
    prepared: Mutex<BTreeMap<Prepared, Arc<Deployment>>>,
    /// Deploys of one controller take turns.
    turns: Turns,
    /// Held by whoever loads a version that somebody asked for by number.
    pinning: tokio::sync::Mutex<()>,
    /// Told when a deploy leaves something on disk that nothing uses.
    untidy: tokio::sync::Notify,
    /// Controllers that this node cannot serve as the state says, and why.
    troubles: Mutex<BTreeMap<String, String>>,
}

/// A controller and one content of one of its versions. The content belongs to
/// it: of two deploys that give one version different contents, the one that
/// loses must not serve under the winner's number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Prepared {
    controller: String,
    version: String,
    digest: String,
    packages_digest: Option<String>,
}

impl Prepared {
    fn new(controller: &str, placed: &Placed) -> Self {
        Self {
            controller: controller.to_owned(),
            version: placed.version.clone(),
            digest: placed.digest.clone(),
            packages_digest: placed.packages_digest.clone(),
        }
    }
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
            turns: Turns::default(),
            pinning: tokio::sync::Mutex::default(),
            untidy: tokio::sync::Notify::new(),
            troubles: Mutex::default(),
        }
    }

    fn prepared(&self) -> std::sync::MutexGuard<'_, BTreeMap<Prepared, Arc<Deployment>>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the state says of one controller; `None` if it serves nothing of it.
    async fn row(&self, name: &str) -> Result<Option<state::Deployment>, Failure> {
        let row = self.state.deployment(name).await;
        row.map_err(|error| refusal::of_state(&error))
    }

    /// What a version had when it was accepted.
    async fn accepted(&self, controller: &str, placed: &Placed) -> Result<Accepted, Failure> {
        let wheels = self.state.version_wheels(controller, &placed.version).await;
        Ok(Accepted {
            with_packages: placed.packages_digest.is_some(),
            wheels: wheels.map_err(|error| refusal::of_state(&error))?,
        })
    }

    fn troubles(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why this controller is not served as the state says, if it is not.
    pub(crate) fn trouble_of(&self, name: &str) -> Option<String> {
        self.troubles().get(name).cloned()
    }

    /// Why controllers are not served as the state says, by their names.
    pub(crate) fn unserved(&self) -> Vec<Unserved> {
        self.troubles()
            .iter()
            .map(|(name, why)| Unserved {
                name: name.clone(),
                why: why.clone(),
            })
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

/// The lifecycle of a runtime that has a state, and reaches it. Whoever asks
/// while it is known to be away is told at once, and does not wait for a
/// connection that nobody answers.
///
/// # Errors
///
/// E4005 where nothing is kept, as in a run from the command line, or where it
/// is away.
pub(crate) fn of(shared: &Shared) -> Result<&Lifecycle, Failure> {
    let lifecycle = shared.lifecycle.as_ref().ok_or_else(refusal::no_state)?;
    match *lifecycle.state.link().borrow() {
        Link::Connected { .. } => Ok(lifecycle),
        Link::Lost { since } => Err(refusal::away(since)),
    }
}
