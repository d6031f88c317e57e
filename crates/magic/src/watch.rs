//! Which controllers' folders have changed on disk, told once the writing has calmed down.
//!
//! Editors write in bursts: a temporary file, a rename, a backup. So changes are gathered until nothing has happened for a
//! moment, and only the *set* of folders is kept, which no flood of events can make large. When the kernel says that it lost
//! events, everything counts as changed.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// How long nothing must happen before changes are told.
const QUIET: Duration = Duration::from_millis(120);

/// How long a burst may put that off.
const LONGEST_BURST: Duration = Duration::from_secs(2);

/// What has changed under the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Names of folders right under the root, with anything in them.
    pub(crate) folders: BTreeSet<PathBuf>,
    /// Events were lost, or the root itself changed: look at everything.
    pub(crate) everything: bool,
}

/// Watches a folder until dropped.
#[derive(Debug)]
pub(crate) struct FolderWatch {
    shared: Arc<Shared>,
    /// Stops when dropped.
    _watcher: RecommendedWatcher,
}

#[derive(Debug, Default)]
struct Shared {
    changes: Mutex<Changes>,
    changed: Notify,
}

impl FolderWatch {
    /// Begins to watch.
    ///
    /// # Errors
    /// When the kernel has no watches left, with what to type.
    pub(crate) fn start(root: &Path) -> anyhow::Result<Self> {
        let root = root
            .canonicalize()
            .with_context(|| format!("cannot read the folder {}", root.display()))?;
        let shared = Arc::new(Shared::default());
        let told = Arc::clone(&shared);
        let watched = root.clone();
        let mut watcher = notify::recommended_watcher(move |event| told.take(event, &watched))
            .context("cannot watch files")?;
        watcher.watch(&root, RecursiveMode::Recursive).with_context(|| {
            format!(
                "cannot watch {}; if the system is out of watches, type: sysctl fs.inotify.max_user_watches=524288",
                root.display()
            )
        })?;
        Ok(Self {
            shared,
            _watcher: watcher,
        })
    }

    /// Waits for changes and for the quiet after them.
    pub(crate) async fn next(&self) -> Changes {
        loop {
            self.shared.changed.notified().await;
            let calm = async {
                while tokio::time::timeout(QUIET, self.shared.changed.notified())
                    .await
                    .is_ok()
                {}
            };
            // A burst that does not end is looked at all the same.
            let _ = tokio::time::timeout(LONGEST_BURST, calm).await;
            let changes = std::mem::take(&mut *self.shared.lock());
            if changes != Changes::default() {
                return changes;
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, event: notify::Result<Event>, root: &Path) {
        let mut changes = self.lock();
        match event {
            Ok(event) if event.need_rescan() => changes.everything = true,
            // Opening and reading changes nothing, and our own deploys do it.
            Ok(event) if matches!(event.kind, EventKind::Access(_)) => return,
            Ok(event) => {
                for path in &event.paths {
                    match relevant_folder(path, root) {
                        Relevant::Folder(name) => {
                            changes.folders.insert(name);
                        }
                        Relevant::Root => changes.everything = true,
                        Relevant::Nothing => {}
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "watching files failed; looking at everything");
                changes.everything = true;
            }
        }
        drop(changes);
        self.changed.notify_one();
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Relevant {
    Folder(PathBuf),
    Root,
    Nothing,
}

/// Which controller's folder a changed path belongs to. What Python and editors leave lying around belongs to none.
fn relevant_folder(path: &Path, root: &Path) -> Relevant {
    let Ok(relative) = path.strip_prefix(root) else {
        return Relevant::Nothing;
    };
    let mut names = Vec::new();
    for component in relative.components() {
        if let Component::Normal(name) = component {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    let Some(last) = names.last() else {
        return Relevant::Root;
    };
    let litter = names
        .iter()
        .any(|name| name.starts_with('.') || name == "__pycache__")
        || [".pyc", "~", ".swp", ".swx", ".tmp"]
            .iter()
            .any(|ending| last.ends_with(ending));
    if litter {
        return Relevant::Nothing;
    }
    Relevant::Folder(PathBuf::from(&names[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which changes count, and for whom.
    #[test]
    fn litter_is_ignored() {
        let root = Path::new("/c");
        for (path, relevant) in [
            ("/c/a/controller.py", Relevant::Folder("a".into())),
            ("/c/a", Relevant::Folder("a".into())),
            ("/c/a/b/helper.py", Relevant::Folder("a".into())),
            ("/c", Relevant::Root),
            ("/elsewhere/a", Relevant::Nothing),
            ("/c/a/__pycache__/x.pyc", Relevant::Nothing),
            ("/c/a/.controller.py.swp", Relevant::Nothing),
            ("/c/a/controller.py~", Relevant::Nothing),
            ("/c/.git/index", Relevant::Nothing),
        ] {
            assert_eq!(relevant_folder(Path::new(path), root), relevant, "{path}");
        }
    }

    /// Real files, real events: a burst of writes is told once, with the folder.
    #[tokio::test]
    async fn a_burst_is_told_once() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(root.path().join("a")).expect("a folder");
        let watch = FolderWatch::start(root.path()).expect("watches are left");
        for number in 0..20 {
            std::fs::write(root.path().join("a/controller.py"), number.to_string())
                .expect("a file");
        }
        let changes = tokio::time::timeout(Duration::from_secs(20), watch.next())
            .await
            .expect("changes within the deadline");
        assert_eq!(changes.folders, BTreeSet::from([PathBuf::from("a")]));
    }
}
