//! What is deployed: versions, which of them are served, and how it came to that.
//!
//! A version means one content for ever: deploying it again with other bytes is a
//! conflict, also after the controller was deleted, because records and stored
//! answers name it. What is served is a pointer per controller; every operation
//! moves it in one transaction together with its event and the number of the
//! change, one at a time on all nodes together, so a crash leaves it where it was
//! or where it should be. An operation moves what its author has seen, and nothing
//! that somebody else has moved since.

use jiff::Timestamp;

use super::{StateError, VersionWheel};

mod change;
mod pointer;
mod read;

pub use pointer::CannotMove;

/// A version to deploy. Its bundle is to be put before.
#[derive(Debug, Clone)]
pub struct NewVersion {
    /// The controller's name.
    pub controller: String,
    /// The version, as its contract says it.
    pub version: String,
    /// The digest of its bundle.
    pub digest: String,
    /// The digest of its packages, if it has any.
    pub packages_digest: Option<String>,
    /// The wheels that its packages are made of, each to be put before. A version
    /// that is there without any is given them.
    pub wheels: Vec<VersionWheel>,
    /// The contract's text.
    pub contract: String,
    /// Whether it was allowed to break its contract.
    pub allow_breaking: bool,
    /// Who deploys it.
    pub by: String,
    /// Why, in their words.
    pub reason: Option<String>,
}

/// Who gets a version.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Placement {
    /// Everybody.
    Active,
    /// A share of the requests.
    Canary(CanaryShare),
}

/// The share of a canary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CanaryShare {
    /// Of a hundred requests, from 1 to 99.
    pub percent: u8,
    /// By how much its rate of errors may be above the active version's, from 0 to 1.
    pub error_margin: f64,
}

/// What became of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether anything changed; asking again for what holds already does not.
    pub changed: bool,
    /// The number of this change, or of the last one.
    pub generation: i64,
    /// What is active now; `None` after a delete.
    pub active: Option<String>,
    /// What was active before, if that changed.
    pub replaced: Option<String>,
}

/// A version with the digests of what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The version.
    pub version: String,
    /// The digest of its bundle.
    pub digest: String,
    /// The digest of its packages.
    pub packages_digest: Option<String>,
}

/// What is served of one controller.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// The controller's name.
    pub controller: String,
    /// What everybody gets.
    pub active: Placed,
    /// What some get instead.
    pub canary: Option<Canary>,
    /// Where a roll-back goes.
    pub previous: Option<String>,
    /// The number of the change that made it so.
    pub generation: i64,
    /// When that was.
    pub changed_at: Timestamp,
}

/// A version that is being tried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Canary {
    /// The version.
    pub placed: Placed,
    /// Who gets it.
    pub share: CanaryShare,
    /// Since when.
    pub since: Timestamp,
}

/// Everything that is served, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The number of the last change.
    pub generation: i64,
    /// By the controllers' names.
    pub deployments: Vec<Deployment>,
}

/// A version that was deployed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredVersion {
    /// The controller's name.
    pub controller: String,
    /// The version and its digests.
    pub placed: Placed,
    /// Whether it was allowed to break its contract.
    pub allow_breaking: bool,
    /// When it was deployed first.
    pub deployed_at: Timestamp,
    /// Who did.
    pub deployed_by: String,
    /// The number of that change.
    pub generation: i64,
}

/// What has happened to a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A version became the active one by being deployed.
    Deploy,
    /// An earlier version became the active one again.
    RollBack,
    /// The controller is not served any more.
    Delete,
    /// A version gets a share of the requests.
    CanaryBegin,
    /// The canary became the active version.
    CanaryPromote,
    /// The canary gets no requests any more.
    CanaryReturn,
}

impl EventKind {
    /// The word that is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::RollBack => "rollback",
            Self::Delete => "delete",
            Self::CanaryBegin => "canary_begin",
            Self::CanaryPromote => "canary_promote",
            Self::CanaryReturn => "canary_return",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [
            Self::Deploy,
            Self::RollBack,
            Self::Delete,
            Self::CanaryBegin,
            Self::CanaryPromote,
            Self::CanaryReturn,
        ]
        .into_iter()
        .find(|kind| kind.name() == name)
    }
}

