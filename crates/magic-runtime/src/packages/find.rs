//! Finds the wheels for a lock: those that a version has been given before, and
//! else those in the operator's folder.

use super::digest;
use super::manifest::{Asked, LOCK};
use super::requirement::{Pin, normalized};
use super::wheel::{Fitness, WheelName, WheelSupport, is_same_version};
use magic_store::state::VersionWheel;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The largest wheel.
const WHEEL_BYTES: u64 = 1 << 30;

/// What to type so that the folder has what this file names.
pub(super) fn download(file: &str) -> &'static str {
    if file == LOCK {
        "uv export --frozen --no-dev --no-emit-project | pip download -d WHEELS --only-binary :all: -r /dev/stdin"
    } else {
        "pip download -d WHEELS -r requirements.txt --only-binary :all:"
    }
}

/// The wheel for one pin.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) pin: Pin,
    /// Its file name.
    pub(super) file: String,
    /// Where it is; in the runtime's state if nowhere else.
    pub(super) path: Option<PathBuf>,
    /// SHA-256 of its bytes, in hexadecimal.
    pub(super) hash: String,
}

/// Why there is not a wheel for every pin.
#[derive(Debug, thiserror::Error)]
pub(super) enum FindError {
    #[error(
        "no folder of wheels is configured, so packages cannot be had; type `{}` and start the runtime with MAGIC_WHEELS=WHEELS",
        download(.0)
    )]
    NoFolder(&'static str),
    #[error("the folder of wheels cannot be read ({0}); see to MAGIC_WHEELS")]
    Folder(#[source] io::Error),
    #[error("the operator's folder of wheels has no usable wheel of {}; type `{}` with that folder as WHEELS", .packages.join(", "), download(.file))]
    Missing {
        packages: Vec<String>,
        file: &'static str,
    },
    #[error("the wheel of {name} has the hash sha256:{found}, which is not one that {file} names")]
    Hash {
        name: String,
        found: String,
        file: &'static str,
    },
    #[error("the wheel of {name} cannot be read: {source}")]
    Read { name: String, source: io::Error },
}

/// The best wheel for every pin. A version that has its wheels already keeps them,
/// as long as they do for this interpreter; they are taken from the folder if they
/// lie there too.
pub(super) fn find(
    folder: Option<&Path>,
    asked: &Asked,
    carried: &[VersionWheel],
    support: &WheelSupport,
) -> Result<Vec<Found>, FindError> {
    let Asked { pins, file } = asked;
    let files = match folder.map(|folder| (folder, names(folder))) {
        Some((folder, Ok(files))) => Ok((folder, files)),
        Some((_, Err(error))) => Err(FindError::Folder(error)),
        None => Err(FindError::NoFolder(file)),
    };
    let mut all = Vec::new();
    let mut missing = Vec::new();
    for pin in pins {
        if let Some(found) = carried_for(pin, carried, support) {
            let same = match &files {
                Ok((folder, files)) => lying_there(folder, files, &found, support),
                Err(_) => None,
            };
            all.push(same.unwrap_or(found));
            continue;
        }
        let (folder, files) = match files {
            Ok((folder, ref files)) => (folder, files),
            Err(error) => return Err(error),
        };
        let candidates = candidates(pin, files.iter().map(String::as_str), support);
        if candidates.is_empty() {
            missing.push(why_missing(pin, files));
            continue;
        }
        all.push(choose(folder, pin, &candidates, file)?);
    }
    if missing.is_empty() {
        Ok(all)
    } else {
        Err(FindError::Missing {
            packages: missing,
            file,
        })
    }
}

/// The same wheel in the operator's folder.
fn lying_there(
    folder: &Path,
    files: &[String],
    carried: &Found,
    support: &WheelSupport,
) -> Option<Found> {
    let pin = Pin {
        hashes: vec![carried.hash.clone()],
        ..carried.pin.clone()
    };
    let candidates = candidates(&pin, files.iter().map(String::as_str), support);
    let found = choose(folder, &pin, &candidates, LOCK).ok()?;
    Some(Found {
        pin: carried.pin.clone(),
        file: carried.file.clone(),
        ..found
    })
}

/// The names of what is in the folder, in their order.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        // A name that is not UTF-8 is no wheel's.
        if let Ok(name) = entry?.file_name().into_string() {
            files.push(name);
        }
    }
    files.sort();
    Ok(files)
}

fn carried_for(pin: &Pin, carried: &[VersionWheel], support: &WheelSupport) -> Option<Found> {
    let accepted = carried
        .iter()
        .filter(|wheel| pin.hashes.is_empty() || pin.hashes.contains(&wheel.digest));
    let files = accepted.clone().map(|wheel| wheel.file.as_str());
    let file = candidates(pin, files, support).first().copied()?;
    let wheel = accepted.into_iter().find(|wheel| wheel.file == file)?;
    Some(Found {
        pin: pin.clone(),
        file: wheel.file.clone(),
        path: None,
        hash: wheel.digest.clone(),
    })
}

/// Copies a wheel and returns the SHA-256 of what was copied.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<String> {
    let mut copy = crate::folder::create_file(to)?;
    digest::of_stream(open(from)?, |bytes| copy.write_all(bytes))
}

/// The files that will do for a pin, the best first.
fn candidates<'a>(
    pin: &Pin,
    files: impl Iterator<Item = &'a str>,
    support: &WheelSupport,
) -> Vec<&'a str> {
    let mut fitting: Vec<(Fitness, &str)> = files
        .filter_map(|file| {
            let name = WheelName::parse(file)?;
            let same = name.name == pin.name && is_same_version(&name.version, &pin.version);
            Some((name.fitness(support).filter(|_| same)?, file))
        })
        .collect();
    fitting.sort_by(|one, other| other.cmp(one));
    fitting.into_iter().map(|(_, file)| file).collect()
}

fn choose(
    folder: &Path,
    pin: &Pin,
    candidates: &[&str],
    asked_by: &'static str,
) -> Result<Found, FindError> {
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
                file: (*file).to_owned(),
                path: Some(path),
                hash,
            });
        }
        other.get_or_insert(hash);
    }
    Err(FindError::Hash {
        name: pin.name.clone(),
        found: other.unwrap_or_default(),
        file: asked_by,
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
