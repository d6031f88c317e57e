//! Version 1: a tree for each controller, and the hybrid host with a version 2 tree beside them.
//!
//! A group is a directory of the same name in each tree. The version 2 tree of a hybrid host has no
//! controllers, but its `cgroup.kill` kills whatever is in it at once, so it is taken along.

use std::path::{Path, PathBuf};

use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;
use cgroups_rs::fs::{Controller, MaxValue};

use super::hierarchy::{CpuFile, Hierarchy, enforcement_of};
use super::position::Positions;
use super::{GroupError, Limits, Usage, files};
use crate::layers::Enforcement;

/// The period over which processor time is counted, in microseconds. A tenth of the kernel's default
/// would cost more switches; a longer one makes a throttled group stutter.
const PERIOD_MICROS: u64 = 100_000;

/// The trees of this host.
#[derive(Debug)]
pub(super) struct Separate {
    parents: Vec<PathBuf>,
    memory: Option<PathBuf>,
    cpu: Option<PathBuf>,
    accounting: Option<PathBuf>,
    pids: Option<PathBuf>,
    unified: Option<PathBuf>,
}

impl Separate {
    pub(super) fn find(positions: &Positions) -> Result<Self, GroupError> {
        let tree = |controller| {
            positions
                .of_controller(controller)
                .map(|position| position.directory.clone())
        };
        let found = Self {
            parents: Vec::new(),
            memory: tree("memory"),
            cpu: tree("cpu"),
            accounting: tree("cpuacct"),
            pids: tree("pids"),
            unified: positions.unified().map(|p| p.directory.clone()),
        };
        if found.memory.is_none() && found.cpu.is_none() && found.pids.is_none() {
            // Only a version 2 tree without controllers: somebody has to delegate them.
            return Err(match &found.unified {
                Some(path) => GroupError::NotDelegated {
                    path: path.clone(),
                    source: std::io::ErrorKind::Unsupported.into(),
                },
                None => GroupError::NotMounted,
            });
        }
        let mut parents: Vec<PathBuf> = [
            &found.pids,
            &found.memory,
            &found.cpu,
            &found.accounting,
            &found.unified,
        ]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
        // cpu and cpuacct are one tree on most hosts, and two on some.
        parents.dedup();
        Ok(Self { parents, ..found })
    }
}

#[cfg(test)]
impl Separate {
    /// The same host as if it had no version 2 tree.
    pub(super) fn without_unified(mut self) -> Self {
        if let Some(unified) = self.unified.take() {
            self.parents.retain(|parent| *parent != unified);
        }
        self
    }
}

