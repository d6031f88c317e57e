//! What a kind of host must be able to do; the rest of the module is the same for all.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use super::{GroupError, Limits, Usage};
use crate::layers::Enforcement;

/// Where a group's processor time is read.
#[derive(Debug)]
pub(super) enum CpuFile {
    /// One number, of nanoseconds (version 1).
    Nanoseconds(PathBuf),
    /// A line `usage_usec` (version 2).
    Keyed(PathBuf),
}

/// One arrangement of control group trees.
pub(super) trait Hierarchy: Debug + Send + Sync {
    /// Name of the kind, for reports.
    fn kind(&self) -> &'static str;

    /// The directories below which the subtree is made, one for each tree.
    fn parents(&self) -> &[PathBuf];

    /// Lets the children of the subtree `base` have controllers.
    fn open_to_leaves(&self, base: &str) -> Result<(), GroupError>;

    /// Changes the limits of the group `name` (relative to the parents) from `old` to `new`, writing
    /// only what differs.
    fn set_limits(&self, name: &Path, old: &Limits, new: &Limits) -> Result<(), GroupError>;

    /// Lifts the limit of processor time: a throttled group dies late.
    fn unthrottle(&self, name: &Path) -> Result<(), GroupError>;

    /// Forbids new processes, where that is the only way to win against a fork bomb.
    fn forbid_processes(&self, name: &Path) -> Result<(), GroupError>;

    /// The `cgroup.kill` file of the group, where there is one (Linux 5.14, version 2 trees).
    fn kill_file(&self, name: &Path) -> Option<PathBuf>;

    /// The file that counts the group's tasks, where they are limited.
    fn tasks_file(&self, name: &Path) -> Option<PathBuf>;

    /// The file with a line `oom_kill`, where memory is limited.
    fn oom_kills_file(&self, name: &Path) -> Option<PathBuf>;

    /// The file that counts processor time.
    fn cpu_file(&self, name: &Path) -> Option<CpuFile>;

    /// The file that holds the highest memory use, where the kernel keeps one.
    fn peak_file(&self, name: &Path) -> Option<PathBuf>;

    /// Reads the counters of the group.
    fn usage(&self, name: &Path) -> Result<Usage, GroupError>;

    /// Starts the count of the memory peak anew.
    fn reset_peak(&self, name: &Path) -> Result<(), GroupError>;

    /// What the limits of this host amount to.
    fn enforcement(&self) -> Enforcement;
}

/// Which of the three limits a host lacks, as an enforcement.
pub(super) fn enforcement_of(memory: bool, cpu: bool, pids: bool) -> Enforcement {
    let missing: Vec<&str> = [(memory, "memory"), (cpu, "cpu"), (pids, "pids")]
        .into_iter()
        .filter_map(|(there, name)| (!there).then_some(name))
        .collect();
    match missing.len() {
        0 => Enforcement::Full,
        3 => Enforcement::Absent("no controller is available".to_owned()),
        _ => Enforcement::Partial(format!("no controller for {}", missing.join(", "))),
    }
}
