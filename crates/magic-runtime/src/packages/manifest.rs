//! Which of a controller's files says what packages it needs.
//!
//! One deploy has one lock. Two that lie side by side may differ tomorrow if
//! they do not today, and then nobody could say which of them was meant, so a
//! folder with both is refused. `pyproject.toml` alone asks and pins nothing.

use super::marker::Environment;
use super::project::{self, ProjectError};
use super::requirement::{self, Pin, RequirementError};
use super::uv_lock::{self, LockError};
use super::wheel::WheelSupport;
use crate::bundle::Bundle;

pub(super) const REQUIREMENTS: &str = "requirements.txt";
pub(super) const PROJECT: &str = "pyproject.toml";
pub(super) const LOCK: &str = "uv.lock";

/// Why a controller's files do not say what it needs.
#[derive(Debug, thiserror::Error)]
pub(super) enum ManifestError {
    #[error("requirements.txt: {0}")]
    Requirements(#[from] RequirementError),
    #[error("pyproject.toml: {0}")]
    Project(#[from] ProjectError),
    #[error("uv.lock: {0}")]
    Lock(#[from] LockError),
    #[error(
        "there are both requirements.txt and uv.lock, and only one of them can say what is taken; remove one: type `rm requirements.txt` to go by uv.lock"
    )]
    Both,
    #[error("there is uv.lock without the pyproject.toml that it was made of; add that file")]
    NoProject,
    #[error("pyproject.toml asks for packages, and no lock says which; type `uv lock`")]
    NoLock,
    #[error("uv.lock was not made of this pyproject.toml: they differ in `{0}`; type `uv lock`")]
    Stale(String),
}

impl ManifestError {
    /// The file to look at.
    pub(super) fn file(&self) -> &'static str {
        match self {
            Self::Requirements(_) | Self::Both => REQUIREMENTS,
            Self::Project(_) | Self::NoLock => PROJECT,
            Self::Lock(_) | Self::NoProject | Self::Stale(_) => LOCK,
        }
    }
}

/// The files of a bundle that may say it.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    requirements: Option<Vec<u8>>,
    project: Option<Vec<u8>>,
    lock: Option<Vec<u8>>,
}

/// What a controller asks for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) pins: Vec<Pin>,
    /// The file that said it.
    pub(super) file: &'static str,
}

impl Manifest {
    /// Of these files.
    pub(crate) fn of(bundle: &Bundle) -> Self {
        let file = |name| bundle.file(name).map(<[u8]>::to_vec);
        Self {
            requirements: file(REQUIREMENTS),
            project: file(PROJECT),
            lock: file(LOCK),
        }
    }

    /// The same without the files of uv: what a version was accepted by before
    /// they were read.
    pub(crate) fn before_uv_was_read(mut self) -> Self {
        if self.requirements.is_some() {
            self.lock = None;
            self.project = None;
        }
        self
    }

    /// What they ask for on this interpreter.
    pub(super) fn pins(
        &self,
        environment: &Environment,
        support: &WheelSupport,
    ) -> Result<Asked, ManifestError> {
        let (pins, file) = match (&self.requirements, &self.project, &self.lock) {
            (Some(_), _, Some(_)) => return Err(ManifestError::Both),
            (Some(requirements), _, None) => (requirement::parse(requirements)?, REQUIREMENTS),
            (None, None, Some(_)) => return Err(ManifestError::NoProject),
            (None, Some(project), Some(lock)) => {
                let project = project::read(project)?;
                let lock = uv_lock::read(lock)?;
                let name = project.named()?;
                if let Some(difference) = project.difference(lock.required(name)?) {
                    return Err(ManifestError::Stale(difference));
                }
                (lock.pins(name, environment, support)?, LOCK)
            }
            (None, Some(project), None) => {
                if project::read(project)?.asks() {
                    return Err(ManifestError::NoLock);
                }
                (Vec::new(), PROJECT)
            }
            (None, None, None) => (Vec::new(), REQUIREMENTS),
        };
        Ok(Asked { pins, file })
    }
}

#[cfg(test)]
mod tests {
    use super::super::wheel::{CLibrary, WheelSupport};
    use super::{Environment, Manifest, ManifestError};

    const REQUIREMENTS: &str = "one==1.0\n";
    const ASKS: &str = "[project]\nname = \"a\"\ndependencies = [\"two\"]\n";
    const TOOLS: &str = "[tool.ruff]\n";
    const LOCK: &str = "version = 1\n[[package]]\nname = \"a\"\nsource = { virtual = \".\" }\n";

    fn manifest(requirements: &str, project: &str, lock: &str) -> Manifest {
        let file = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
        Manifest {
            requirements: file(requirements),
            project: file(project),
            lock: file(lock),
        }
    }

    /// How many packages are asked for, by which file.
    fn asked(manifest: &Manifest) -> Result<(usize, &'static str), ManifestError> {
        let environment = Environment {
            version: (3, 11, 7),
            machine: "x86_64".to_owned(),
        };
        let support = WheelSupport {
            minor: 11,
            abi_flags: String::new(),
            machine: "x86_64".to_owned(),
            library: CLibrary::Glibc(2, 36),
        };
        let asked = manifest.pins(&environment, &support)?;
        Ok((asked.pins.len(), asked.file))
    }

    #[test]
    fn one_file_says_what_is_needed() {
        for (requirements, project, lock, expected) in [
            ("", "", "", (0, "requirements.txt")),
            (REQUIREMENTS, "", "", (1, "requirements.txt")),
            (REQUIREMENTS, ASKS, "", (1, "requirements.txt")),
            (REQUIREMENTS, TOOLS, "", (1, "requirements.txt")),
            ("", TOOLS, "", (0, "pyproject.toml")),
            ("", "[project]\nname = \"a\"\n", LOCK, (0, "uv.lock")),
        ] {
            let found = asked(&manifest(requirements, project, lock));
            assert_eq!(found.expect("they say it"), expected, "{project}");
        }
    }

    #[test]
    fn two_locks_and_none_are_refused_for_new_versions() {
        for (requirements, project, lock, says, file) in [
            (
                REQUIREMENTS,
                ASKS,
                LOCK,
                "`rm requirements.txt`",
                "requirements.txt",
            ),
            (
                REQUIREMENTS,
                "",
                LOCK,
                "`rm requirements.txt`",
                "requirements.txt",
            ),
            ("", "", LOCK, "without the pyproject.toml", "uv.lock"),
            ("", ASKS, "", "type `uv lock`", "pyproject.toml"),
            ("", ASKS, LOCK, "they differ in `two`", "uv.lock"),
            ("", TOOLS, LOCK, "it has no `name`", "pyproject.toml"),
            ("", "[", "", "pyproject.toml: it is not", "pyproject.toml"),
        ] {
            let error = asked(&manifest(requirements, project, lock)).expect_err(says);
            assert!(error.to_string().contains(says), "{error}");
            assert_eq!(error.file(), file, "{error}");
        }
        // A version of an earlier program has what it had.
        let before = manifest(REQUIREMENTS, ASKS, LOCK).before_uv_was_read();
        assert_eq!(asked(&before).expect("it was"), (1, "requirements.txt"));
    }
}