impl Hierarchy for Separate {
    fn kind(&self) -> &'static str {
        if self.unified.is_some() {
            "hybrid"
        } else {
            "v1"
        }
    }

    fn parents(&self) -> &[PathBuf] {
        &self.parents
    }

    fn open_to_leaves(&self, _base: &str) -> Result<(), GroupError> {
        Ok(())
    }

    fn set_limits(&self, name: &Path, old: &Limits, new: &Limits) -> Result<(), GroupError> {
        if let Some(tree) = self
            .memory
            .as_ref()
            .filter(|_| old.memory_bytes != new.memory_bytes)
        {
            set_memory(&tree.join(name), old.memory_bytes, new.memory_bytes)?;
        }
        if let Some(tree) = self.pids.as_ref().filter(|_| old.pids != new.pids) {
            set_pids(&tree.join(name), new.pids)?;
        }
        if let Some(tree) = self
            .cpu
            .as_ref()
            .filter(|_| old.cpu_millicores != new.cpu_millicores)
        {
            set_cpu(&tree.join(name), new.cpu_millicores)?;
        }
        Ok(())
    }

    fn unthrottle(&self, name: &Path) -> Result<(), GroupError> {
        match &self.cpu {
            Some(tree) => set_cpu(&tree.join(name), None),
            None => Ok(()),
        }
    }

    fn forbid_processes(&self, name: &Path) -> Result<(), GroupError> {
        match &self.pids {
            Some(tree) => set_pids(&tree.join(name), Some(0)),
            None => Ok(()),
        }
    }

    fn kill_file(&self, name: &Path) -> Option<PathBuf> {
        let file = self.unified.as_ref()?.join(name).join("cgroup.kill");
        file.exists().then_some(file)
    }

    fn tasks_file(&self, name: &Path) -> Option<PathBuf> {
        Some(self.pids.as_ref()?.join(name).join("pids.current"))
    }

    fn oom_kills_file(&self, name: &Path) -> Option<PathBuf> {
        Some(self.memory.as_ref()?.join(name).join("memory.oom_control"))
    }

    fn cpu_file(&self, name: &Path) -> Option<CpuFile> {
        let tree = self.accounting.as_ref()?;
        Some(CpuFile::Nanoseconds(tree.join(name).join("cpuacct.usage")))
    }

    fn peak_file(&self, name: &Path) -> Option<PathBuf> {
        Some(
            self.memory
                .as_ref()?
                .join(name)
                .join("memory.max_usage_in_bytes"),
        )
    }

    fn usage(&self, name: &Path) -> Result<Usage, GroupError> {
        let mut usage = Usage::default();
        if let Some(tree) = &self.memory {
            let group = tree.join(name);
            usage.oom_kills = files::read_keyed(&group.join("memory.oom_control"), "oom_kill")?;
            usage.memory_bytes = files::read_number(&group.join("memory.usage_in_bytes"))?;
            usage.memory_peak_bytes = files::read_number(&group.join("memory.max_usage_in_bytes"))?;
        }
        if let Some(tree) = &self.accounting {
            let nanoseconds = files::read_number(&tree.join(name).join("cpuacct.usage"))?;
            usage.cpu_micros = nanoseconds / 1_000;
        }
        Ok(usage)
    }

    fn reset_peak(&self, name: &Path) -> Result<(), GroupError> {
        match &self.memory {
            Some(tree) => files::write(&tree.join(name).join("memory.max_usage_in_bytes"), "0"),
            None => Ok(()),
        }
    }

    fn enforcement(&self) -> Enforcement {
        enforcement_of(
            self.memory.is_some(),
            self.cpu.is_some(),
            self.pids.is_some(),
        )
    }
}

/// Memory, and memory with swap: the second may never be smaller than the first, so a limit that rises
/// moves it first and a limit that falls moves it last.
fn set_memory(group: &Path, old: Option<u64>, new: Option<u64>) -> Result<(), GroupError> {
    let memory = MemController::new(group.to_path_buf(), group.to_path_buf(), false);
    let value = limit(new);
    let swap_counted = group.join("memory.memsw.limit_in_bytes").exists();
    let rises = new.unwrap_or(u64::MAX) > old.unwrap_or(u64::MAX);
    let written = |result: cgroups_rs::fs::error::Result<()>, file: &str| {
        result.map_err(|error| failed(group.join(file), value, error))
    };
    if swap_counted && rises {
        written(
            memory.set_memswap_limit(value),
            "memory.memsw.limit_in_bytes",
        )?;
    }
    written(memory.set_limit(value), "memory.limit_in_bytes")?;
    if swap_counted && !rises {
        written(
            memory.set_memswap_limit(value),
            "memory.memsw.limit_in_bytes",
        )?;
    }
    Ok(())
}

fn set_pids(group: &Path, new: Option<u32>) -> Result<(), GroupError> {
    let pids = PidController::new(group.to_path_buf(), group.to_path_buf(), false);
    let value = new.map_or(MaxValue::Max, |count| MaxValue::Value(i64::from(count)));
    pids.set_pid_max(value)
        .map_err(|error| failed(pids.path().join("pids.max"), value, error))
}

fn set_cpu(group: &Path, new: Option<u32>) -> Result<(), GroupError> {
    let cpu = CpuController::new(group.to_path_buf(), group.to_path_buf(), false);
    let quota = new.map_or(-1, |millicores| {
        i64::from(millicores) * i64::try_from(PERIOD_MICROS / 1_000).unwrap_or(100)
    });
    if new.is_some() {
        cpu.set_cfs_period(PERIOD_MICROS)
            .map_err(|error| failed(group.join("cpu.cfs_period_us"), PERIOD_MICROS, error))?;
    }
    cpu.set_cfs_quota(quota)
        .map_err(|error| failed(group.join("cpu.cfs_quota_us"), quota, error))
}

fn limit(bytes: Option<u64>) -> i64 {
    bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// The library's errors carry the kernel's reason as their cause.
pub(super) fn failed(
    path: PathBuf,
    value: impl ToString,
    error: cgroups_rs::fs::error::Error,
) -> GroupError {
    GroupError::Write {
        path,
        value: value.to_string(),
        source: std::io::Error::other(error),
    }
}
