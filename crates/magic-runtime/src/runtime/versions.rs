//! Versions that arrive, change places and go, as callers ask for it.

use super::*;

impl Runtime {
    /// Deploys an uploaded bundle for good, on every node.
    ///
    /// # Errors
    ///
    /// Those of [`Runtime::deploy`], E4003 for a version that exists with other
    /// content, breaks its callers, or cannot be a canary; E4005 when the state
    /// or this node fails.
    pub async fn deploy_bundle(&self, order: DeployOrder) -> Result<Deployed, Failure> {
        lifecycle::deploy(&self.shared, order).await
    }

    /// Deploys the controller in `folder` for good if that version was never
    /// deployed; otherwise nothing changes, whatever serves by now.
    ///
    /// # Errors
    ///
    /// Those of [`Runtime::deploy_bundle`].
    pub async fn introduce(&self, folder: &Path, actor: Actor) -> Result<Deployed, Failure> {
        let folder = folder.to_owned();
        let reading = tokio::task::spawn_blocking(move || Bundle::read(&folder));
        let bundle = reading.await.unwrap_or_else(|error| {
            Err(Failure::new(
                ErrorCode::DeploymentFailed,
                "reading the folder was cut short",
            )
            .with_reason(Reason::Internal)
            .with_internal(error.to_string()))
        })?;
        lifecycle::introduce(&self.shared, Box::new(bundle), actor).await
    }

    /// Makes an earlier version the active one on every node; the one before,
    /// if none is named.
    ///
    /// # Errors
    ///
    /// E4004 if there is no such controller or version, E4003 if there is
    /// nothing to go back to, E4005 when the state fails.
    pub async fn roll_back(
        &self,
        name: &str,
        to: Option<&str>,
        actor: &Actor,
    ) -> Result<Moved, Failure> {
        lifecycle::roll_back(&self.shared, name, to, actor).await
    }

    /// Takes a controller out of service on every node. Its versions stay known.
    ///
    /// # Errors
    ///
    /// E4004 or E4005.
    pub async fn delete(&self, name: &str, actor: &Actor) -> Result<Moved, Failure> {
        lifecycle::delete(&self.shared, name, actor).await
    }

    /// Ends the trial of a canary: it becomes the active version, or gets no
    /// further requests.
    ///
    /// # Errors
    ///
    /// E4004 if there is none, E4005 when the state fails.
    pub async fn end_canary(
        &self,
        name: &str,
        promote: bool,
        actor: &Actor,
    ) -> Result<Moved, Failure> {
        lifecycle::end_canary(&self.shared, name, promote, actor).await
    }

    /// Every version of a controller that was deployed, and its history, the
    /// newest first.
    ///
    /// # Errors
    ///
    /// E4004 or E4005.
    pub async fn versions(&self, name: &str) -> Result<Versions, Failure> {
        lifecycle::versions(&self.shared, name).await
    }

    /// Puts into service what the state says, and follows it from now on.
    ///
    /// # Errors
    ///
    /// E4005 if the state cannot be read now. A controller that cannot be served
    /// is no error; [`Runtime::unserved`] tells of it.
    pub async fn start_following(&self) -> Result<(), Failure> {
        lifecycle::start(&self.shared).await
    }

    /// The controllers that this node cannot serve as they are deployed.
    pub fn unserved(&self) -> Vec<Unserved> {
        let lifecycle = self.shared.lifecycle.as_ref();
        lifecycle.map(Lifecycle::unserved).unwrap_or_default()
    }
}
