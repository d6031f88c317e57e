//! Which version of a controller serves: one name, one pointer.

use crate::deployment::Deployment;
use magic_contract::{ErrorCode, Failure};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The controllers that serve.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    active: RwLock<BTreeMap<String, Arc<Deployment>>>,
}

impl Registry {
    /// The deployment of that name, if it serves.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Deployment>> {
        self.active
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    /// The deployment that a request asks for.
    ///
    /// # Errors
    ///
    /// E4004, with the names or the version there are.
    pub(crate) fn find(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<Arc<Deployment>, Failure> {
        let Some(deployment) = self.get(name) else {
            return Err(self.unknown(name));
        };
        let serving = deployment.contract().version.to_string();
        match version.map(|wanted| wanted.strip_prefix('v').unwrap_or(wanted)) {
            Some(wanted) if wanted != serving => Err(Failure::new(
                ErrorCode::UnknownController,
                format!("controller `{name}` has no such version; {serving} is deployed"),
            )
            .with_detail("deployed", json!([serving]))),
            _ => Ok(deployment),
        }
    }

    fn unknown(&self, name: &str) -> Failure {
        let active = self.active.read().unwrap_or_else(PoisonError::into_inner);
        let same_letters = active.keys().find(|known| known.eq_ignore_ascii_case(name));
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

    /// Puts a deployment in its place and returns the one that served before.
    pub(crate) fn put(&self, deployment: Arc<Deployment>) -> Option<Arc<Deployment>> {
        let name = deployment.contract().name.to_string();
        let before = self
            .active
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, deployment);
        before.inspect(|before| before.withdrawn.cancel())
    }

    /// Takes a deployment away.
    pub(crate) fn remove(&self, name: &str) -> Option<Arc<Deployment>> {
        let removed = self
            .active
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        removed.inspect(|removed| removed.withdrawn.cancel())
    }

    /// All deployments by name.
    pub(crate) fn all(&self) -> Vec<Arc<Deployment>> {
        self.active
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }
}
