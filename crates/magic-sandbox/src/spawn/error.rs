//! Why a program did not start, and what to type.
//!
//! The errors of the jail travel as (step, number, detail); the sentence that helps is found here, on
//! the supervisor's side, where the host can still be asked why the kernel said no.

use std::io;
use std::process::ExitStatus;

use crate::explanation;
use crate::layers::Enforcement;
use crate::probe::remedies;
use crate::protocol::{JailFailure, Step};

/// Why a program did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// No socket for the conversation with the jail.
    #[error("cannot make the socket to the jail")]
    Socket(#[source] io::Error),
    /// The jail process cannot be started.
    #[error("cannot start the jail process")]
    StartJail(#[source] io::Error),
    /// The order cannot be sent.
    #[error("cannot send the order to the jail")]
    Order(#[source] io::Error),
    /// The jail's answer cannot be read, or did not come in time.
    #[error("cannot read the answer of the jail")]
    Answer(#[source] io::Error),
    /// The jail ended without an answer.
    #[error("the jail ended without an answer ({0})")]
    Silent(ExitStatus),
    /// Control group limits are required and not there in full.
    #[error("control group limits are required, but {0}")]
    Group(Enforcement),
    /// A step of the jail failed.
    #[error("the sandbox could not be built")]
    Jail(#[source] JailFailure),
}

impl SpawnError {
    /// The step of the jail that failed, if it got that far.
    #[must_use]
    pub const fn step(&self) -> Option<Step> {
        match self {
            Self::Jail(failure) => Some(failure.step),
            _ => None,
        }
    }

    /// A sentence on what to do about it, with the line to type where there is one.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Socket(_) | Self::Order(_) => None,
            Self::StartJail(_) => Some(
                "The jail is this executable started again: check that /proc is mounted and that \
                 the limit of processes (ulimit -u) is not reached."
                    .to_owned(),
            ),
            Self::Answer(_) | Self::Silent(_) => Some(
                "The jail was killed or hung: look for an out-of-memory kill in `journalctl -k`, and \
                 check that the executable calls enter_if_asked first in main."
                    .to_owned(),
            ),
            Self::Group(_) => Some(remedies::control_groups()),
            Self::Jail(failure) => remedies::for_step(failure),
        }
    }

    /// The error with its causes and what to type, for people.
    #[must_use]
    pub fn explanation(&self) -> String {
        explanation::of(self, self.advice())
    }
}
