//! What `uv.lock` says: which packages this interpreter needs, and which bytes.
//!
//! Such a lock is for all platforms at once. Nothing is resolved here: from the
//! project's own entry every dependency is followed whose marker holds for the
//! interpreter that runs controllers, and what is reached is what the controller
//! gets, in the version and with the hashes that the lock has. Where the lock
//! leaves a choice it is refused. The project's own extras and its groups, such
//! as `dev`, are for those who work on it and not followed.
//!
//! The file comes with the bundle and may be anybody's, so everything in it is
//! bounded, and nothing of it is a path or an address that would be opened.

use super::marker::{self, Environment, MarkerError};
use super::requirement::{PACKAGES, Pin, is_name, is_version, normalized, sha256, shortened};
use super::wheel::{WheelName, WheelSupport, is_same_version};
use pep440_rs::{Version, VersionSpecifiers};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// The largest lock, in bytes and in packages of all platforms.
const LENGTH: usize = 8 << 20;
const LOCKED: usize = 5_000;

/// How many bytes may be looked at while dependencies are followed. A lock as large as it may be is looked at a few times by
/// those that are written by `uv`; one that is made to be looked at again and again is refused instead.
const WORK: usize = 20_000_000;

/// The project that is the SDK: the runtime has its own, which no other replaces.
const SDK: &str = "magic-runtime";

/// Why a lock is not acceptable.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LockError {
    #[error("it is larger than {} MiB", LENGTH >> 20)]
    Large,
    #[error("it is not such a file: {0}; type `uv lock`")]
    Format(String),
    #[error(
        "it has the format {0}, and 1 is what is read here; type `uv lock` with a uv that writes it"
    )]
    Later(u64),
    #[error("it has more than {LOCKED} packages")]
    Many,
    #[error("it is the lock of {}, and pyproject.toml is that of `{project}`; type `uv lock` in this folder", one_of(.found))]
    OtherProject { project: String, found: Vec<String> },
    #[error(
        "it is for Python {wanted}, and controllers are run by {found}; see to `requires-python`, then type `uv lock`"
    )]
    Python { wanted: String, found: String },
    #[error("the marker `{marker}` of {package} cannot be judged: {source}")]
    Marker {
        package: String,
        marker: String,
        source: MarkerError,
    },
    #[error("{package} needs {dependency}, which it has not; type `uv lock`")]
    Lacks { package: String, dependency: String },
    #[error("it has {dependency} in several versions ({}), and for this interpreter more than one of them; see to the markers in pyproject.toml, then type `uv lock`", .versions.join(", "))]
    Several {
        dependency: String,
        versions: Vec<String>,
    },
    #[error(
        "{package} comes from {kind}, and only packages of an index are taken, by the hash of their wheels; put its modules into the controller's folder, or publish it to an index"
    )]
    Source { package: String, kind: &'static str },
    #[error(
        "it has no wheel of {0}, only its source, which is not built here; choose a version that has one with `uv lock --no-build`"
    )]
    NoWheel(String),
    #[error(
        "it has no wheel of {0} that was built for this interpreter and system; choose a version that has one"
    )]
    NoFittingWheel(String),
    #[error("the wheel `{0}` has no SHA-256 in it; type `uv lock` with an index that tells it")]
    NoHash(String),
    #[error("`{0}` is no name of a package with one version")]
    Name(String),
    #[error("this interpreter would need more than {PACKAGES} packages")]
    TooMany,
    #[error("its dependencies are too entangled to be followed; ask for less in pyproject.toml")]
    Entangled,
}

/// What is left of [`WORK`].
struct Work(usize);

impl Work {
    fn spend(&mut self, bytes: usize) -> Result<(), LockError> {
        self.0 = self.0.checked_sub(bytes).ok_or(LockError::Entangled)?;
        Ok(())
    }
}

/// What a lock says, taken apart.
#[derive(Debug, Deserialize)]
pub(crate) struct Lock {
    version: u64,
    #[serde(rename = "requires-python")]
    requires_python: Option<String>,
    #[serde(default)]
    package: Vec<Package>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Package {
    name: String,
    version: Option<String>,
    source: BTreeMap<String, toml::Value>,
    #[serde(default)]
    resolution_markers: Vec<String>,
    #[serde(default)]
    dependencies: Vec<Dependency>,
    #[serde(default)]
    optional_dependencies: BTreeMap<String, Vec<Dependency>>,
    #[serde(default)]
    wheels: Vec<File>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    version: Option<String>,
    source: Option<BTreeMap<String, toml::Value>>,
    #[serde(default)]
    extra: Vec<String>,
    marker: Option<String>,
}

#[derive(Debug, Deserialize)]
struct File {
    url: Option<String>,
    path: Option<String>,
    filename: Option<String>,
    hash: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Metadata {
    #[serde(default)]
    requires_dist: Vec<Required>,
}

/// What the project asked for when it was locked.
#[derive(Debug, Deserialize)]
pub(crate) struct Required {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) extras: Vec<String>,
    pub(crate) specifier: Option<String>,
    marker: Option<String>,
    #[serde(flatten)]
    other: BTreeMap<String, toml::Value>,
}

impl Required {
    /// Whether it belongs to the project itself and not to one of its extras.
    pub(crate) fn is_of_project(&self) -> bool {
        let marker = self.marker.as_deref().unwrap_or_default();
        !marker.contains("extra ==")
    }

