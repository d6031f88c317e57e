//! The packages that a controller brings along by name.
//!
//! A controller's `requirements.txt` or `uv.lock` pins them; the operator's folder
//! of wheels has them. At the deploy each wheel is read once, its hash checked, and taken
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
//! What is checked of a lock: that every package which a wheel says it needs is
//! in `requirements.txt`. That versions go together, and what `uv.lock` leaves out
//! on purpose, is the business of the tool that made it.

mod digest;
mod fill;
mod find;
mod manifest;
mod marker;
mod project;
mod requirement;
mod sandbox;
mod uv_lock;
mod wheel;

pub(crate) use manifest::Manifest;
pub use wheel::{CLibrary, WheelSupport};

use crate::bundle::Lease;
use crate::bundle::keep::{self, Staging};
use crate::bundle::unpack::Bounds;
use crate::launcher::Launcher;
use crate::lifecycle::refusal;
use find::Found;
use magic_contract::{ErrorCode, Failure, Reason};
use magic_store::state::{State, VersionWheel, WheelError};
use manifest::{Asked, ManifestError};
use marker::Environment;
use serde_json::json;
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
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(
        "requirements.txt: under a production policy every package needs a hash; `uv pip compile --generate-hashes` or `pip-compile --generate-hashes` writes them (missing: {0})"
    )]
    WithoutHash(String),
    #[error("{error}")]
    Find {
        file: &'static str,
        error: find::FindError,
    },
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
    #[error(transparent)]
    Carried(#[from] WheelError),
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
            Self::Carried(error) => return refusal::of_wheel(error),
            other => {
                let message = format!("the packages cannot be provided: {other}");
                let failure = Failure::new(ErrorCode::InvalidBundle, message);
                return match other {
                    Self::Manifest(error) => failure.with_detail("file", json!(error.file())),
                    Self::Find { file, .. } => failure.with_detail("file", json!(file)),
                    Self::WithoutHash(_) | Self::Incomplete(_) => {
                        failure.with_detail("file", json!(manifest::REQUIREMENTS))
                    }
                    _ => failure,
                };
            }
        };
        Failure::new(ErrorCode::DeploymentFailed, message)
            .with_reason(Reason::Store)
            .with_internal(self.to_string())
    }
}

/// What packages are asked for.
#[derive(Debug)]
pub(crate) struct PackageOrder {
    /// The files that name them.
    pub(crate) manifest: Manifest,
    /// Whether they must name hashes.
    pub(crate) hashed: bool,
    /// The wheels that the version has in the state, if it was deployed before.
    pub(crate) carried: Vec<VersionWheel>,
}

/// The packages of a version, which stay on disk as long as this lives.
#[derive(Debug)]
pub(crate) struct Packages {
    name: String,
    files: PathBuf,
    wheels: Vec<Found>,
    _lease: Lease,
}

impl Packages {
    /// The folder of their files.
    pub(crate) fn files(&self) -> &Path {
        &self.files
    }

    /// What this set of wheels is called when this interpreter takes it apart.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The wheels that they are made of.
    pub(crate) fn wheels(&self) -> Vec<VersionWheel> {
        let wheels = self.wheels.iter().map(|one| VersionWheel {
            file: one.file.clone(),
            digest: one.hash.clone(),
        });
        wheels.collect()
    }

    /// Puts the wheels into the state, so that every node has them.
    ///
    /// # Errors
    ///
    /// [`WheelError`], also when a file is another one by now.
    pub(crate) async fn put_wheels(&self, state: &State) -> Result<(), WheelError> {
        for wheel in &self.wheels {
            if let Some(path) = &wheel.path {
                let file = tokio::fs::File::open(path).await?;
                state.put_wheel(&wheel.hash, file).await?;
            }
        }
        Ok(())
    }
}

/// Where packages come from and where they are kept.
#[derive(Debug)]
pub(crate) struct PackageStore {
    root: PathBuf,
    wheels: Option<PathBuf>,
    state: Option<State>,
    /// Held while packages are provided, so that two deploys of one set unpack
    /// it once. In it are the names of the folders whose files this process has
    /// read back or written.
    sound: Mutex<BTreeSet<String>>,
}

impl PackageStore {
    /// A store that keeps below `root` what it finds in the state and in `wheels`.
    pub(crate) fn new(root: PathBuf, wheels: Option<PathBuf>, state: Option<State>) -> Self {
        Self {
            root,
            wheels,
            state,
            sound: Mutex::default(),
        }
    }

