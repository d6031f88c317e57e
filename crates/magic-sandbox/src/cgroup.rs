//! Control groups: limits that no process can escape by forking.
//!
//! Hosts differ. Version 2 has one tree, which somebody must delegate; version 1 has a tree for each
//! controller; and a hybrid host has the controllers in version 1 beside a version 2 tree without any,
//! which is still the best way to kill a group. [`Groups::discover`] finds out which, and the two
//! implementations of [`hierarchy::Hierarchy`] hide the rest, so that the same tests run on both.
//!
//! The crate cgroups-rs does what it can express: it makes groups and sets limits through its
//! controller types, at the paths that we found. What it cannot do is done here: it takes version and
//! place from the constant path `/sys/fs/cgroup`, so it cannot find hybrid trees or a position that is
//! not the root; it has no `cgroup.kill`, no count of out-of-memory kills, no delegation, and it sleeps
//! between its attempts to remove a group.

mod error;
mod files;
mod hierarchy;
mod lap;
mod leaf;
mod position;
mod sweep;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::layers::Enforcement;
use hierarchy::Hierarchy;
use position::Positions;

pub use error::GroupError;
pub use lap::Lap;
pub use leaf::{Leaf, Usage};

/// Limits of one group. `None` means no limit of its own; the limits of groups above still hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Memory in bytes; swap is never given on top.
    pub memory_bytes: Option<u64>,
    /// Processor time in thousandths of one processor.
    pub cpu_millicores: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// The subtree that this process has made for its groups. Dropping it leaves the groups alone; the
/// next supervisor on this host sweeps them once this process is gone.
#[derive(Debug)]
pub struct Groups {
    hierarchy: Arc<dyn Hierarchy>,
    base: String,
}

impl Groups {
    /// Finds where this process lies, removes the subtrees of supervisors that are gone, and makes the
    /// subtree `magic-<name>-...`. On version 2 this process moves into a leaf of its own first, since
    /// a group with children that have controllers may hold no process itself.
    ///
    /// # Errors
    /// [`GroupError::NotDelegated`] or [`GroupError::NotMounted`] tell, by
    /// [`GroupError::advice`], which line to type.
    pub fn discover(name: &str) -> Result<Self, GroupError> {
        check_name(name)?;
        let positions = Positions::of_this_process()?;
        let hierarchy: Arc<dyn Hierarchy> = match v2::Unified::find(&positions)? {
            Some(unified) => Arc::new(unified),
            None => Arc::new(v1::Separate::find(&positions)?),
        };
        sweep::remove_stale(&*hierarchy);
        let base = sweep::own_name(name)?;
        for parent in hierarchy.parents() {
            let path = parent.join(&base);
            match std::fs::create_dir(&path) {
                Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                    sweep::remove_tree(&*hierarchy, &base);
                    return Err(refused(path, source));
                }
                _ => {}
            }
        }
        let groups = Self { hierarchy, base };
        groups.hierarchy.open_to_leaves(&groups.base)?;
        Ok(groups)
    }

    /// Makes a group for one program. It has no limits yet.
    ///
    /// # Errors
    /// The name is taken or is no name, or the kernel refuses.
    pub fn create_leaf(&self, name: &str) -> Result<Leaf, GroupError> {
        check_name(name)?;
        Leaf::create(Arc::clone(&self.hierarchy), &self.base, name)
    }

    /// Which kind of host this is: `v1`, `hybrid` or `v2`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.hierarchy.kind()
    }

    /// The directories that hold the leaves, one for each tree.
    #[must_use]
    pub fn directories(&self) -> Vec<PathBuf> {
        let join = |parent: &PathBuf| parent.join(&self.base);
        self.hierarchy.parents().iter().map(join).collect()
    }

    /// Removes the subtree, killing whatever is still inside.
    ///
    /// # Errors
    /// A directory stays busy after a bounded number of tries.
    pub fn remove(self) -> Result<(), GroupError> {
        sweep::remove_tree(&*self.hierarchy, &self.base);
        match self.directories().into_iter().find(|path| path.exists()) {
            None => Ok(()),
            Some(path) => Err(GroupError::Remove {
                path,
                source: io::ErrorKind::ResourceBusy.into(),
            }),
        }
    }
}

/// What [`Groups::discover`] would find, without making or moving anything: the kind of host, and what
/// its limits would amount to.
pub(crate) fn forecast() -> Result<(&'static str, Enforcement), GroupError> {
    let positions = Positions::of_this_process()?;
    if let Some((top, enforcement)) = v2::Unified::forecast(&positions)? {
        writable(&top)?;
        return Ok(("v2", enforcement));
    }
    let separate = v1::Separate::find(&positions)?;
    for parent in separate.parents() {
        writable(parent)?;
    }
    Ok((separate.kind(), separate.enforcement()))
}

fn writable(directory: &Path) -> Result<(), GroupError> {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).map_err(|error| {
        GroupError::NotDelegated {
            path: directory.to_path_buf(),
            source: error.into(),
        }
    })
}

/// A first `mkdir` that the kernel refuses means that nothing is delegated here.
fn refused(path: PathBuf, source: io::Error) -> GroupError {
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            GroupError::NotDelegated { path, source }
        }
        _ => GroupError::Create { path, source },
    }
}

fn check_name(name: &str) -> Result<(), GroupError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !name.is_empty() && name.len() <= 64 && name.bytes().all(fits) {
        Ok(())
    } else {
        Err(GroupError::Name(name.to_owned()))
    }
}
