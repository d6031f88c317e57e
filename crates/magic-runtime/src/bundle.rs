//! A controller's folder, taken at one moment and kept under its content's name.
//!
//! The author's folder may change while it is read and after it was deployed.
//! So it is read once into memory, within bounds and without following any
//! link, and everything afterwards (contract, digest, what the sandbox mounts)
//! is about that one reading.

use magic_contract::{Contract, ErrorCode, Failure};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The most files a controller may consist of.
const FILES: usize = 2_000;
/// The most bytes its files may have together.
const BYTES: u64 = 32 * 1024 * 1024;
/// The deepest folder.
const DEPTH: usize = 16;

/// The program of a controller; the contract may have several names.
const PROGRAM: &str = "controller.py";

/// A controller's files, read.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Path relative to the folder, with `/`, to content.
    files: BTreeMap<String, Vec<u8>>,
    /// SHA-256 over names and contents, in hexadecimal.
    pub(crate) digest: String,
    /// The contract, parsed from those bytes.
    pub(crate) contract: Contract,
}

impl Bundle {
    /// Reads the folder of one controller.
    ///
    /// # Errors
    ///
    /// E4001 for a folder that is not acceptable as one, E1001, E1002 or E1005
    /// for its contract.
    pub(crate) fn read(folder: &Path) -> Result<Self, Failure> {
        let mut files = BTreeMap::new();
        let mut left = BYTES;
        // The folder itself may be a link: its name is the operator's.
        let top = open_folder(CWD, folder.as_os_str(), folder, OFlags::empty())?;
        read_folder(&top, folder, "", 0, &mut files, &mut left)?;
        if !files.contains_key(PROGRAM) {
            return Err(
                malformed(format!("`{}` has no {PROGRAM}", folder.display()))
                    .with_detail("expected", json!(PROGRAM)),
            );
        }
        let name = contract_name(files.keys(), folder)?;
        let shown = folder.join(&name).display().to_string();
        let contract =
            Contract::parse(&files[&name], &shown).map_err(|problems| problems.to_failure())?;
        let digest = digest(&files);
        Ok(Self {
            files,
            digest,
            contract,
        })
    }

