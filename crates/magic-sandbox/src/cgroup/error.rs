//! Why a control group could not be made, limited or emptied.

use std::io;
use std::path::PathBuf;

use crate::explanation;
use crate::probe::remedies;

/// Why a control group could not be made, limited or emptied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// Neither version of control groups is mounted.
    #[error("no control group file system is mounted")]
    NotMounted,
    /// This process may not make groups below its own.
    #[error("no control group is delegated to this process (tried {})", path.display())]
    NotDelegated {
        /// The directory in which a group was tried.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The group of this process holds others, which are not ours to move, so that it cannot be divided.
    #[error("this process shares its control group {} with {others} others", path.display())]
    Shared {
        /// The group.
        path: PathBuf,
        /// How many other processes.
        others: usize,
    },
    /// A name is not usable as a directory.
    #[error("{0:?} is no name for a control group")]
    Name(String),
    /// Making a group failed.
    #[error("cannot make the control group {}", path.display())]
    Create {
        /// The group.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// Opening or reading a file of a group failed.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// Writing a file of a group failed.
    #[error("cannot write {value:?} to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// Processes were still inside after the time given.
    #[error("{count} processes are still in the control group {}", path.display())]
    StillRunning {
        /// The group.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// Removing a group failed.
    #[error("cannot remove the control group {}", path.display())]
    Remove {
        /// The group.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
}

impl GroupError {
    /// What to type, where that would help.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::NotMounted | Self::NotDelegated { .. } | Self::Shared { .. } => {
                Some(remedies::control_groups())
            }
            _ => None,
        }
    }

    /// The error with its causes and what to type, for people.
    #[must_use]
    pub fn explanation(&self) -> String {
        explanation::of(self, self.advice())
    }
}
