//! Which version of a controller serves: one name, one pointer, perhaps with a
//! second version beside it that is tried on a share of the requests.

use crate::canary::{Side, Trial};
use crate::deployment::Deployment;
use magic_contract::{ErrorCode, Failure};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

/// Versions that somebody asked for by number and that nothing points to, kept
/// in memory at once.
const PINNED: usize = 32;

/// The controllers that serve.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    serving: RwLock<BTreeMap<String, Arc<Serving>>>,
    pinned: RwLock<BTreeMap<(String, String), Pinned>>,
}

/// What serves under one name.
#[derive(Debug)]
pub(crate) struct Serving {
    /// What everybody gets.
    pub(crate) active: Arc<Deployment>,
    /// What some get instead.
    pub(crate) canary: Option<Canary>,
    pub(crate) origin: Origin,
}

/// A version that is tried out, and how it does.
#[derive(Debug)]
pub(crate) struct Canary {
    pub(crate) deployment: Arc<Deployment>,
    pub(crate) trial: Arc<Trial>,
}

/// Who says what serves under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A folder on this machine, for as long as this runtime lives.
    Folder,
    /// The runtime's state, at this change of it.
    State(i64),
}

#[derive(Debug)]
struct Pinned {
    deployment: Arc<Deployment>,
    used: Instant,
}

/// The deployment that serves a request.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) deployment: Arc<Deployment>,
    /// Whose count the outcome goes to, while a canary is tried.
    pub(crate) tried: Option<(Arc<Trial>, Side)>,
}

impl Chosen {
    fn plainly(deployment: Arc<Deployment>) -> Self {
        Self {
            deployment,
            tried: None,
        }
    }
}

/// Nothing in memory serves a request.
#[derive(Debug)]
pub(crate) enum Missing {
    /// No controller has that name.
    Controller(Failure),
    /// The controller serves, but not in that version; what to answer if the
    /// state does not know it either.
    Version(Failure),
}

impl Serving {
    /// A version from a folder.
    pub(crate) fn from_folder(active: Arc<Deployment>) -> Self {
        Self {
            active,
            canary: None,
            origin: Origin::Folder,
        }
    }

    fn choose(&self) -> Chosen {
        let Some(canary) = &self.canary else {
            return Chosen::plainly(self.active.clone());
        };
        let side = canary.trial.next();
        let deployment = match side {
            Side::Active => &self.active,
            Side::Canary => &canary.deployment,
        };
        Chosen {
            deployment: deployment.clone(),
            tried: Some((canary.trial.clone(), side)),
        }
    }

    /// Active and canary.
    pub(crate) fn deployments(&self) -> impl Iterator<Item = &Arc<Deployment>> {
        let canary = self.canary.as_ref().map(|canary| &canary.deployment);
        std::iter::once(&self.active).chain(canary)
    }

    fn in_version(&self, version: &str) -> Option<Arc<Deployment>> {
        self.deployments()
            .find(|deployment| deployment.contract().version.to_string() == version)
            .cloned()
    }
}

impl Registry {
    /// What serves under that name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Serving>> {
        self.read().get(name).cloned()
    }

    /// What everybody gets, for whoever only looks: a canary's share is dealt to
    /// requests.
    ///
    /// # Errors
    ///
    /// E4004.
    pub(crate) fn active(&self, name: &str) -> Result<Arc<Deployment>, Failure> {
        let serving = self.get(name).ok_or_else(|| self.unknown(name))?;
        Ok(serving.active.clone())
    }

    /// The deployment that a request asks for.
    ///
    /// # Errors
    ///
    /// [`Missing`], with the E4004 to answer.
    pub(crate) fn find(&self, name: &str, version: Option<&str>) -> Result<Chosen, Missing> {
        let Some(serving) = self.get(name) else {
            return Err(Missing::Controller(self.unknown(name)));
        };
        let Some(version) = version.map(without_v) else {
            return Ok(serving.choose());
        };
        let found = serving
            .in_version(version)
            .or_else(|| self.pinned(name, version));
        found.map(Chosen::plainly).ok_or_else(|| {
            let serves = serving.active.contract().version.to_string();
            // The version came from a client and may be anything.
            let failure = Failure::new(
                ErrorCode::UnknownController,
                format!("controller `{name}` has no such version; {serves} is deployed"),
            )
            .with_detail("deployed", json!([serves]));
            Missing::Version(failure)
        })
    }

    fn unknown(&self, name: &str) -> Failure {
        let serving = self.read();
        let same_letters = serving
            .keys()
            .find(|known| known.eq_ignore_ascii_case(name));
        // The name came from a client; only a well-formed one is repeated.
        let shown = if name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric()) {
            name
        } else {
            "that name"
        };
        let message = match same_letters {
            Some(known) => format!("no controller is called `{shown}`; did you mean `{known}`?"),
            None => format!(
                "no controller is called `{shown}`; GET /api/controllers lists those there are"
            ),
        };
        Failure::new(ErrorCode::UnknownController, message)
    }

    /// Puts something in its place. Versions that do not serve any more finish
    /// what they have.
    pub(crate) fn put(&self, serving: Serving) {
        let name = serving.active.contract().name.to_string();
        let serving = Arc::new(serving);
        let before = self
            .serving
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.clone(), serving.clone());
        let Some(before) = before else { return };
        let stays = |old: &Arc<Deployment>| serving.deployments().any(|new| Arc::ptr_eq(old, new));
        for old in before.deployments().filter(|old| !stays(old)) {
            old.withdrawn.cancel();
        }
    }

    /// Takes a controller away with all its versions; whether it was there.
    pub(crate) fn remove(&self, name: &str) -> bool {
        let removed = self
            .serving
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        self.pinned
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(controller, _), _| controller != name);
        if let Some(removed) = &removed {
            removed
                .deployments()
                .for_each(|deployment| deployment.withdrawn.cancel());
        }
        removed.is_some()
    }

    /// Everything that serves, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Serving>> {
        self.read().values().cloned().collect()
    }

    fn pinned(&self, name: &str, version: &str) -> Option<Arc<Deployment>> {
        let key = (name.to_owned(), version.to_owned());
        let mut pinned = self.pinned.write().unwrap_or_else(PoisonError::into_inner);
        let found = pinned.get_mut(&key)?;
        found.used = Instant::now();
        Some(found.deployment.clone())
    }

    /// Keeps a version that somebody asked for by number. Beyond a bound the one
    /// that was asked for longest ago goes.
    pub(crate) fn pin(&self, deployment: Arc<Deployment>) -> Arc<Deployment> {
        let contract = deployment.contract();
        let key = (contract.name.to_string(), contract.version.to_string());
        let mut pinned = self.pinned.write().unwrap_or_else(PoisonError::into_inner);
        if pinned.len() >= PINNED
            && !pinned.contains_key(&key)
            && let Some(oldest) = pinned
                .iter()
                .min_by_key(|(_, pinned)| pinned.used)
                .map(|(key, _)| key.clone())
        {
            pinned.remove(&oldest);
        }
        // Of two that asked at once, both get the one that was first.
        let entry = pinned.entry(key).or_insert_with(|| Pinned {
            deployment,
            used: Instant::now(),
        });
        entry.deployment.clone()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Serving>>> {
        self.serving.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// People write `v1.0.0` too.
pub(crate) fn without_v(version: &str) -> &str {
    version.strip_prefix('v').unwrap_or(version)
}
