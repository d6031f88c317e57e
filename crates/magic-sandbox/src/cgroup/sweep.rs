//! Subtrees carry their owner's identity in their name, so that what a dead supervisor left can be told
//! from what a living one uses.
//!
//! The name is `magic-<name>-<pid namespace>-<pid>-<start time>`. A process number alone comes back; with
//! the start time it does not, and numbers of another pid namespace say nothing here, so subtrees
//! from elsewhere are left alone.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::hierarchy::Hierarchy;
use super::{GroupError, files, leaf};
use crate::pidfd::PidFd;

const PREFIX: &str = "magic-";

/// The name of this process's own subtree.
pub(super) fn own_name(name: &str) -> Result<String, GroupError> {
    let pid = std::process::id();
    let started = start_time(&files::read(Path::new("/proc/self/stat"))?).unwrap_or(0);
    let namespace = pid_namespace();
    Ok(format!("{PREFIX}{name}-{namespace}-{pid}-{started}"))
}

fn pid_namespace() -> u64 {
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |metadata| metadata.ino())
}

/// Field 22 of `/proc/<pid>/stat`, counted behind the command's closing parenthesis (proc_pid_stat(5)).
fn start_time(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

/// Removes every subtree whose owner is gone. What cannot be removed now is left for the next start.
pub(super) fn remove_stale(hierarchy: &dyn Hierarchy) {
    let namespace = pid_namespace();
    let mut stale: Vec<String> = hierarchy
        .parents()
        .iter()
        .flat_map(|parent| children(parent))
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .filter(|name| is_stale(name, namespace))
        .collect();
    stale.sort_unstable();
    stale.dedup();
    for base in stale {
        remove_tree(hierarchy, &base);
    }
}

fn is_stale(name: &str, namespace: u64) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return false;
    };
    let mut parts = rest.rsplitn(4, '-').map(str::parse::<u64>);
    let (Some(Ok(started)), Some(Ok(pid)), Some(Ok(owners))) =
        (parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    if owners != namespace {
        return false;
    }
    let living = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    living.ok().as_deref().and_then(start_time) != Some(started)
}

/// Kills what is inside a subtree and removes it, as far as that goes.
pub(super) fn remove_tree(hierarchy: &dyn Hierarchy, base: &str) {
    for parent in hierarchy.parents() {
        let top = parent.join(base);
        let mut groups = children(&top);
        groups.push(top);
        for group in &groups {
            kill(group);
        }
    }
    for parent in hierarchy.parents() {
        let top = parent.join(base);
        let mut groups = children(&top);
        groups.push(top);
        // A group that stays busy is found again at the next start.
        let _ = leaf::remove_directories(&groups);
    }
}

fn kill(group: &Path) {
    if std::fs::write(group.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    for pid in files::read_pids(&group.join("cgroup.procs")).unwrap_or_default() {
        if let Ok(process) = PidFd::open(pid) {
            let still = files::read_pids(&group.join("cgroup.procs")).unwrap_or_default();
            if still.contains(&pid) {
                // It may have ended meanwhile, which is as good.
                let _ = process.kill();
            }
        }
    }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