    /// Whether it is taken from somewhere else than from an index.
    pub(crate) fn has_source(&self) -> bool {
        KINDS.iter().any(|(key, _)| self.other.contains_key(*key))
    }
}

/// Sources that are no index, as the lock and as people call them.
const KINDS: [(&str, &str); 6] = [
    ("git", "a repository"),
    ("url", "a link"),
    ("path", "a file"),
    ("directory", "a folder"),
    ("editable", "a folder"),
    ("virtual", "a folder"),
];

/// Reads a lock.
pub(crate) fn read(content: &[u8]) -> Result<Lock, LockError> {
    if content.len() > LENGTH {
        return Err(LockError::Large);
    }
    let text =
        std::str::from_utf8(content).map_err(|_| LockError::Format("no UTF-8".to_owned()))?;
    let lock: Lock =
        toml::from_str(text).map_err(|error| LockError::Format(shortened(error.message())))?;
    if lock.version != 1 {
        return Err(LockError::Later(lock.version));
    }
    if lock.package.len() > LOCKED {
        return Err(LockError::Many);
    }
    Ok(lock)
}

impl Lock {
    /// What the project of that name asked for when this was written.
    pub(crate) fn required(&self, project: &str) -> Result<&[Required], LockError> {
        let root = &self.package[self.project(project)?];
        Ok(&root.metadata.requires_dist)
    }

    /// The packages that the project needs on this interpreter, in the order of names.
    pub(crate) fn pins(
        &self,
        project: &str,
        environment: &Environment,
        support: &WheelSupport,
    ) -> Result<Vec<Pin>, LockError> {
        self.check_python(environment)?;
        let mut work = Work(WORK);
        let root = self.project(project)?;
        let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, package) in self.package.iter().enumerate() {
            by_name
                .entry(normalized(&package.name))
                .or_default()
                .push(index);
        }
        // The packages that are needed, each with the extras that are asked of it.
        let mut needed: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        let mut open = vec![(root, None::<String>)];
        let mut seen = BTreeSet::new();
        while let Some((index, extra)) = open.pop() {
            if !seen.insert((index, extra.clone())) {
                continue;
            }
            let package = &self.package[index];
            let extras = needed.entry(index).or_default();
            let dependencies = match &extra {
                None => package.dependencies.as_slice(),
                Some(extra) => {
                    extras.insert(extra.clone());
                    let names = package.optional_dependencies.keys();
                    work.spend(names.map(|name| 1 + name.len()).sum())?;
                    // An extra that the version does not have asks for nothing, as everywhere.
                    package
                        .optional_dependencies
                        .iter()
                        .find(|(name, _)| normalized(name) == *extra)
                        .map_or(&[][..], |(_, list)| list.as_slice())
                }
            };
            if needed.len() > PACKAGES + 1 {
                return Err(LockError::TooMany);
            }
            for dependency in dependencies {
                let marker = dependency.marker.as_ref().map_or(0, String::len);
                work.spend(1 + dependency.name.len() + marker)?;
                if normalized(&dependency.name) == SDK
                    || !judge(&package.name, dependency.marker.as_deref(), environment)?
                {
                    continue;
                }
                let index = self.choose(package, dependency, &by_name, environment, &mut work)?;
                open.push((index, None));
                for extra in &dependency.extra {
                    open.push((index, Some(normalized(extra))));
                }
            }
        }
        let mut pins = BTreeMap::new();
        for (index, extras) in needed {
            if index == root {
                continue;
            }
            let pin = self.package[index].pin(extras, support, &mut work)?;
            if let Some(other) = pins.insert(pin.name.clone(), pin.clone()) {
                return Err(LockError::Several {
                    dependency: pin.name,
                    versions: vec![other.version, pin.version],
                });
            }
        }
        Ok(pins.into_values().collect())
    }

    /// The entry of the project that the lock lies beside.
    fn project(&self, project: &str) -> Result<usize, LockError> {
        let is_here = |package: &Package| {
            ["virtual", "editable"]
                .iter()
                .filter_map(|kind| package.source.get(*kind)?.as_str())
                .any(|folder| folder == ".")
        };
        let found = |(index, package): (usize, &Package)| {
            (is_here(package) && normalized(&package.name) == normalized(project)).then_some(index)
        };
        self.package
            .iter()
            .enumerate()
            .find_map(found)
            .ok_or_else(|| {
                let names = self.package.iter().filter(|package| is_here(package));
                LockError::OtherProject {
                    project: shortened(project),
                    found: names.map(|package| shortened(&package.name)).collect(),
                }
            })
    }

