//! The disk that forgets, seen from the test: see `faults.c`.

use std::fs::Metadata;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

/// What is durable of one folder.
pub(crate) struct Disk {
    place: tempfile::TempDir,
    root: PathBuf,
}

impl Disk {
    /// An empty disk, mounted below this folder, so to speak.
    pub(crate) fn below(root: &Path) -> Self {
        let disk = Self {
            place: tempfile::tempdir().expect("a temporary folder"),
            root: root.canonicalize().expect("our own folder"),
        };
        for folder in [disk.names(), disk.contents()] {
            std::fs::create_dir(folder).expect("our own folder");
        }
        disk
    }

    /// What makes a program write on it.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        vec![
            ("LD_PRELOAD", text(library())),
            ("FAULTS_FOLDER", text(&self.root)),
            ("FAULTS_DURABLE", text(self.place.path())),
            ("FAULTS_BREAK", text(&self.mark("failing"))),
            ("FAULTS_HOLD", text(&self.mark("holding"))),
            ("FAULTS_HELD", text(&self.mark("held"))),
        ]
    }

    /// From now on, syncing fails for every file whose path contains this.
    pub(crate) fn fail(&self, word: &str) {
        self.set("failing", word);
    }

    /// Syncing works again.
    pub(crate) fn mend(&self) {
        std::fs::remove_file(self.mark("failing")).expect("our own file");
    }

    /// From now on, syncing does not return for such files.
    pub(crate) fn hold(&self, word: &str) {
        self.set("holding", word);
    }

    /// Whether somebody waits in a sync.
    pub(crate) fn is_held(&self) -> bool {
        self.mark("held").exists()
    }

    /// Those who wait go on.
    pub(crate) fn let_go(&self) {
        std::fs::remove_file(self.mark("holding")).expect("our own file");
    }

    fn set(&self, mark: &str, word: &str) {
        let unfinished = self.place.path().join("mark.new");
        std::fs::write(&unfinished, word).expect("our own file");
        std::fs::rename(unfinished, self.mark(mark)).expect("our own file");
    }

    /// Takes away what was not synced below `root/name`, where no program runs any more.
    pub(crate) fn cut_power(&self, name: &str) {
        let live = self.root.join(name);
        let _ = std::fs::remove_dir_all(&live);
        let names = self.names().join(name);
        if names.join(NAMED).exists() {
            self.restore(&names, &live);
        }
        for folder in [self.names(), self.contents()] {
            std::fs::remove_dir_all(&folder).expect("our own folder");
            std::fs::create_dir(&folder).expect("our own folder");
        }
        if live.exists() {
            self.adopt(&live, &self.names().join(name));
        }
    }

    fn names(&self) -> PathBuf {
        self.place.path().join("names")
    }

    fn contents(&self) -> PathBuf {
        self.place.path().join("contents")
    }

    fn mark(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn restore(&self, names: &Path, live: &Path) {
        private_folder(live);
        same_permissions(names, live);
        for name in entries(names) {
            let (from, to) = (names.join(&name), live.join(&name));
            if from.is_dir() {
                if from.join(NAMED).exists() {
                    self.restore(&from, &to);
                }
            } else if name != NAMED {
                let identity = std::fs::read_to_string(&from).expect("our own file");
                let content = self.contents().join(identity);
                if content.exists() {
                    std::fs::copy(content, &to).expect("our own file");
                } else {
                    std::fs::write(&to, "").expect("our own file");
                    std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600))
                        .expect("our own file");
                }
            }
        }
    }

    /// What is there after the power is back is durable.
    fn adopt(&self, live: &Path, names: &Path) {
        private_folder(names);
        same_permissions(live, names);
        std::fs::write(names.join(NAMED), "").expect("our own file");
        for name in entries(live) {
            let (from, to) = (live.join(&name), names.join(&name));
            if from.is_dir() {
                self.adopt(&from, &to);
            } else {
                let identity = identity(&from.metadata().expect("our own file"));
                std::fs::copy(&from, self.contents().join(&identity)).expect("our own file");
                std::fs::write(to, identity).expect("our own file");
            }
        }
    }
}

/// In a folder of names: it has a durable name itself.
const NAMED: &str = ".named";

