//! Control groups: limits that no process can escape by forking.

mod error;

use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::layers::Enforcement;

pub use error::GroupError;

/// Limits of one group. `None` means no limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Memory in bytes; swap is never given on top.
    pub memory_bytes: Option<u64>,
    /// Processor time in thousandths of one processor.
    pub cpu_millicores: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// What a group has used since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Processes that the out-of-memory killer took.
    pub oom_kills: u64,
    /// The highest memory use in bytes.
    pub memory_peak_bytes: u64,
    /// Processor time in microseconds.
    pub cpu_micros: u64,
}

/// The subtree that this process may divide.
#[derive(Debug)]
pub struct Groups {}

/// One group for one program.
#[derive(Debug)]
pub struct Leaf {}

impl Groups {
    /// Finds where this process lies and makes the subtree `magic-<name>-…` below it, after removing the subtrees of
    /// supervisors that are gone.
    ///
    /// # Errors
    /// Nothing is delegated to this process, or no control groups are mounted.
    pub fn discover(name: &str) -> Result<Self, GroupError> {
        let _ = name;
        Err(GroupError::NotMounted)
    }

    /// Makes a leaf.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn create_leaf(&self, name: &str) -> Result<Leaf, GroupError> {
        let _ = name;
        Err(GroupError::NotMounted)
    }

    /// Removes the subtree; every leaf must be gone.
    ///
    /// # Errors
    /// Something is still inside.
    pub fn remove(self) -> Result<(), GroupError> {
        Ok(())
    }
}

impl Leaf {
    /// Sets the limits; writes only what changed.
    ///
    /// # Errors
    /// The kernel refuses a value.
    pub fn set_limits(&mut self, limits: &Limits) -> Result<(), GroupError> {
        let _ = limits;
        Ok(())
    }

    /// Moves a process into the group.
    ///
    /// # Errors
    /// The process is gone or the kernel refuses.
    pub fn attach(&self, pid: i32) -> Result<(), GroupError> {
        let _ = pid;
        Ok(())
    }

    /// Reads the counters.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn usage(&self) -> Result<Usage, GroupError> {
        Ok(Usage::default())
    }

    /// Kills everything inside and waits until it is empty, or `patience` is over.
    ///
    /// # Errors
    /// Something still runs after `patience`.
    pub fn kill(&self, patience: Duration) -> Result<(), GroupError> {
        let _ = patience;
        Ok(())
    }

    /// Whether no process is inside.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn is_empty(&self) -> Result<bool, GroupError> {
        Ok(true)
    }

    /// The processes inside, in our pid namespace's numbers.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn pids(&self) -> Result<Vec<i32>, GroupError> {
        Ok(Vec::new())
    }

    /// Removes the group.
    ///
    /// # Errors
    /// It is still busy after a bounded number of tries.
    pub fn remove(self) -> Result<(), GroupError> {
        Ok(())
    }

    pub(crate) fn join_descriptors(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    pub(crate) fn enforcement(&self) -> Enforcement {
        Enforcement::Absent("not built yet".to_owned())
    }
}