    fn check_python(&self, environment: &Environment) -> Result<(), LockError> {
        let Some(wanted) = &self.requires_python else {
            return Ok(());
        };
        let (major, minor, patch) = environment.version;
        let found = Version::new([major, minor, patch].map(u64::from));
        match VersionSpecifiers::from_str(wanted) {
            Ok(specifiers) if specifiers.contains(&found) => Ok(()),
            _ => Err(LockError::Python {
                wanted: shortened(wanted),
                found: found.to_string(),
            }),
        }
    }

    /// The one entry that a dependency means.
    fn choose(
        &self,
        package: &Package,
        dependency: &Dependency,
        by_name: &BTreeMap<String, Vec<usize>>,
        environment: &Environment,
        work: &mut Work,
    ) -> Result<usize, LockError> {
        let name = normalized(&dependency.name);
        let mut found = Vec::new();
        for index in by_name.get(&name).map_or(&[][..], Vec::as_slice) {
            let candidate = &self.package[*index];
            let markers = candidate.resolution_markers.iter();
            let markers: usize = markers.map(|marker| 1 + marker.len()).sum();
            let version = candidate.version.as_ref().map_or(0, String::len);
            work.spend(1 + version + markers)?;
            let is_meant = dependency
                .version
                .as_ref()
                .is_none_or(|version| candidate.version.as_ref() == Some(version))
                && dependency
                    .source
                    .as_ref()
                    .is_none_or(|source| candidate.source == *source);
            if is_meant && candidate.is_for(environment)? {
                found.push(*index);
            }
        }
        match found.as_slice() {
            [only] => Ok(*only),
            [] => Err(LockError::Lacks {
                package: shortened(&package.name),
                dependency: shortened(&dependency.name),
            }),
            several => Err(LockError::Several {
                dependency: shortened(&dependency.name),
                versions: several
                    .iter()
                    .map(|index| shortened(self.package[*index].version.as_deref().unwrap_or("?")))
                    .collect(),
            }),
        }
    }
}

impl Package {
    /// Whether the forks of the resolution that it belongs to include this interpreter.
    fn is_for(&self, environment: &Environment) -> Result<bool, LockError> {
        let mut holds = self.resolution_markers.is_empty();
        for marker in &self.resolution_markers {
            holds |= judge(&self.name, Some(marker), environment)?;
        }
        Ok(holds)
    }

    fn pin(
        &self,
        extras: BTreeSet<String>,
        support: &WheelSupport,
        work: &mut Work,
    ) -> Result<Pin, LockError> {
        let name = normalized(&self.name);
        let kind = KINDS
            .iter()
            .find(|(key, _)| self.source.contains_key(*key))
            .map(|(_, kind)| *kind);
        if kind.is_some() || !self.source.contains_key("registry") {
            return Err(LockError::Source {
                package: shortened(&name),
                kind: kind.unwrap_or("a source that is not known here"),
            });
        }
        let version = self.version.as_deref().unwrap_or_default();
        let shown = format!("{}=={}", shortened(&name), shortened(version));
        if !is_name(&self.name) || !is_version(version) || !extras.iter().all(|one| is_name(one)) {
            return Err(LockError::Name(shown));
        }
        if self.wheels.is_empty() {
            return Err(LockError::NoWheel(shown));
        }
        let mut hashes = Vec::new();
        for wheel in &self.wheels {
            let file = wheel.name();
            work.spend(1 + file.len() + version.len())?;
            let fits = WheelName::parse(&file).is_some_and(|wheel| {
                wheel.name == name
                    && is_same_version(&wheel.version, version)
                    && wheel.fitness(support).is_some()
            });
            if fits {
                let hash = wheel.hash.as_deref().and_then(sha256);
                hashes.push(hash.ok_or_else(|| LockError::NoHash(shortened(&file)))?);
            }
        }
        if hashes.is_empty() {
            return Err(LockError::NoFittingWheel(shown));
        }
        Ok(Pin {
            name,
            version: version.to_owned(),
            extras: extras.into_iter().collect(),
            hashes,
        })
    }
}

impl File {
    /// The wheel's file name: the end of its address.
    fn name(&self) -> String {
        let address = [&self.filename, &self.path, &self.url]
            .into_iter()
            .find_map(Option::as_deref)
            .unwrap_or_default();
        let end = address.find(['?', '#']).unwrap_or(address.len());
        let name = address[..end].rsplit('/').next().unwrap_or_default();
        // Of what is escaped in addresses only this is in a wheel's name.
        name.replace("%2B", "+").replace("%2b", "+")
    }
}

fn judge(
    package: &str,
    marker: Option<&str>,
    environment: &Environment,
) -> Result<bool, LockError> {
    let Some(marker) = marker else {
        return Ok(true);
    };
    marker::holds(marker, environment).map_err(|source| LockError::Marker {
        package: shortened(package),
        marker: shortened(marker),
        source,
    })
}

fn one_of(names: &[String]) -> String {
    match names {
        [] => "no project of its own folder".to_owned(),
        names => format!("`{}`", names.join("`, `")),
    }
}

#[cfg(test)]
#[path = "uv_lock/tests.rs"]
mod tests;
