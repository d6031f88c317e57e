//! Version 2: one tree, in which somebody must delegate a subtree with its controllers.
//!
//! A group whose children have controllers may hold no process itself (the root excepted), so this
//! process moves into a leaf `supervisor` before it opens its own group to children. Under systemd the
//! unit says `Delegate=yes`; with `DelegateSubgroup=` it is in a leaf already, and the parent carries
//! the attribute by which systemd marks a delegated group.

use std::io;
use std::path::{Path, PathBuf};

use cgroups_rs::fs::MaxValue;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;

use super::hierarchy::{CpuFile, Hierarchy, enforcement_of};
use super::position::{Position, Positions};
use super::v1::failed;
use super::{GroupError, Limits, Usage, files};
use crate::layers::Enforcement;

/// The leaf that this process moves into.
const SUPERVISOR: &str = "supervisor";
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
/// See the constant of the same name of version 1.
const PERIOD_MICROS: u64 = 100_000;

/// The delegated subtree.
#[derive(Debug)]
pub(super) struct Unified {
    parents: [PathBuf; 1],
    controllers: Vec<&'static str>,
}

impl Unified {
    /// The subtree of this process, or `None` if the version 2 tree has no controllers here.
    pub(super) fn find(positions: &Positions) -> Result<Option<Self>, GroupError> {
        let Some(position) = positions.unified() else {
            return Ok(None);
        };
        let top = delegated_top(position);
        let controllers = available(&top)?;
        if controllers.is_empty() {
            return Ok(None);
        }
        if must_be_left(&top, position) {
            move_into_leaf(&top)?;
        }
        open(&top, &controllers)?;
        Ok(Some(Self {
            parents: [top],
            controllers,
        }))
    }

    /// What [`Unified::find`] would find, without moving this process.
    pub(super) fn forecast(
        positions: &Positions,
    ) -> Result<Option<(PathBuf, Enforcement)>, GroupError> {
        let Some(position) = positions.unified() else {
            return Ok(None);
        };
        let top = delegated_top(position);
        let controllers = available(&top)?;
        if must_be_left(&top, position) {
            companions(&top)?;
        }
        let has = |name| controllers.contains(&name);
        Ok((!controllers.is_empty()).then(|| {
            let enforcement = enforcement_of(has("memory"), has("cpu"), has("pids"));
            (top, enforcement)
        }))
    }
}

/// Whether this process is in the group that is to be divided. Only the root of the whole tree may hold
/// processes and open itself to children; it is the one group without a type. The root of a
/// container's view has one.
fn must_be_left(top: &Path, position: &Position) -> bool {
    top == position.directory && top.join("cgroup.type").exists()
}

/// Which of the wanted controllers a group has.
fn available(group: &Path) -> Result<Vec<&'static str>, GroupError> {
    let available = files::read(&group.join("cgroup.controllers"))?;
    Ok(CONTROLLERS
        .into_iter()
        .filter(|wanted| available.split_whitespace().any(|name| name == *wanted))
        .collect())
}

/// The group that may be divided: our own, or its parent if we sit in a leaf made for us.
fn delegated_top(position: &Position) -> PathBuf {
    let own = &position.directory;
    let Some(parent) = own.parent().filter(|_| *own != position.mount) else {
        return own.clone();
    };
    let in_our_leaf = own.file_name().is_some_and(|name| name == SUPERVISOR);
    let marked = ["user.delegate", "trusted.delegate"].iter().any(|name| {
        let mut value = [0_u8; 1];
        rustix::fs::getxattr(parent, *name, &mut value).is_ok_and(|count| &value[..count] == b"1")
    });
    if in_our_leaf || marked {
        parent.to_path_buf()
    } else {
        own.clone()
    }
}

/// The other processes of the group that we may move; `Shared` if they are somebody else's.
fn companions(top: &Path) -> Result<Vec<i32>, GroupError> {
    let own = std::process::id();
    let mut others = files::read_pids(&top.join("cgroup.procs"))?;
    others.retain(|pid| u32::try_from(*pid) != Ok(own));
    // With process 1 of our pid namespace in the group, this is a container, and the group is its own:
    // whatever else is there came with us. Elsewhere other processes are not ours to move.
    if others.is_empty() || own == 1 || others.contains(&1) {
        Ok(others)
    } else {
        Err(GroupError::Shared {
            path: top.to_path_buf(),
            others: others.len(),
        })
    }
}

