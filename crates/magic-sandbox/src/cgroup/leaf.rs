//! One group for one program: limits, counters, and an end that leaves nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::hierarchy::Hierarchy;
use super::lap::{Lap, Meter};
use super::{GroupError, Limits, files};
use crate::layers::Enforcement;
use crate::pidfd::PidFd;

/// What a group has used since it was made. A group that is handed on keeps counting: who compares
/// takes differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Processes that the out-of-memory killer took.
    pub oom_kills: u64,
    /// Memory charged now, in bytes.
    pub memory_bytes: u64,
    /// The highest memory use in bytes; 0 where the kernel does not tell.
    pub memory_peak_bytes: u64,
    /// Processor time in microseconds.
    pub cpu_micros: u64,
}

/// One group for one program.
///
/// The files by which processes are moved, counted and killed stay open, so that using a leaf needs no
/// path and few system calls. The list of processes does not: version 1 keeps the list that an open
/// file has shown once for as long as it is read again within a second.
#[derive(Debug)]
pub struct Leaf {
    hierarchy: Arc<dyn Hierarchy>,
    name: PathBuf,
    /// What was written last; a lock, so that a group can be killed while somebody else reads it.
    limits: Mutex<Limits>,
    joins: Vec<OwnedFd>,
    tasks: Option<OwnedFd>,
    kill: Option<OwnedFd>,
    oom_kills: Option<OwnedFd>,
    /// A lock for the same reason.
    meter: Mutex<Meter>,
}

impl Leaf {
    pub(super) fn create(
        hierarchy: Arc<dyn Hierarchy>,
        base: &str,
        name: &str,
    ) -> Result<Self, GroupError> {
        let name = Path::new(base).join(name);
        let mut leaf = Self {
            hierarchy,
            name,
            limits: Mutex::new(Limits::default()),
            joins: Vec::new(),
            tasks: None,
            kill: None,
            oom_kills: None,
            meter: Mutex::default(),
        };
        for directory in leaf.directories() {
            if let Err(source) = std::fs::create_dir(&directory) {
                let failure = GroupError::Create {
                    path: directory,
                    source,
                };
                // What was made so far goes again; what existed before stays busy or stays empty.
                if !leaf.joins.is_empty() {
                    let _ = leaf.remove();
                }
                return Err(failure);
            }
            leaf.joins
                .push(files::open_writer(directory.join("cgroup.procs"))?);
        }
        leaf.tasks = leaf
            .hierarchy
            .tasks_file(&leaf.name)
            .map(files::open_reader)
            .transpose()?;
        leaf.oom_kills = leaf
            .hierarchy
            .oom_kills_file(&leaf.name)
            .map(files::open_reader)
            .transpose()?;
        leaf.kill = leaf
            .hierarchy
            .kill_file(&leaf.name)
            .map(files::open_writer)
            .transpose()?;
        *leaf.meter() = Meter::of(&*leaf.hierarchy, &leaf.name);
        Ok(leaf)
    }

    /// The directories of the group, one for each tree.
    #[must_use]
    pub fn directories(&self) -> Vec<PathBuf> {
        let join = |parent: &PathBuf| parent.join(&self.name);
        self.hierarchy.parents().iter().map(join).collect()
    }

    /// Sets the limits; writes only what changed since the last call.
    ///
    /// # Errors
    /// The kernel refuses a value, or cannot shrink the group below what it uses.
    pub fn set_limits(&self, limits: &Limits) -> Result<(), GroupError> {
        let mut written = self.written();
        self.hierarchy.set_limits(&self.name, &written, limits)?;
        *written = *limits;
        Ok(())
    }

    /// Moves a process, with all its threads, into the group.
    ///
    /// A number may be reused: the caller holds a [`PidFd`] of the process and asks it, after this
    /// call, whether the process still lives.
    ///
    /// # Errors
    /// `ESRCH` inside if the process is gone.
    pub fn attach(&self, pid: i32) -> Result<(), GroupError> {
        let value = pid.to_string();
        for (join, directory) in self.joins.iter().zip(self.directories()) {
            rustix::io::write(join, value.as_bytes()).map_err(|source| GroupError::Write {
                path: directory.join("cgroup.procs"),
                value: value.clone(),
                source: source.into(),
            })?;
        }
        Ok(())
    }

