//! What `pyproject.toml` asks for, as far as a lock must agree with it.
//!
//! A lock that is older than the project beside it would give a controller other
//! packages than its author asks for, so names and versions of both are compared.
//! Markers are not: the tool that locks rewrites them.

use super::requirement::{normalized, shortened};
use super::uv_lock::Required;
use pep440_rs::VersionSpecifiers;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::str::FromStr;

/// The largest file.
const LENGTH: usize = 1 << 20;

/// Why the file is not acceptable.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProjectError {
    #[error("it is larger than {} MiB", LENGTH >> 20)]
    Large,
    #[error("it is not such a file: {0}")]
    Format(String),
    #[error("it has no `name` in `[project]`, and a lock is made for a name")]
    NoName,
}

/// A project.
#[derive(Debug)]
pub(crate) struct Project {
    /// Its name, as written.
    pub(crate) name: Option<String>,
    /// What it asks for.
    pub(crate) dependencies: Vec<String>,
    /// Whether something else says what it asks for.
    is_dynamic: bool,
}

#[derive(Debug, Default, Deserialize)]
struct Text {
    #[serde(default)]
    project: Table,
}

#[derive(Debug, Default, Deserialize)]
struct Table {
    name: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
    #[serde(default)]
    dynamic: Vec<String>,
}

/// Reads the file. One without `[project]` only sets up tools.
pub(crate) fn read(content: &[u8]) -> Result<Project, ProjectError> {
    if content.len() > LENGTH {
        return Err(ProjectError::Large);
    }
    let format = |what: &str| ProjectError::Format(shortened(what));
    let text = std::str::from_utf8(content).map_err(|_| format("no UTF-8"))?;
    let Text { project } = toml::from_str(text).map_err(|error| format(error.message()))?;
    Ok(Project {
        name: project.name,
        is_dynamic: project.dynamic.iter().any(|what| what == "dependencies"),
        dependencies: project.dependencies,
    })
}

impl Project {
    /// Its name.
    pub(crate) fn named(&self) -> Result<&str, ProjectError> {
        self.name.as_deref().ok_or(ProjectError::NoName)
    }

    /// Whether packages are asked for, or might be.
    pub(crate) fn asks(&self) -> bool {
        self.is_dynamic || !self.dependencies.is_empty()
    }

    /// A dependency that the lock was not made for, or one of the lock that is not
    /// asked for any more; none if they agree.
    pub(crate) fn difference(&self, locked: &[Required]) -> Option<String> {
        if self.is_dynamic {
            return None;
        }
        let sourced: BTreeSet<String> = locked
            .iter()
            .filter(|one| one.has_source())
            .map(|one| normalized(&one.name))
            .collect();
        let asked: BTreeSet<Asked> = self
            .dependencies
            .iter()
            .map(|text| Asked::read(text))
            .collect();
        let locked: BTreeSet<Asked> = locked
            .iter()
            .filter(|one| one.is_of_project())
            .map(|one| Asked::new(&one.name, &one.extras, one.specifier.as_deref()))
            .collect();
        asked
            .symmetric_difference(&locked)
            // What comes from elsewhere is refused for that, by its name.
            .find(|one| !sourced.contains(&one.name))
            .map(Asked::shown)
    }
}

/// One dependency, in the form in which two are compared.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    name: String,
    extras: BTreeSet<String>,
    versions: BTreeSet<String>,
}

impl Asked {
    /// Of the project's text: `name[extra] >=1,<2 ; marker`.
    fn read(text: &str) -> Self {
        let text = text.split(';').next().unwrap_or_default().trim();
        let is_of_name =
            |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
        let end = text
            .find(|letter| !is_of_name(letter))
            .unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let rest = rest.trim_start();
        let (extras, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((extras, rest)) => (extras, rest),
            None => ("", rest),
        };
        let extras: Vec<String> = extras
            .split(',')
            .map(|extra| extra.trim().to_owned())
            .filter(|extra| !extra.is_empty())
            .collect();
        let rest = rest.trim();
        let rest = rest
            .strip_prefix('(')
            .and_then(|rest| rest.strip_suffix(')'))
            .unwrap_or(rest);
        Self::new(name, &extras, Some(rest))
    }

    fn new(name: &str, extras: &[String], specifier: Option<&str>) -> Self {
        let text = specifier.unwrap_or_default();
        let versions = match VersionSpecifiers::from_str(text) {
            Ok(versions) => versions.iter().map(ToString::to_string).collect(),
            // Compared as it stands; a tool that locks refuses it.
            Err(_) => BTreeSet::from([text.to_owned()]),
        };
        Self {
            name: normalized(name),
            extras: extras.iter().map(|extra| normalized(extra)).collect(),
            versions,
        }
    }

    fn shown(&self) -> String {
        let versions: Vec<&str> = self.versions.iter().map(String::as_str).collect();
        shortened(&format!("{}{}", self.name, versions.join(",")))
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, ProjectError, read};

    #[test]
    fn spellings_of_one_dependency_are_one() {
        for (one, other) in [
            ("NumPy>=2,<3", "numpy <3, >=2 ; python_version > '3'"),
            ("typing_extensions", "Typing.Extensions"),
            ("pydantic[email, dotenv]", "pydantic[dotenv,email]"),
            ("a (>=1.0)", "a>=1.0"),
        ] {
            assert_eq!(Asked::read(one), Asked::read(other), "{one}");
        }
        for (one, other) in [
            ("a>=1", "a>=2"),
            ("a", "b"),
            ("a[x]", "a"),
            ("a==1.*", "a==1"),
        ] {
            assert_ne!(Asked::read(one), Asked::read(other), "{one}");
        }
    }

    #[test]
    fn a_file_for_tools_asks_for_nothing() {
        let tools = read(b"[tool.ruff]\nline-length = 100\n").expect("a file");
        assert!(!tools.asks());
        assert_eq!(tools.named(), Err(ProjectError::NoName));
        let dynamic = read(b"[project]\nname='a'\ndynamic=['dependencies']").expect("a file");
        assert!(dynamic.asks() && dynamic.difference(&[]).is_none());
        let asking = read(b"[project]\nname='a'\ndependencies=['b>=1']").expect("a file");
        assert_eq!(asking.difference(&[]), Some("b>=1".to_owned()));
        for (text, says) in [
            (&b"\xff"[..], "UTF-8"),
            (b"[project", ""),
            (b"project = 3", "invalid type"),
        ] {
            let error = read(text).expect_err("no such file").to_string();
            assert!(error.contains(says), "{error}");
        }
        assert_eq!(
            read(&vec![b' '; (1 << 20) + 1]).err(),
            Some(ProjectError::Large)
        );
    }
}
