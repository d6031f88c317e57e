//! Finds the wheels for a lock in the operator's folder.

use super::digest;
use super::requirement::{Pin, normalized};
use super::wheel::{Fitness, WheelName, WheelSupport, is_same_version};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The largest wheel.
const WHEEL_BYTES: u64 = 1 << 30;

/// What to type so that the folder has what is missing.
pub(super) const DOWNLOAD: &str = "pip download -d WHEELS -r requirements.txt --only-binary :all:";

/// The wheel for one pin.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) pin: Pin,
    pub(super) path: PathBuf,
    /// SHA-256 of its bytes, in hexadecimal.
    pub(super) hash: String,
}

/// Why there is not a wheel for every pin.
#[derive(Debug, thiserror::Error)]
pub(super) enum FindError {
    #[error("the folder of wheels cannot be read ({0}); see to MAGIC_WHEELS")]
    Folder(#[source] io::Error),
    #[error("the operator's folder of wheels has no usable wheel of {}; type `{DOWNLOAD}` with that folder as WHEELS", .0.join(", "))]
    Missing(Vec<String>),
    #[error(
        "the wheel of {name} has the hash sha256:{found}, which is not one that requirements.txt names"
    )]
    Hash { name: String, found: String },
    #[error("the wheel of {name} cannot be read: {source}")]
    Read { name: String, source: io::Error },
}

/// The best wheel for every pin.
pub(super) fn find(
    folder: &Path,
    pins: &[Pin],
    support: &WheelSupport,
) -> Result<Vec<Found>, FindError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(FindError::Folder)? {
        // A name that is not UTF-8 is no wheel's.
        if let Ok(name) = entry.map_err(FindError::Folder)?.file_name().into_string() {
            files.push(name);
        }
    }
    files.sort();
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for pin in pins {
        let candidates = candidates(pin, &files, support);
        if candidates.is_empty() {
            missing.push(why_missing(pin, &files));
            continue;
        }
        found.push(choose(folder, pin, &candidates)?);
    }
    if missing.is_empty() {
        Ok(found)
    } else {
        Err(FindError::Missing(missing))
    }
}

/// Copies a wheel and returns the SHA-256 of what was copied.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<String> {
    let mut copy = crate::folder::create_file(to)?;
    digest::of_stream(open(from)?, |bytes| copy.write_all(bytes))
}

/// The files that will do for a pin, the best first.
fn candidates<'a>(pin: &Pin, files: &'a [String], support: &WheelSupport) -> Vec<&'a str> {
    let mut fitting: Vec<(Fitness, &str)> = files
        .iter()
        .filter_map(|file| {
            let name = WheelName::parse(file)?;
            let same = name.name == pin.name && is_same_version(&name.version, &pin.version);
            Some((name.fitness(support).filter(|_| same)?, file.as_str()))
        })
        .collect();
    fitting.sort_by(|one, other| other.cmp(one));
    fitting.into_iter().map(|(_, file)| file).collect()
}

fn choose(folder: &Path, pin: &Pin, candidates: &[&str]) -> Result<Found, FindError> {
    let mut other = None;
    for file in candidates {
        let path = folder.join(file);
        let hash = open(&path)
            .and_then(|wheel| digest::of_stream(wheel, |_| Ok(())))
            .map_err(|source| FindError::Read {
                name: pin.name.clone(),
                source,
            })?;
        if pin.hashes.is_empty() || pin.hashes.contains(&hash) {
            return Ok(Found {
                pin: pin.clone(),
                path,
                hash,
            });
        }
        other.get_or_insert(hash);
    }
    Err(FindError::Hash {
        name: pin.name.clone(),
        found: other.unwrap_or_default(),
    })
}

/// A pin as it is shown, with what is there in the place of a usable wheel.
fn why_missing(pin: &Pin, files: &[String]) -> String {
    let Pin { name, version, .. } = pin;
    let is_source = |file: &String| {
        let stem = file
            .strip_suffix(".tar.gz")
            .or_else(|| file.strip_suffix(".zip"));
        stem.and_then(|stem| stem.rsplit_once('-'))
            .is_some_and(|(project, number)| {
                normalized(project) == *name && is_same_version(number, version)
            })
    };
    let of_other_kind = |file: &String| {
        WheelName::parse(file)
            .is_some_and(|wheel| wheel.name == *name && is_same_version(&wheel.version, version))
    };
    if files.iter().any(of_other_kind) {
        format!("{name}=={version} (what is there was built for another interpreter or system)")
    } else if files.iter().any(is_source) {
        format!(
            "{name}=={version} (there is a source distribution, which is not built here; type `pip wheel --no-deps -w WHEELS {name}=={version}` where its code may run)"
        )
    } else {
        format!("{name}=={version}")
    }
}

/// Opens a wheel, at most as much of it as is possible.
fn open(path: &Path) -> io::Result<io::Take<File>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.len() > WHEEL_BYTES {
        return Err(io::Error::other("it is larger than 1 GiB"));
    }
    Ok(file.take(WHEEL_BYTES))
}
