//! The packages that a controller brings along by name.
//!
//! A controller's `requirements.txt` pins them; the operator's folder of wheels
//! has them. At the deploy each wheel is read once, its hash checked, and taken
//! apart by a program in a sandbox of its own; what comes out of that is read
//! like any archive that somebody else made, and kept under the name of the set
//! of wheels, which all versions with the same set share. Nothing is fetched,
//! nothing is built, and no file of a package runs before the controller's
//! trial import, which has no capabilities.
//!
//! A source distribution is refused, since building one runs its code. What
//! would run at an interpreter's start or outside it (`.pth`, `sitecustomize`,
//! scripts) is left out; the interpreter would not look at it either.
//!
//! What is checked of the lock: that every package which a wheel says it needs
//! is there. That their versions go together is the business of the tool that
//! made it.

mod digest;
mod find;
mod requirement;
mod sandbox;
mod wheel;

pub use wheel::{CLibrary, WheelSupport};

use crate::bundle::keep::{self, Staging};
use crate::bundle::name::Names;
use crate::bundle::unpack::Bounds;
use crate::launcher::Launcher;
use find::Found;
use magic_contract::{ErrorCode, Failure, Reason};
use requirement::{Pin, RequirementError};
use sandbox::Apart;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Mutex;

/// What the packages of one controller may be together.
const BOUNDS: Bounds = Bounds {
    files: 60_000,
    bytes: 1 << 30,
};
/// Changes whenever wheels are taken apart in another way.
const FORMAT: u32 = 1;
/// The files of the packages in the folder that is kept.
const FILES: &str = "files";
/// The digest of those files.
const TREE: &str = "tree";
/// What they were made of, as a lock with hashes.
const LOCK: &str = "requirements.lock";

/// Why a controller's packages cannot be provided.
#[derive(Debug, thiserror::Error)]
enum PackageError {
    #[error("requirements.txt: {0}")]
    Requirements(#[from] RequirementError),
    #[error(
        "requirements.txt: under a production policy every package needs a hash; `uv pip compile --generate-hashes` or `pip-compile --generate-hashes` writes them (missing: {0})"
    )]
    WithoutHash(String),
    #[error(
        "no folder of wheels is configured, so packages cannot be had; type `{}` and start the runtime with MAGIC_WHEELS=WHEELS",
        find::DOWNLOAD
    )]
    NoFolder,
    #[error(transparent)]
    Find(#[from] find::FindError),
    #[error("the wheel of {package} is not acceptable: {reason}")]
    Wheel { package: String, reason: String },
    #[error(
        "requirements.txt is not complete: {0}; add what is missing, each with `==` and its version"
    )]
    Incomplete(String),
    #[error("the packages could not be kept: {0}")]
    Keep(#[source] io::Error),
    #[error("the kept packages in `{}` were changed on disk; find out who did it, remove that folder and deploy again", .0.display())]
    Changed(PathBuf),
    #[error("no sandbox for a wheel: {0}")]
    Sandbox(String),
}

impl PackageError {
    fn to_failure(&self) -> Failure {
        let message = match self {
            // Nothing of these is for the author, who may not even see this host.
            Self::Keep(_) => "the packages could not be kept",
            Self::Changed(_) => "the kept packages of this version were changed on disk",
            Self::Sandbox(_) => "the runtime could not start a sandbox",
            other => {
                let message = format!("the packages cannot be provided: {other}");
                return Failure::new(ErrorCode::InvalidBundle, message)
                    .with_detail("file", json!("requirements.txt"));
            }
        };
        Failure::new(ErrorCode::DeploymentFailed, message)
            .with_reason(Reason::Store)
            .with_internal(self.to_string())
    }
}

/// Where packages come from and where they are kept.
#[derive(Debug)]
pub(crate) struct PackageStore {
    root: PathBuf,
    wheels: Option<PathBuf>,
    /// Held while packages are provided, so that two deploys of one set unpack
    /// it once. In it are the names of the folders whose files this process has
    /// read back or written.
    sound: Mutex<BTreeSet<String>>,
}

impl PackageStore {
    /// A store that keeps below `root` what it finds in `wheels`.
    pub(crate) fn new(root: PathBuf, wheels: Option<PathBuf>) -> Self {
        Self {
            root,
            wheels,
            sound: Mutex::default(),
        }
    }

    /// The folder with the packages that this `requirements.txt` names; none if
    /// it names none.
    ///
    /// # Errors
    ///
    /// E4001 for the file and the wheels, E4005 for the runtime itself.
    pub(crate) async fn provide(
        &self,
        launcher: &Arc<Launcher>,
        requirements: &[u8],
        hashed: bool,
    ) -> Result<Option<PathBuf>, Failure> {
        let provided = self.provide_pins(launcher, requirements, hashed).await;
        provided.map_err(|error| error.to_failure())
    }

