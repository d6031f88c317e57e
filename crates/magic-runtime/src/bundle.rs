//! A controller's files, taken at one moment, and kept under their content's
//! name.
//!
//! They come from a folder or from an archive, and are the same value then. A
//! folder may change while it is read and after it was deployed, and an archive
//! was made by somebody else; so either is read once into memory, within bounds
//! and by the same rules for names, and everything afterwards (contract,
//! digest, what the sandbox mounts) is about that one reading. Nothing is ever
//! unpacked on disk by names that were not judged.
//!
//! An archive may hold the files themselves or one folder that holds them, as
//! `tar -czf echo.tar.gz echo` makes it; that folder's name is no part of the
//! bundle.

pub(crate) mod keep;
pub(crate) mod name;
mod pack;
mod read;
pub(crate) mod unpack;

pub(crate) use keep::KeepError;
pub use keep::Lease;
use magic_contract::{Contract, ErrorCode, Failure};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use unpack::Bounds;

/// What a controller may consist of.
const BOUNDS: Bounds = Bounds {
    files: 2_000,
    bytes: 32 * 1024 * 1024,
};

/// The program of a controller; the contract may have several names.
const PROGRAM: &str = "controller.py";

/// A controller's files, read.
#[derive(Debug, Clone)]
pub struct Bundle {
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
    pub fn read(folder: &Path) -> Result<Self, Failure> {
        Self::of(read::files(folder)?, folder)
    }

    /// Reads an archive: tar, compressed with zstd or gzip.
    ///
    /// # Errors
    ///
    /// E4001, which names the entry and the reason, for an archive that is not
    /// acceptable; E1001, E1002 or E1005 for its contract.
    pub fn from_archive(archive: &[u8]) -> Result<Self, Failure> {
        let mut files = BTreeMap::new();
        unpack::unpack(archive, BOUNDS, |name, content| {
            if !name.split('/').any(name::is_leftover) {
                files.insert(name, content);
            }
            Ok(())
        })
        .map_err(|error| {
            malformed(format!(
                "the archive is not acceptable as a bundle: {error}"
            ))
        })?;
        Self::of(without_one_folder(files), Path::new(""))
            .map_err(|failure| failure.with_detail("source", json!("archive")))
    }

    /// The files as an archive: a tar, compressed with zstd. The same files
    /// give the same bytes.
    ///
    /// # Errors
    ///
    /// What the compressor says.
    pub fn to_archive(&self) -> io::Result<Vec<u8>> {
        pack::pack(&self.files)
    }

    /// SHA-256 over names and contents, in hexadecimal: the bundle's address,
    /// whatever it was read from.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The contract in it.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// The content of one of its files.
    pub(crate) fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    fn of(files: BTreeMap<String, Vec<u8>>, folder: &Path) -> Result<Self, Failure> {
        let shown = if folder.as_os_str().is_empty() {
            "the archive".to_owned()
        } else {
            format!("`{}`", folder.display())
        };
        if !files.contains_key(PROGRAM) {
            return Err(malformed(format!("{shown} has no {PROGRAM}"))
                .with_detail("expected", json!(PROGRAM)));
        }
        let name = contract_name(files.keys(), &shown)?;
        let place = folder.join(&name).display().to_string();
        let contract =
            Contract::parse(&files[&name], &place).map_err(|problems| problems.to_failure())?;
        let digest = digest(&files);
        Ok(Self {
            files,
            digest,
            contract,
        })
    }

    /// Keeps the files below `root`, in a folder named after the digest, and
    /// returns a lease of that folder.
    pub(crate) fn keep(&self, root: &Path) -> Result<Lease, KeepError> {
        keep::keep(
            root,
            &self.digest,
            |standing| keep::has_digest(standing, &self.digest),
            |staging| {
                self.files
                    .iter()
                    .try_for_each(|(name, content)| keep::write_file(staging, name, content))
            },
        )
    }
}

/// Whether a kept folder still holds what it was named after.
pub(crate) fn is_unchanged(folder: &Path, digest: &str) -> bool {
    keep::has_digest(folder, digest)
}

/// The files of an archive that holds one folder with a controller in it,
/// named as that folder has them.
fn without_one_folder(files: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let folder = match files.keys().next().and_then(|name| name.split_once('/')) {
        Some((first, _)) => format!("{first}/"),
        None => return files,
    };
    let holds_all = files.keys().all(|name| name.starts_with(&folder));
    if !holds_all || !files.contains_key(&format!("{folder}{PROGRAM}")) {
        return files;
    }
    files
        .into_iter()
        .map(|(name, content)| (name[folder.len()..].to_owned(), content))
        .collect()
}

fn malformed(message: String) -> Failure {
    Failure::new(ErrorCode::InvalidBundle, message)
}

/// Finds the one contract: `contract.yaml` or `<anything>.contract.yaml`, each
/// also as `.yml` and `.json`, at the top of the folder.
fn contract_name<'a>(
    names: impl Iterator<Item = &'a String>,
    shown: &str,
) -> Result<String, Failure> {
    let mut found: Vec<&String> = names.filter(|name| is_contract(name)).collect();
    match (found.pop(), found.is_empty()) {
        (Some(name), true) => Ok(name.clone()),
        (Some(_), false) => Err(malformed(format!(
            "{shown} has more than one contract; keep one"
        ))),
        (None, _) => Err(malformed(format!("{shown} has no contract")).with_detail(
            "expected",
            json!(["contract.yaml", "<name>.contract.yaml", "contract.json"]),
        )),
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
mod archive_tests;
#[cfg(test)]
mod tests;
