//! A controller's folder, taken at one moment and kept under its content's name.
//!
//! The author's folder may change while it is read and after it was deployed.
//! So it is read once into memory, within bounds and without following any
//! link, and everything afterwards (contract, digest, what the sandbox mounts)
//! is about that one reading.

use magic_contract::{Contract, ErrorCode, Failure};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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
        read_folder(folder, "", 0, &mut files, &mut left)?;
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
        let staging = root.join(format!(".{}-{}", self.digest, std::process::id()));
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

    fn write(&self, staging: &Path) -> io::Result<()> {
        crate::folder::create(staging)?;
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

fn read_folder(
    folder: &Path,
    prefix: &str,
    depth: usize,
    files: &mut BTreeMap<String, Vec<u8>>,
    left: &mut u64,
) -> Result<(), Failure> {
    let unreadable =
        |error: io::Error| malformed(format!("`{}` cannot be read: {error}", folder.display()));
    if depth > DEPTH {
        return Err(malformed(format!(
            "`{}` is nested deeper than {DEPTH} folders",
            folder.display()
        )));
    }
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            return Err(malformed(format!(
                "`{}` has a name that is not UTF-8",
                path.display()
            )));
        };
        // Editors, version control and interpreters leave these behind; none
        // of them is part of a controller.
        if name.starts_with('.') || name == "__pycache__" || name.ends_with('~') {
            continue;
        }
        let kind = entry.file_type().map_err(unreadable)?;
        let relative = format!("{prefix}{name}");
        if kind.is_dir() {
            read_folder(&path, &format!("{relative}/"), depth + 1, files, left)?;
        } else if kind.is_file() {
            if files.len() == FILES {
                return Err(malformed(format!(
                    "`{}` has more than {FILES} files",
                    folder.display()
                )));
            }
            files.insert(relative, read_file(&path, left)?);
        } else {
            return Err(malformed(format!(
                "`{}` is a link or a special file; a controller consists of regular files",
                path.display()
            )));
        }
    }
    Ok(())
}

fn read_file(path: &Path, left: &mut u64) -> Result<Vec<u8>, Failure> {
    let unreadable =
        |error: io::Error| malformed(format!("`{}` cannot be read: {error}", path.display()));
    // The kind was seen a moment ago; a link or a pipe put there since must
    // neither be followed nor block.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(malformed(format!(
            "`{}` is not a regular file",
            path.display()
        )));
    }
    let mut content = Vec::new();
    let count = file
        .take(*left + 1)
        .read_to_end(&mut content)
        .map_err(unreadable)?;
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
