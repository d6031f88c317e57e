//! Fills a folder with what wheels hold.

use super::find::{self, Found};
use super::requirement::Pin;
use super::sandbox::{self, Apart};
use super::{BOUNDS, FILES, FORMAT, LOCK, PackageError, PackageStore, TREE};
use super::{blocking, digest, manifest, wheel};
use crate::bundle::keep::{self, Staging};
use crate::bundle::name::Names;
use crate::launcher::Launcher;
use magic_store::state::WheelError;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

impl PackageStore {
    /// Takes all wheels apart into the folder.
    pub(super) async fn fill(
        &self,
        launcher: &Arc<Launcher>,
        found: &[Found],
        file: &str,
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
        for one in found {
            let place = copy.path().join("wheel.whl");
            if let Err(error) = self.bring(one, &place).await {
                if let PackageError::Carried(WheelError::Damaged { .. }) = &error {
                    self.examine(found).await;
                }
                return Err(error);
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
        // What such a lock does not follow was left out by whoever made it.
        if file == manifest::REQUIREMENTS && !missing.is_empty() {
            return Err(PackageError::Incomplete(missing.join("; ")));
        }
        let lock = lock(found);
        blocking(move || {
            let tree = digest::of(&files)?;
            keep::write_file(staging.path(), TREE, tree.as_bytes())?;
            keep::write_file(staging.path(), LOCK, lock.as_bytes())?;
            Ok(staging)
        })
        .await?
        .map_err(PackageError::Keep)
    }

    /// Reads all wheels that come from the state, because one of them is damaged:
    /// the state takes those anew which turn out to be, and so one deploy mends
    /// all of them.
    async fn examine(&self, found: &[Found]) {
        let Some(state) = &self.state else {
            return;
        };
        for one in found.iter().filter(|one| one.path.is_none()) {
            if let Err(error) = state.read_wheel(&one.hash, tokio::io::sink()).await {
                tracing::warn!(wheel = one.file, %error, "a wheel cannot be had");
            }
        }
    }

    /// Brings a wheel to where it is taken apart.
    async fn bring(&self, one: &Found, place: &Path) -> Result<(), PackageError> {
        let Some(from) = one.path.clone() else {
            let state = self.state.as_ref();
            let missing = || WheelError::NoSuchWheel {
                digest: one.hash.clone(),
            };
            let file = crate::folder::create_file(place).map_err(PackageError::Keep)?;
            let file = tokio::fs::File::from_std(file);
            // It is believed when it has this hash, which is looked at there.
            state
                .ok_or_else(missing)?
                .read_wheel(&one.hash, file)
                .await?;
            return Ok(());
        };
        let to = place.to_owned();
        let copied = blocking(move || find::copy(&from, &to)).await?;
        if copied.map_err(PackageError::Keep)? == one.hash {
            return Ok(());
        }
        Err(PackageError::Wheel {
            package: one.pin.name.clone(),
            reason: "its file changed while it was read".to_owned(),
        })
    }
}

/// What a set of wheels is called when this interpreter takes it apart.
pub(super) fn name(launcher: &Launcher, found: &[Found]) -> String {
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