    /// Writes the files below `root`, in a folder named after the digest, and
    /// returns that folder. What is there already under that name is the same.
    pub(crate) fn keep(&self, root: &Path) -> io::Result<PathBuf> {
        let finished = root.join(&self.digest);
        if finished.is_dir() {
            return Ok(finished);
        }
        let staging = self.staging(root)?;
        let written = self
            .write(&staging)
            .and_then(|()| std::fs::rename(&staging, &finished));
        match written {
            Ok(()) => Ok(finished),
            Err(error) => {
                // The first error is the one worth reporting.
                let _ = std::fs::remove_dir_all(&staging);
                if finished.is_dir() {
                    Ok(finished)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Makes a folder to write into that nobody else writes into: not another
    /// deploy of the same content at the same moment, whose failure would take
    /// files out of ours, and not one of a process with our number that ended
    /// in the middle, as a container's process 1 always is.
    fn staging(&self, root: &Path) -> io::Result<PathBuf> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!(".{}-{}-{number}", self.digest, std::process::id());
            let staging = root.join(name);
            match std::fs::create_dir(&staging) {
                Ok(()) => {
                    // Whatever the umask, for identities of their own.
                    crate::folder::create(&staging)?;
                    return Ok(staging);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&self, staging: &Path) -> io::Result<()> {
        for (name, content) in &self.files {
            let path = staging.join(name);
            if let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) {
                let mut made = staging.to_owned();
                for part in parent
                    .strip_prefix(staging)
                    .expect("a relative name below staging")
                {
                    made.push(part);
                    crate::folder::create(&made)?;
                }
            }
            crate::folder::write_file(&path, content)?;
        }
        Ok(())
    }
}

fn malformed(message: String) -> Failure {
    Failure::new(ErrorCode::InvalidBundle, message)
}

/// Everything below is opened by its name in a folder that is open already. A
/// path would be resolved anew each time, and whoever may write the folder could
/// put a link in the middle of it between two looks.
fn read_folder(
    folder: &OwnedFd,
    shown: &Path,
    prefix: &str,
    depth: usize,
    files: &mut BTreeMap<String, Vec<u8>>,
    left: &mut u64,
) -> Result<(), Failure> {
    if depth > DEPTH {
        return Err(malformed(format!(
            "`{}` is nested deeper than {DEPTH} folders",
            shown.display()
        )));
    }
    let entries = Dir::read_from(folder).map_err(|error| unreadable(shown, error.into()))?;
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(shown, error.into()))?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let path = shown.join(name);
        let Some(text) = name.to_str() else {
            return Err(malformed(format!(
                "`{}` has a name that is not UTF-8",
                path.display()
            )));
        };
        // Editors, version control and interpreters leave these behind; none
        // of them is part of a controller.
        if text.starts_with('.') || text == "__pycache__" || text.ends_with('~') {
            continue;
        }
        let relative = format!("{prefix}{text}");
        let status = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| unreadable(&path, error.into()))?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => {
                let inner = open_folder(folder.as_fd(), name, &path, OFlags::NOFOLLOW)?;
                let prefix = format!("{relative}/");
                read_folder(&inner, &path, &prefix, depth + 1, files, left)?;
            }
            FileType::RegularFile => {
                if files.len() == FILES {
                    return Err(malformed(format!(
                        "`{}` has more than {FILES} files",
                        shown.display()
                    )));
                }
                files.insert(relative, read_file(folder, name, &path, left)?);
            }
            _ => {
                return Err(malformed(format!(
                    "`{}` is a link or a special file; a controller consists of regular files",
                    path.display()
                )));
            }
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: io::Error) -> Failure {
    malformed(format!("`{}` cannot be read: {error}", path.display()))
}

fn open_folder(
    at: BorrowedFd<'_>,
    name: &OsStr,
    shown: &Path,
    flags: OFlags,
) -> Result<OwnedFd, Failure> {
    let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
        .map_err(|error| unreadable(shown, error.into()))
}

fn read_file(
    folder: &OwnedFd,
    name: &OsStr,
    shown: &Path,
    left: &mut u64,
) -> Result<Vec<u8>, Failure> {
    // The kind was seen a moment ago; a link or a pipe put there since must
    // neither be followed nor block.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty())
        .map(std::fs::File::from)
        .map_err(|error| unreadable(shown, error.into()))?;
    let metadata = file.metadata().map_err(|error| unreadable(shown, error))?;
    if !metadata.is_file() {
        return Err(malformed(format!(
            "`{}` is not a regular file",
            shown.display()
        )));
    }
    let mut content = Vec::new();
    let count = file
        .take(*left + 1)
        .read_to_end(&mut content)
        .map_err(|error| unreadable(shown, error))?;
    *left = left.checked_sub(count as u64).ok_or_else(|| {
        malformed(format!(
            "the folder has more than {} MiB of files",
            BYTES / (1024 * 1024)
        ))
    })?;
    Ok(content)
}

/// Finds the one contract: `contract.yaml` or `<anything>.contract.yaml`, each
/// also as `.yml` and `.json`, at the top of the folder.
fn contract_name<'a>(
    names: impl Iterator<Item = &'a String>,
    folder: &Path,
) -> Result<String, Failure> {
    let mut found: Vec<&String> = names.filter(|name| is_contract(name)).collect();
    match (found.pop(), found.is_empty()) {
        (Some(name), true) => Ok(name.clone()),
        (Some(_), false) => Err(malformed(format!(
            "`{}` has more than one contract; keep one",
            folder.display()
        ))),
        (None, _) => Err(
            malformed(format!("`{}` has no contract", folder.display())).with_detail(
                "expected",
                json!(["contract.yaml", "<name>.contract.yaml", "contract.json"]),
            ),
        ),
    }
}

/// Whether a file of a controller's folder is its contract, by its name.
pub fn is_contract(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|ending| {
        name.strip_suffix(ending).is_some_and(|stem| {
            !stem.contains('/') && (stem == "contract" || stem.ends_with(".contract"))
        })
    })
}

fn digest(files: &BTreeMap<String, Vec<u8>>) -> String {
    let mut hash = Sha256::new();
    for (name, content) in files {
        // Lengths keep two different sets of files from reading as the same bytes.
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name);
        hash.update((content.len() as u64).to_be_bytes());
        hash.update(content);
    }
    hexadecimal(&hash.finalize())
}

/// Lower-case hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a String cannot fail");
            text
        })
}

#[cfg(test)]
mod tests;
