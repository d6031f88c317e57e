//! Where this process lies in each control group tree, as a directory that can be opened.
//!
//! `/proc/self/cgroup` names a path inside each tree, `/proc/self/mountinfo` where (a part of) the tree
//! is mounted. Neither alone is a directory: in a container the mounted part may begin anywhere, and
//! on an ordinary host this process is almost never at the root.

use std::path::{Path, PathBuf};

use super::{GroupError, files};

/// One tree and this process's directory in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// Controllers of a version 1 tree; empty for the version 2 tree.
    pub(super) controllers: Vec<String>,
    /// This process's own directory.
    pub(super) directory: PathBuf,
    /// Where the tree is mounted; nothing above it is ours to touch.
    pub(super) mount: PathBuf,
}

/// All trees that are mounted where this process can see them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Positions(Vec<Position>);

impl Positions {
    pub(super) fn of_this_process() -> Result<Self, GroupError> {
        let groups = files::read(Path::new("/proc/self/cgroup"))?;
        let mounts = files::read(Path::new("/proc/self/mountinfo"))?;
        let positions = Self::parse(&groups, &mounts);
        if positions.0.is_empty() {
            return Err(GroupError::NotMounted);
        }
        Ok(positions)
    }

    pub(super) fn parse(groups: &str, mounts: &str) -> Self {
        let mounts: Vec<Mount> = mounts.lines().filter_map(Mount::parse).collect();
        let position = |line: &str| {
            // "4:memory:/path", or "0::/path" for version 2.
            let mut parts = line.splitn(3, ':').skip(1);
            let controllers: Vec<String> = parts
                .next()?
                .split(',')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect();
            let path = parts.next()?;
            mounts
                .iter()
                .filter(|mount| mount.carries(&controllers))
                .find_map(|mount| {
                    Some(Position {
                        controllers: controllers.clone(),
                        directory: mount.directory(path)?,
                        mount: mount.point.clone(),
                    })
                })
        };
        Self(groups.lines().filter_map(position).collect())
    }

    /// The directory in the version 1 tree of `controller`.
    pub(super) fn of_controller(&self, controller: &str) -> Option<&Position> {
        self.0
            .iter()
            .find(|position| position.controllers.iter().any(|name| name == controller))
    }

    /// The directory in the version 2 tree.
    pub(super) fn unified(&self) -> Option<&Position> {
        self.0
            .iter()
            .find(|position| position.controllers.is_empty())
    }
}

/// One line of `mountinfo` that is a control group mount.
struct Mount {
    root: String,
    point: PathBuf,
    unified: bool,
    options: Vec<String>,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (head, tail) = line.split_once(" - ")?;
        let mut head = head.split(' ').skip(3);
        let root = unescape(head.next()?);
        let point = PathBuf::from(unescape(head.next()?));
        let mut tail = tail.split(' ');
        let kind = tail.next()?;
        let options = tail.nth(1)?.split(',').map(str::to_owned).collect();
        matches!(kind, "cgroup" | "cgroup2").then(|| Self {
            root,
            point,
            unified: kind == "cgroup2",
            options,
        })
    }

    fn carries(&self, controllers: &[String]) -> bool {
        if controllers.is_empty() {
            return self.unified;
        }
        !self.unified && controllers.iter().all(|name| self.options.contains(name))
    }

    /// The directory of the tree's `path`, if the mounted part reaches it.
    fn directory(&self, path: &str) -> Option<PathBuf> {
        let inside = Path::new(path).strip_prefix(&self.root).ok()?;
        // A path that climbs lies outside this process's cgroup namespace.
        let plain = inside
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        plain.then(|| self.point.join(inside))
    }
}

/// Undoes the octal escapes of `mountinfo` (space, tab, newline, backslash).
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}