    /// Reads the counters.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn usage(&self) -> Result<Usage, GroupError> {
        self.hierarchy.usage(&self.name)
    }

    /// Reads what was used since the group was made or this was last asked, and begins to count anew:
    /// how a group that is handed on tells of one program. Two small reads of open files, and a write.
    #[must_use]
    pub fn lap(&self) -> Lap {
        self.meter().lap(&self.name)
    }

    /// Reads how many processes the out-of-memory killer took: the one counter of [`Leaf::usage`] that
    /// is asked for with every program.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn oom_kills(&self) -> Result<u64, GroupError> {
        match &self.oom_kills {
            Some(file) => Ok(files::keyed(
                &files::reread_short(file, &self.name)?,
                "oom_kill",
            )),
            None => Ok(0),
        }
    }

    /// Starts the count of the memory peak anew, where the kernel can (version 1).
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn reset_peak(&self) -> Result<(), GroupError> {
        self.hierarchy.reset_peak(&self.name)
    }

    /// Kills everything inside and waits until it is empty, or `patience` is over. The limit of
    /// processor time is lifted for that; the next [`Leaf::set_limits`] sets it again.
    ///
    /// # Errors
    /// [`GroupError::StillRunning`] after `patience`.
    pub fn kill(&self, patience: Duration) -> Result<(), GroupError> {
        let deadline = Instant::now() + patience;
        if self.pids()?.is_empty() {
            return Ok(());
        }
        match &self.kill {
            Some(kill) => {
                match rustix::io::write(kill, b"1").map_err(io::Error::from) {
                    Ok(_) => {}
                    // Removed meanwhile, which the kernel allows for empty groups only.
                    Err(error) if files::group_is_gone(&error) => return Ok(()),
                    Err(source) => {
                        return Err(GroupError::Write {
                            path: self.name.join("cgroup.kill"),
                            value: "1".to_owned(),
                            source,
                        });
                    }
                }
            }
            None => {
                self.written().pids = Some(0);
                self.hierarchy.forbid_processes(&self.name)?;
                self.unthrottle()?;
            }
        }
        let mut looked_before = false;
        loop {
            let pids = self.pids()?;
            if pids.is_empty() {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(GroupError::StillRunning {
                    path: self.name.clone(),
                    count: pids.len(),
                });
            }
            // A process that ended meanwhile cannot be opened; the next look will not list it.
            let processes: Vec<PidFd> = pids
                .iter()
                .filter_map(|pid| PidFd::open(*pid).ok())
                .collect();
            // A process that an interrupted attach left in only some of the trees is not in the one that
            // was killed as a whole, so that whoever is still there gets a signal of its own.
            if self.kill.is_none() || looked_before {
                // Most groups die at once; who does not may be out of processor time.
                self.unthrottle()?;
                // The numbers were read before the descriptors were opened, so one of them may name a
                // stranger by now. Who is still listed after that is really ours.
                let still = self.pids()?;
                for process in processes.iter().filter(|p| still.contains(&p.pid())) {
                    let _ = process.kill();
                }
            }
            let pause = if looked_before { 20 } else { 5 };
            wait_for_one(&processes, left.min(Duration::from_millis(pause)));
            looked_before = true;
        }
    }

    /// Whether no process is inside.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn is_empty(&self) -> Result<bool, GroupError> {
        Ok(self.pids()?.is_empty())
    }

    /// The processes inside any of the group's directories, by their numbers in our pid namespace.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn pids(&self) -> Result<Vec<i32>, GroupError> {
        let mut all = Vec::new();
        if self.counted_tasks()? == Some(0) {
            return Ok(all);
        }
        for directory in self.directories() {
            all.extend(files::read_pids(&directory.join("cgroup.procs"))?);
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    /// Removes the group. The kernel may answer EBUSY for some milliseconds after the last process
    /// has ended, so this tries again, for a second at most.
    ///
    /// # Errors
    /// It is still busy after that.
    pub fn remove(self) -> Result<(), GroupError> {
        let directories = self.directories();
        drop((self.joins, self.tasks, self.kill, self.oom_kills));
        remove_directories(&directories)
    }

    /// How many tasks the kernel counts, threads included, and those that have ended and were not
    /// waited for. The tree that counts is the first that a process is moved into, so that with none
    /// counted nobody is in another one either.
    ///
    /// One system call that waits for nobody, unlike everything else about a group. `None` where the
    /// kernel does not count.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn counted_tasks(&self) -> Result<Option<u64>, GroupError> {
        let Some(file) = &self.tasks else {
            return Ok(None);
        };
        let content = files::reread_short(file, &self.name)?;
        match content.trim() {
            // A group that was removed has no tasks.
            "" => Ok(Some(0)),
            number => Ok(number.parse().ok()),
        }
    }

    /// Lifts the limit of processor time, once.
    fn unthrottle(&self) -> Result<(), GroupError> {
        if self.written().cpu_millicores.take().is_some() {
            self.hierarchy.unthrottle(&self.name)?;
        }
        Ok(())
    }

    /// A meter that was poisoned has at worst forgotten what it read last.
    fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A panic while the lock is held leaves plain numbers behind, which are still good.
    fn written(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn join_descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.joins.iter().map(AsFd::as_fd).collect()
    }

    pub(crate) fn enforcement(&self) -> Enforcement {
        self.hierarchy.enforcement()
    }
}

/// Waits until one of the processes has ended, or `patience` is over.
fn wait_for_one(processes: &[PidFd], patience: Duration) {
    let mut entries: Vec<PollFd<'_>> = processes
        .iter()
        .map(|process| PollFd::new(process, PollFlags::IN))
        .collect();
    let timeout = Timespec {
        tv_sec: patience.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: patience.subsec_nanos().into(),
    };
    // An interrupted wait is a shorter one; the caller looks again in any case.
    let _ = rustix::event::poll(&mut entries, Some(&timeout));
}

/// Removes empty groups, trying again while the kernel still holds them.
pub(super) fn remove_directories(directories: &[PathBuf]) -> Result<(), GroupError> {
    let deadline = Instant::now() + Duration::from_secs(1);
    for path in directories {
        loop {
            match std::fs::remove_dir(path) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error)
                    if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline =>
                {
                    wait_for_one(&[], Duration::from_millis(1));
                }
                Err(source) => {
                    return Err(GroupError::Remove {
                        path: path.clone(),
                        source,
                    });
                }
            }
        }
    }
    Ok(())
}