    async fn provide_pins(
        &self,
        launcher: &Arc<Launcher>,
        requirements: &[u8],
        hashed: bool,
    ) -> Result<Option<PathBuf>, PackageError> {
        let pins = requirement::parse(requirements)?;
        if pins.is_empty() {
            return Ok(None);
        }
        if hashed {
            let without: Vec<&str> = pins
                .iter()
                .filter(|pin| pin.hashes.is_empty())
                .map(|pin| pin.name.as_str())
                .collect();
            if !without.is_empty() {
                return Err(PackageError::WithoutHash(without.join(", ")));
            }
        }
        let wheels = self.wheels.clone().ok_or(PackageError::NoFolder)?;
        let mut sound = self.sound.lock().await;
        let support = launcher.interpreter.wheels.clone();
        let found = blocking(move || find::find(&wheels, &pins, &support)).await??;
        let name = name(launcher, &found);
        let finished = self.root.join(&name);
        if finished.symlink_metadata().is_ok() {
            if !sound.contains(&name) {
                let folder = finished.clone();
                if !blocking(move || is_sound(&folder)).await? {
                    return Err(PackageError::Changed(finished));
                }
                sound.insert(name);
            }
            return Ok(Some(finished.join(FILES)));
        }
        let staging = Staging::begin(&self.root, &name).map_err(PackageError::Keep)?;
        let staging = self.fill(launcher, found, staging).await?;
        let (root, place) = (self.root.clone(), finished.clone());
        let written = blocking(move || staging.finish(&root, &place)).await?;
        if let Err(error) = written {
            // Another process on the same data folder may have been faster; its
            // files are believed when they have been read back, not before.
            let folder = finished.clone();
            if !blocking(move || is_sound(&folder)).await? {
                return Err(PackageError::Keep(error));
            }
        }
        sound.insert(name);
        Ok(Some(finished.join(FILES)))
    }

    /// Takes all wheels apart into the folder.
    async fn fill(
        &self,
        launcher: &Arc<Launcher>,
        found: Vec<Found>,
        staging: Staging,
    ) -> Result<Staging, PackageError> {
        let files = staging.path().join(FILES);
        crate::folder::create(&files).map_err(PackageError::Keep)?;
        // Beside the files, so that it goes where they go.
        let copy = Staging::begin(&self.root, "wheel").map_err(PackageError::Keep)?;
        let mut apart = Apart {
            names: Names::default(),
            left: BOUNDS,
        };
        let mut missing = Vec::new();
        let pinned: BTreeSet<String> = found.iter().map(|one| one.pin.name.clone()).collect();
        for one in &found {
            let place = copy.path().join("wheel.whl");
            let (from, to, hash) = (one.path.clone(), place.clone(), one.hash.clone());
            let copied = blocking(move || find::copy(&from, &to)).await?;
            if copied.map_err(PackageError::Keep)? != hash {
                return Err(PackageError::Wheel {
                    package: one.pin.name.clone(),
                    reason: "its file changed while it was read".to_owned(),
                });
            }
            let (told, rest) =
                sandbox::take_apart(launcher, &place, &one.pin, files.clone(), apart).await?;
            apart = rest;
            if told.name != one.pin.name || !wheel::is_same_version(&told.version, &one.pin.version)
            {
                return Err(PackageError::Wheel {
                    package: one.pin.name.clone(),
                    reason: format!(
                        "it says of itself that it is `{}` in version `{}`",
                        told.name, told.version
                    ),
                });
            }
            let lacking: Vec<String> = told
                .requires
                .into_iter()
                .filter(|needed| !pinned.contains(needed))
                .collect();
            if !lacking.is_empty() {
                missing.push(format!("{} needs {}", one.pin.name, lacking.join(", ")));
            }
            std::fs::remove_file(&place).map_err(PackageError::Keep)?;
        }
        if !missing.is_empty() {
            return Err(PackageError::Incomplete(missing.join("; ")));
        }
        let lock = lock(&found);
        blocking(move || {
            let tree = digest::of(&files)?;
            keep::write_file(staging.path(), TREE, tree.as_bytes())?;
            keep::write_file(staging.path(), LOCK, lock.as_bytes())?;
            Ok(staging)
        })
        .await?
        .map_err(PackageError::Keep)
    }
}

/// What a set of wheels is called when this interpreter takes it apart.
fn name(launcher: &Launcher, found: &[Found]) -> String {
    let mut hash = Sha256::new();
    let interpreter = &launcher.interpreter;
    hash.update(format!(
        "{FORMAT} {:?} {}\n{}",
        interpreter.version,
        interpreter.executable.display(),
        lock(found)
    ));
    crate::bundle::hexadecimal(&hash.finalize())
}

/// What was taken, in the form of what was asked for: hashes that nobody gave
/// are written down here.
fn lock(found: &[Found]) -> String {
    found
        .iter()
        .map(|Found { pin, hash, .. }| {
            let extras = match pin.extras.as_slice() {
                [] => String::new(),
                extras => format!("[{}]", extras.join(",")),
            };
            let Pin { name, version, .. } = pin;
            format!("{name}{extras}=={version} --hash=sha256:{hash}\n")
        })
        .collect()
}

/// Whether the files are those that were written beside their digest. That
/// finds damage, and changes by whoever does not rewrite the digest as well.
fn is_sound(folder: &Path) -> bool {
    let told = std::fs::read_to_string(folder.join(TREE));
    matches!((told, digest::of(&folder.join(FILES))), (Ok(told), Ok(found)) if told == found)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PackageError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| PackageError::Keep(io::Error::other(error)))
}