/// One entry of a controller's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The controller's name.
    pub controller: String,
    /// What happened.
    pub kind: EventKind,
    /// The version that it is about.
    pub version: String,
    /// What was active before, if that changed.
    pub from: Option<String>,
    /// The share of a canary that begins.
    pub percent: Option<u8>,
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub by: String,
    /// Why, in their words.
    pub reason: Option<String>,
    /// The number of the change.
    pub generation: i64,
}

/// An operation on deployments failed; nothing was changed, but for
/// [`StateError::Uncertain`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeploymentError {
    /// The state failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no such controller.
    #[error("there is no controller {controller}; {}", there_is(there))]
    NoSuchController {
        /// What was asked for.
        controller: String,
        /// Which there are, at most 50.
        there: Vec<String>,
    },
    /// The controller has no such version.
    #[error("{controller} has no version {version}; {}", there_is(there))]
    NoSuchVersion {
        /// The controller.
        controller: String,
        /// What was asked for.
        version: String,
        /// Which there are, the newest first, at most 50.
        there: Vec<String>,
    },
    /// The version exists with another content.
    #[error(
        "version {version} of {controller} is deployed already with other {}; a version keeps its content for ever, so give it a new number",
        difference.name()
    )]
    VersionConflict {
        /// The controller.
        controller: String,
        /// The version.
        version: String,
        /// What differs.
        difference: Difference,
        /// The digest that it has.
        stored: String,
    },
    /// The bundle was not put, or was swept since.
    #[error("there is no bundle {digest}; put it before it is deployed")]
    NoSuchBundle {
        /// Its digest.
        digest: String,
    },
    /// A wheel was not put, or was swept since.
    #[error("there is no wheel {digest}; put it before its version is deployed")]
    NoSuchWheel {
        /// Its digest.
        digest: String,
    },
    /// The share of a canary makes no sense.
    #[error("a canary gets 1 to 99 percent, and its margin of errors lies between 0 and 1")]
    InvalidShare,
    /// Somebody else changed the controller after it was looked at for this change.
    #[error(
        "{controller} was changed while this was prepared, so nothing of it was done: {}; `magic versions {controller}` shows what holds now, and asking again decides on that",
        what_happened(by.as_deref(), active.as_deref())
    )]
    Overtaken {
        /// The controller.
        controller: String,
        /// What is active now.
        active: Option<String>,
        /// What happened to it last.
        by: Option<Box<Event>>,
    },
    /// The versions that are served do not allow it.
    #[error("{controller}: {why}")]
    CannotMove {
        /// The controller.
        controller: String,
        /// Why not.
        why: CannotMove,
    },
}

/// What differs between two contents of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// The bundle.
    Content,
    /// The packages beside it.
    Packages,
}

impl Difference {
    fn name(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Packages => "packages",
        }
    }
}

fn what_happened(last: Option<&Event>, active: Option<&str>) -> String {
    let Some(Event {
        kind, version, by, ..
    }) = last
    else {
        return "its history does not say by whom".to_owned();
    };
    let done = match kind {
        EventKind::Deploy => format!("version {version} was deployed by {by}"),
        EventKind::RollBack => format!("it was rolled back to {version} by {by}"),
        EventKind::Delete => return format!("it was deleted by {by}"),
        EventKind::CanaryBegin => format!("a canary of {version} was begun by {by}"),
        EventKind::CanaryPromote => format!("the canary {version} was promoted by {by}"),
        EventKind::CanaryReturn => format!("the canary {version} was taken back by {by}"),
    };
    match active {
        Some(active) => format!("{done}, and {active} is active now"),
        None => done,
    }
}

fn there_is(names: &[String]) -> String {
    match names {
        [] => "there are none".to_owned(),
        names => format!("there is {}", names.join(", ")),
    }
}