/// As `faults.c` writes it.
fn identity(metadata: &Metadata) -> String {
    let born = metadata.created().expect("a file system with birth times");
    let born = born.duration_since(UNIX_EPOCH).expect("a time after 1970");
    format!(
        "{}-{}-{:09}",
        metadata.ino(),
        born.as_secs(),
        born.subsec_nanos()
    )
}

fn private_folder(path: &Path) {
    std::fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(path)
        .expect("our own folder");
}

fn same_permissions(from: &Path, to: &Path) {
    let permissions = from.metadata().expect("our own folder").permissions();
    std::fs::set_permissions(to, permissions).expect("our own folder");
}

fn entries(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder)
        .expect("our own folder")
        .map(|entry| {
            let name = entry.expect("our own folder").file_name();
            name.into_string().expect("UTF-8")
        })
        .collect()
}

/// Compiled once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<tempfile::TempDir> = OnceLock::new();
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let folder = LIBRARY.get_or_init(|| tempfile::tempdir().expect("a temporary folder"));
        let library = folder.path().join("faults.so");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"])
            .arg("-Wno-format-truncation")
            .arg("-o")
            .arg(&library)
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../tests/crash/faults.c"
            ))
            .status()
            .expect("a C compiler is missing; on Debian: apt-get install gcc");
        assert!(compiled.success());
        library
    })
}

/// The proof that it forgets: names and contents come back as they were synced, each for itself.
#[test]
fn the_disk_forgets_what_was_not_synced() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let disk = Disk::below(place.path());
    let script = "
import os, sys
os.chdir(sys.argv[1])
def write(name, text, synced):
    with open(name, 'a') as file:
        file.write(text); file.flush()
        if synced:
            os.fsync(file.fileno())
def sync_folder(name):
    folder = os.open(name, os.O_RDONLY); os.fsync(folder); os.close(folder)
os.mkdir('data')
sync_folder('.')
write('data/kept', 'synced', True)
write('data/empty', 'not synced', False)
write('data/old', 'renamed', True)
write('data/gone', 'removed', True)
os.mkdir('data/inner')
write('data/inner/kept', 'synced', True)
sync_folder('data/inner')
os.mkdir('data/unnamed')
sync_folder('data')
write('data/kept', ', more', True)
write('data/kept', ', lost', False)
os.rename('data/old', 'data/new')
os.remove('data/gone')
write('data/nameless', 'synced, but in a folder that was not', True)
os.mkdir('data/lost')
write('data/lost/kept', 'synced', True)
sync_folder('data/lost')
os.mkdir('data/staging')
os.mkdir('data/staging/deep')
write('data/staging/deep/kept', 'synced', True)
sync_folder('data/staging/deep')
sync_folder('data/staging')
os.rename(os.path.abspath('data/staging'), os.path.abspath('data/moved'))
if sys.argv[2] == 'rename':
    sync_folder('data')
";
    let kept = |name: &str| std::fs::read_to_string(place.path().join("data").join(name)).ok();
    for (when, expected) in [
        (
            "before",
            [
                ("kept", Some("synced, more")),
                ("empty", Some("")),
                ("old", Some("renamed")),
                ("new", None),
                ("gone", Some("removed")),
                ("inner/kept", Some("synced")),
                ("nameless", None),
                ("lost/kept", None),
                ("moved/deep/kept", None),
            ],
        ),
        (
            "rename",
            [
                ("kept", Some("synced, more")),
                ("empty", Some("")),
                ("old", None),
                ("new", Some("renamed")),
                ("gone", None),
                ("inner/kept", Some("synced")),
                ("nameless", Some("synced, but in a folder that was not")),
                ("lost/kept", Some("synced")),
                ("moved/deep/kept", Some("synced")),
            ],
        ),
    ] {
        let _ = std::fs::remove_dir_all(place.path().join("data"));
        let ran = Command::new("python3")
            .args(["-c", script])
            .arg(place.path())
            .arg(when)
            .envs(disk.environment())
            .status()
            .expect("Python runs");
        assert!(ran.success());
        // Twice: what has come back stays.
        for _ in 0..2 {
            disk.cut_power("data");
            for (name, content) in expected {
                assert_eq!(kept(name).as_deref(), content, "{name}, {when}");
            }
        }
    }
}