    /// The packages that a controller's files name; none if they name none.
    ///
    /// # Errors
    ///
    /// E4001 for the files and the wheels, E4005 for the runtime itself.
    pub(crate) async fn provide(
        &self,
        launcher: &Arc<Launcher>,
        order: PackageOrder,
    ) -> Result<Option<Packages>, Failure> {
        let provided = self.provide_asked(launcher, order).await;
        provided.map_err(|error| error.to_failure())
    }

    async fn provide_asked(
        &self,
        launcher: &Arc<Launcher>,
        order: PackageOrder,
    ) -> Result<Option<Packages>, PackageError> {
        let PackageOrder {
            manifest,
            hashed,
            carried,
        } = order;
        let support = launcher.interpreter.wheels.clone();
        let environment = Environment {
            version: launcher.interpreter.version,
            machine: support.machine.clone(),
        };
        let for_reading = support.clone();
        // The largest lock takes a moment, which is nobody else's.
        let asked = blocking(move || manifest.pins(&environment, &for_reading)).await??;
        if asked.pins.is_empty() {
            return Ok(None);
        }
        if hashed {
            let without: Vec<&str> = asked
                .pins
                .iter()
                .filter(|pin| pin.hashes.is_empty())
                .map(|pin| pin.name.as_str())
                .collect();
            if !without.is_empty() {
                return Err(PackageError::WithoutHash(without.join(", ")));
            }
        }
        let Asked { file, .. } = asked;
        let folder = self.wheels.clone();
        let mut sound = self.sound.lock().await;
        let found =
            blocking(move || find::find(folder.as_deref(), &asked, &carried, &support)).await?;
        let wheels = found.map_err(|error| PackageError::Find { file, error })?;
        let name = fill::name(launcher, &wheels);
        let finished = self.root.join(&name);
        let provided = |name: String, lease: Lease, wheels| Packages {
            name,
            files: lease.path().join(FILES),
            wheels,
            _lease: lease,
        };
        for _ in 0..keep::ATTEMPTS {
            if let Some(lease) = lease(&finished).await? {
                if !sound.contains(&name) {
                    let folder = finished.clone();
                    if !blocking(move || is_sound(&folder)).await? {
                        return Err(PackageError::Changed(finished));
                    }
                    sound.insert(name.clone());
                }
                return Ok(Some(provided(name, lease, wheels)));
            }
            // What was there has been removed, and with it what is known of it.
            sound.remove(&name);
            let staging = Staging::begin(&self.root, &name).map_err(PackageError::Keep)?;
            let staging = self.fill(launcher, &wheels, file, staging).await?;
            let (root, place) = (self.root.clone(), finished.clone());
            match blocking(move || staging.finish(&root, &place)).await? {
                Ok(()) => {
                    if let Some(lease) = lease(&finished).await? {
                        sound.insert(name.clone());
                        return Ok(Some(provided(name, lease, wheels)));
                    }
                }
                // Another process on the same data folder may have been faster; its
                // files are believed when they have been read back, not before.
                Err(_)
                    if finished
                        .symlink_metadata()
                        .is_ok_and(|found| found.is_dir()) => {}
                Err(error) => return Err(PackageError::Keep(error)),
            }
        }
        Err(PackageError::Keep(io::Error::other(
            "they are removed as often as they are written",
        )))
    }

    /// Removes the packages that nothing uses, but for those whose names stay and
    /// those that somebody has changed.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(crate) async fn remove_unused(&self, stay: BTreeSet<String>) -> io::Result<Vec<String>> {
        // Not while some are provided, which takes a while, and then it is their turn.
        let mut sound = self.sound.lock().await;
        let root = self.root.clone();
        let may_go = move |folder: &Path, name: &str| !stay.contains(name) && is_sound(folder);
        let removing = tokio::task::spawn_blocking(move || keep::remove_unused(&root, may_go));
        let removed = removing.await.map_err(io::Error::other)??;
        for name in &removed {
            sound.remove(name);
        }
        Ok(removed)
    }
}

async fn lease(folder: &Path) -> Result<Option<Lease>, PackageError> {
    let folder = folder.to_owned();
    let taken = blocking(move || Lease::take(&folder)).await?;
    taken.map_err(PackageError::Keep)
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
