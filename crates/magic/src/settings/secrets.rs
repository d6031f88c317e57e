//! Where the secrets of controllers come from; see `docs/secrets.md`.
//!
//! Directories are asked in this order: `MAGIC_SECRETS_DIR`, which somebody chose for this; then `$CREDENTIALS_DIRECTORY`, which
//! systemd sets (`LoadCredential=`); then `/run/secrets`, where Docker puts secrets. The key of the encrypted store has no place in
//! `magic.toml`, because that file is shared and copied.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use magic_broker::secrets::{SecretValue, SecretsOptions, StorePaths};

use super::{Settings, Variables, path_variable, set_variable};

/// Where Docker and Podman put secrets.
const CONTAINER_SECRETS: &str = "/run/secrets";

/// The sources of secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretsSettings {
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) key: Option<SecretValue>,
}

impl SecretsSettings {
    /// Reads what the environment says; `directory` is the setting of that name, merged.
    ///
    /// # Errors
    /// When the key is no text.
    pub(super) fn read(
        variables: Variables<'_>,
        directory: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let key = set_variable(variables, "MAGIC_SECRETS_KEY")
            .map(OsString::into_vec)
            .map(|bytes| SecretValue::new(bytes.into()))
            .transpose()
            .map_err(|problem| anyhow::anyhow!("MAGIC_SECRETS_KEY cannot be used: {problem}"))?;
        let directories = directory
            .into_iter()
            .chain(path_variable(variables, "CREDENTIALS_DIRECTORY"))
            .chain([PathBuf::from(CONTAINER_SECRETS)])
            .collect();
        Ok(Self { directories, key })
    }
}

impl Settings {
    /// The sources of secrets, for whoever opens them.
    pub(crate) fn secrets_options(&self) -> SecretsOptions {
        SecretsOptions {
            environment: true,
            directories: self.secrets.directories.clone(),
            store: Some(self.secrets_store()),
        }
    }

    /// The encrypted store and its key.
    pub(crate) fn secrets_store(&self) -> StorePaths {
        StorePaths::beneath(&self.data_dir, self.secrets.key.clone())
    }
}
