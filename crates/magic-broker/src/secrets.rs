//! Secrets: where their values come from, and what keeps them from going further than meant.
//!
//! A secret has a name, which contracts list and records show, and a value, which appears in as few
//! places as possible: the process that reads it, the answer to the one call that asked, and, when
//! the contract binds it to hosts, not even there. Nothing of it is ever part of a worker's
//! environment or arguments.
//!
//! Three sources are asked in turn, and the first that knows the name answers. *Variables* of the
//! supervisor's environment count only with the prefix `MAGIC_SECRET_`, so that a contract which
//! asks for `DATABASE_URL` does not get the supervisor's own. *Directories* hold one file per
//! secret, as systemd, Docker and Kubernetes provide them. The *store* is one encrypted file that
//! `magic secrets set` writes. Directories and store are read for every call, so that rotation
//! needs no restart; a source that has the name but cannot give its value is an error and never a
//! reason to ask the next one, which might hold a value that was meant to be replaced.

mod directory;
mod environment;
mod handle;
mod redact;
mod session;
mod store;
mod value;
mod whole_file;

use directory::Directory;
pub use directory::DirectoryError;
pub use environment::VariableError;
use environment::Variables;
use jiff::Timestamp;
use magic_contract::SecretName;
pub use redact::Redactor;
pub use session::SecretsSession;
use std::path::PathBuf;
use std::sync::Arc;
use store::CachedStore;
pub use store::{KeyError, SecretStore, StoreError, StorePaths, StoredSecret, Written};
pub use value::{SecretValue, ValueProblem};
pub use whole_file::WholeFileError;

/// Which sources there are.
#[derive(Debug, Clone, Default)]
pub struct SecretsOptions {
    /// Whether variables `MAGIC_SECRET_<NAME>` of this process are a source.
    pub environment: bool,
    /// Directories with a file per secret, in the order in which they are asked. One that is not
    /// there holds nothing.
    pub directories: Vec<PathBuf>,
    /// The encrypted store. One that was never written holds nothing.
    pub store: Option<StorePaths>,
}

/// The sources of secrets; a handle that is cheap to clone.
#[derive(Debug, Clone)]
pub struct Secrets {
    sources: Arc<Sources>,
}

#[derive(Debug)]
struct Sources {
    variables: Variables,
    directories: Vec<Directory>,
    store: Option<CachedStore>,
}

/// Where a value lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A variable of this process.
    Environment,
    /// A file of this directory.
    Directory(PathBuf),
    /// The encrypted store.
    Store,
}

/// One secret of one source, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretListing {
    /// Its name.
    pub name: SecretName,
    /// Where it lies.
    pub source: SecretSource,
    /// When its value was last changed; unknown for variables.
    pub changed_at: Option<Timestamp>,
    /// Whether an earlier source has the name too, so that this value is never used.
    pub hidden: bool,
}

/// The sources cannot be used, or one of them fails. The texts name places of the host and are for
/// the operator; none of them holds a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretsError {
    /// A variable is not usable.
    #[error(transparent)]
    Variable(#[from] VariableError),
    /// A directory is not usable.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The store is not usable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The thread that was reading is gone.
    #[error("reading was given up: {0}")]
    Thread(String),
}

impl SecretsError {
    /// Whether the same call may succeed later without anybody mending anything.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Directory(error) => error.is_passing(),
            Self::Variable(_) | Self::Store(_) => false,
            Self::Thread(_) => true,
        }
    }
}

/// Names with this beginning, in any case, are the runtime's own and never a controller's.
const RESERVED_PREFIX: &str = "MAGIC_";

/// Whether the runtime keeps this name for itself. A directory of credentials may hold the
/// runtime's own beside those of controllers.
#[must_use]
pub fn is_reserved(name: &SecretName) -> bool {
    name.as_str()
        .get(..RESERVED_PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_PREFIX))
}

impl Secrets {
    /// Reads the variables, once and for all, and makes sure that the store can be read.
    ///
    /// # Errors
    /// When a variable holds what cannot be a secret, or the store is there and cannot be opened
    /// with the key: better now than at the first request.
    pub fn open(options: SecretsOptions) -> Result<Self, SecretsError> {
        let variables = if options.environment {
            Variables::read(std::env::vars_os())?
        } else {
            Variables::default()
        };
        Self::with_variables(variables, options.directories, options.store)
    }

    /// No source at all: every secret is without a value.
    #[must_use]
    pub fn none() -> Self {
        Self {
            sources: Arc::new(Sources {
                variables: Variables::default(),
                directories: Vec::new(),
                store: None,
            }),
        }
    }

    fn with_variables(
        variables: Variables,
        directories: Vec<PathBuf>,
        store: Option<StorePaths>,
    ) -> Result<Self, SecretsError> {
        let store = store.map(CachedStore::new);
        if let Some(store) = &store {
            store.check()?;
        }
        Ok(Self {
            sources: Arc::new(Sources {
                variables,
                directories: directories.into_iter().map(Directory::new).collect(),
                store,
            }),
        })
    }

    /// The value as it is now; `None` when no source has the name.
    ///
    /// # Errors
    /// When the source that has the name cannot give its value.
    pub(crate) async fn find(
        &self,
        name: &SecretName,
    ) -> Result<Option<SecretValue>, SecretsError> {
        if is_reserved(name) {
            return Ok(None);
        }
        if let Some(value) = self.sources.variables.get(name) {
            return Ok(Some(value));
        }
        // Files are read on a thread where waiting for a slow disk stops nobody else.
        let sources = Arc::clone(&self.sources);
        let name = name.clone();
        tokio::task::spawn_blocking(move || sources.in_files(&name))
            .await
            .map_err(|error| SecretsError::Thread(error.to_string()))?
    }

    /// Every secret of every source, by name, without values. Reserved names are left out.
    ///
    /// # Errors
    /// When a source cannot be listed.
    pub fn list(&self) -> Result<Vec<SecretListing>, SecretsError> {
        let mut listed: Vec<SecretListing> = Vec::new();
        let mut add = |name: SecretName, source: SecretSource, changed_at| {
            if !is_reserved(&name) {
                let hidden = listed.iter().any(|one| one.name == name);
                listed.push(SecretListing {
                    name,
                    source,
                    changed_at,
                    hidden,
                });
            }
        };
        for name in self.sources.variables.names() {
            add(name.clone(), SecretSource::Environment, None);
        }
        for directory in &self.sources.directories {
            for (name, changed_at) in directory.list()? {
                let source = SecretSource::Directory(directory.path().to_owned());
                add(name, source, changed_at);
            }
        }
        if let Some(store) = &self.sources.store {
            for stored in store.list()? {
                add(stored.name, SecretSource::Store, Some(stored.set_at));
            }
        }
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(listed)
    }
}

impl Sources {
    fn in_files(&self, name: &SecretName) -> Result<Option<SecretValue>, SecretsError> {
        for directory in &self.directories {
            if let Some(value) = directory.get(name)? {
                return Ok(Some(value));
            }
        }
        match &self.store {
            Some(store) => Ok(store.get(name)?),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