fn move_into_leaf(top: &Path) -> Result<(), GroupError> {
    // Asked first, so that a refusal leaves nothing behind.
    let companions = companions(top)?;
    let leaf = top.join(SUPERVISOR);
    match std::fs::create_dir(&leaf) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            return Err(GroupError::NotDelegated { path: leaf, source });
        }
        _ => {}
    }
    let procs = leaf.join("cgroup.procs");
    let mut moved = vec!["0".to_owned()];
    moved.extend(companions.iter().map(ToString::to_string));
    for pid in moved {
        match std::fs::write(&procs, &pid) {
            // It has ended meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(source) => {
                return Err(GroupError::NotDelegated {
                    path: procs,
                    source,
                });
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Lets the children of `group` have the controllers.
fn open(group: &Path, controllers: &[&str]) -> Result<(), GroupError> {
    let path = group.join("cgroup.subtree_control");
    let enabled = files::read(&path)?;
    for controller in controllers {
        if enabled.split_whitespace().any(|name| name == *controller) {
            continue;
        }
        // EBUSY: other processes are in the group, so that it was not made for us alone.
        std::fs::write(&path, format!("+{controller}")).map_err(|source| {
            GroupError::NotDelegated {
                path: path.clone(),
                source,
            }
        })?;
    }
    Ok(())
}

impl Hierarchy for Unified {
    fn kind(&self) -> &'static str {
        "v2"
    }

    fn parents(&self) -> &[PathBuf] {
        &self.parents
    }

    fn open_to_leaves(&self, base: &str) -> Result<(), GroupError> {
        open(&self.parents[0].join(base), &self.controllers)
    }

    fn set_limits(&self, name: &Path, old: &Limits, new: &Limits) -> Result<(), GroupError> {
        let group = self.parents[0].join(name);
        if self.controllers.contains(&"memory") && old.memory_bytes != new.memory_bytes {
            set_memory(&group, new.memory_bytes)?;
        }
        if self.controllers.contains(&"pids") && old.pids != new.pids {
            set_pids(&group, new.pids)?;
        }
        if self.controllers.contains(&"cpu") && old.cpu_millicores != new.cpu_millicores {
            set_cpu(&group, new.cpu_millicores)?;
        }
        Ok(())
    }

    fn unthrottle(&self, name: &Path) -> Result<(), GroupError> {
        if self.controllers.contains(&"cpu") {
            set_cpu(&self.parents[0].join(name), None)?;
        }
        Ok(())
    }

    fn forbid_processes(&self, name: &Path) -> Result<(), GroupError> {
        if self.controllers.contains(&"pids") {
            set_pids(&self.parents[0].join(name), Some(0))?;
        }
        Ok(())
    }

    fn kill_file(&self, name: &Path) -> Option<PathBuf> {
        let file = self.parents[0].join(name).join("cgroup.kill");
        file.exists().then_some(file)
    }

    fn tasks_file(&self, name: &Path) -> Option<PathBuf> {
        let file = self.parents[0].join(name).join("pids.current");
        self.controllers.contains(&"pids").then_some(file)
    }

    fn oom_kills_file(&self, name: &Path) -> Option<PathBuf> {
        let file = self.parents[0].join(name).join("memory.events");
        self.controllers.contains(&"memory").then_some(file)
    }

    fn cpu_file(&self, name: &Path) -> Option<CpuFile> {
        let file = self.parents[0].join(name).join("cpu.stat");
        Some(CpuFile::Keyed(file))
    }

    fn peak_file(&self, name: &Path) -> Option<PathBuf> {
        let file = self.parents[0].join(name).join("memory.peak");
        file.exists().then_some(file)
    }

    fn usage(&self, name: &Path) -> Result<Usage, GroupError> {
        let group = self.parents[0].join(name);
        let mut usage = Usage::default();
        if self.controllers.contains(&"memory") {
            usage.oom_kills = files::read_keyed(&group.join("memory.events"), "oom_kill")?;
            usage.memory_bytes = files::read_number(&group.join("memory.current"))?;
            // Linux 5.19; older kernels do not tell.
            usage.memory_peak_bytes = files::read_number(&group.join("memory.peak")).unwrap_or(0);
        }
        usage.cpu_micros = files::read_keyed(&group.join("cpu.stat"), "usage_usec")?;
        Ok(usage)
    }

    fn reset_peak(&self, _name: &Path) -> Result<(), GroupError> {
        // Version 2 counts the peak anew only for readers of the very descriptor that asked for it
        // (Linux 6.12), which is of no use to a group that is handed on.
        Ok(())
    }

    fn enforcement(&self) -> Enforcement {
        enforcement_of(
            self.controllers.contains(&"memory"),
            self.controllers.contains(&"cpu"),
            self.controllers.contains(&"pids"),
        )
    }
}

/// Memory without swap, and the whole group dies together: half a program is of no use to anyone.
fn set_memory(group: &Path, new: Option<u64>) -> Result<(), GroupError> {
    let memory = MemController::new(group.to_path_buf(), group.to_path_buf(), true);
    let value = new.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    if group.join("memory.swap.max").exists() {
        files::write(&group.join("memory.swap.max"), "0")?;
    }
    files::write(&group.join("memory.oom.group"), "1")?;
    memory
        .set_limit(value)
        .map_err(|error| failed(group.join("memory.max"), value, error))
}

fn set_pids(group: &Path, new: Option<u32>) -> Result<(), GroupError> {
    let pids = PidController::new(group.to_path_buf(), group.to_path_buf(), true);
    let value = new.map_or(MaxValue::Max, |count| MaxValue::Value(i64::from(count)));
    pids.set_pid_max(value)
        .map_err(|error| failed(group.join("pids.max"), value, error))
}

fn set_cpu(group: &Path, new: Option<u32>) -> Result<(), GroupError> {
    let quota = new.map_or_else(
        || "max".to_owned(),
        |millicores| (u64::from(millicores) * PERIOD_MICROS / 1_000).to_string(),
    );
    files::write(&group.join("cpu.max"), &format!("{quota} {PERIOD_MICROS}"))
}
