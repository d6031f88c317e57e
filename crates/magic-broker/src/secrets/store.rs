//! The encrypted store: one file that `magic secrets set` writes and running servers read.
//!
//! Writers take a lock file, read the store, and rename a finished, synced file into its place, so
//! a reader sees the old store or the new one. A server keeps what it read, still sealed, and looks
//! at the file's metadata for every call; only what is asked for is ever decrypted.
//!
//! What it protects against is a copy of the file: a backup, a stolen disk, a repository. Whoever
//! can read file *and* key, which on the same host is root and the service itself, can read all.

mod format;
mod key;

use super::value::{SecretValue, ValueProblem};
use super::whole_file::{Stamp, WholeFileError, read_whole};
use format::{FormatError, Sealed};
use jiff::Timestamp;
pub use key::KeyError;
use key::{MasterKey, StoreKeys};
use magic_contract::SecretName;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How long a writer waits for another one, which takes milliseconds.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// How often it looks.
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// A file as young as this may change again without a change of its metadata, since file systems
/// count time in ticks.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Where the store and its key are.
#[derive(Debug, Clone)]
pub struct StorePaths {
    /// The store.
    pub file: PathBuf,
    /// The lock that writers take.
    pub lock: PathBuf,
    /// The key's file, unless `key` is given.
    pub key_file: PathBuf,
    /// The key itself, in base64, from `MAGIC_SECRETS_KEY`.
    pub key: Option<SecretValue>,
}

impl StorePaths {
    /// The usual places in a data directory: `secrets.enc`, `secrets.lock`, `secrets.key`.
    #[must_use]
    pub fn beneath(data_dir: &Path, key: Option<SecretValue>) -> Self {
        Self {
            file: data_dir.join("secrets.enc"),
            lock: data_dir.join("secrets.lock"),
            key_file: data_dir.join("secrets.key"),
            key,
        }
    }
}

/// The store cannot be used. The texts are for the operator and hold no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There is a store and no key for it.
    #[error(
        "there is a store at {} and no key for it: set MAGIC_SECRETS_KEY, or put the key back into {}; \
         if the key is lost, so are the values: remove the store and set them again",
        store.display(), key_file.display()
    )]
    KeyMissing {
        /// The store.
        store: PathBuf,
        /// Where the key would be.
        key_file: PathBuf,
    },
    /// The file cannot be opened.
    #[error("the store {} cannot be opened", path.display())]
    Open {
        /// The store.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("the store {} cannot be read", path.display())]
    Read {
        /// The store.
        path: PathBuf,
        /// Why not.
        source: WholeFileError,
    },
    /// The content is not what was written.
    #[error("the store {} cannot be used: {problem}", path.display())]
    Content {
        /// The store.
        path: PathBuf,
        /// What is wrong.
        problem: FormatError,
    },
    /// A value in it is not the value of a secret.
    #[error("the store {} has an unusable value for `{name}`: {problem}", path.display())]
    Value {
        /// The store.
        path: PathBuf,
        /// Whose value.
        name: SecretName,
        /// What is wrong.
        problem: ValueProblem,
    },
    /// The lock cannot be taken.
    #[error("the lock {} cannot be taken", path.display())]
    Lock {
        /// The lock.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another writer does not come to its end.
    #[error("another process has held the lock {} for {} seconds", path.display(), LOCK_WAIT.as_secs())]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What writing a value did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// There was a value before.
    pub replaced: bool,
    /// There was no key before, and one was made in the key file.
    pub key_made: bool,
}

/// A secret of the store, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSecret {
    /// Its name.
    pub name: SecretName,
    /// When its value was set.
    pub set_at: Timestamp,
}

/// The store as the command line uses it.
#[derive(Debug, Clone)]
pub struct SecretStore {
    paths: StorePaths,
}

/// A store that was read: still sealed, with the keys that open it.
#[derive(Debug)]
struct Loaded {
    stamp: Stamp,
    /// Whether equal metadata from now on means equal content.
    settled: bool,
    sealed: Sealed,
    keys: StoreKeys,
}

impl SecretStore {
    /// The store at these places; nothing is touched yet.
    #[must_use]
    pub fn new(paths: StorePaths) -> Self {
        Self { paths }
    }

    /// Writes one value, durably, and makes store and key if there are none.
    ///
    /// # Errors
    /// A [`StoreError`]; the store is then what it was.
    pub fn set(&self, name: &SecretName, value: &SecretValue) -> Result<Written, StoreError> {
        if let Some(folder) = self.paths.file.parent() {
            make_private_folder(folder)?;
        }
        let _lock = self.lock()?;
        let (mut sealed, keys, key_made) = match self.load()? {
            Some(loaded) => (loaded.sealed, loaded.keys, false),
            None => {
                let (master, made) = match self.master_key()? {
                    Some(master) => (master, false),
                    None => (self.make_key()?, true),
                };
                (Sealed::default(), StoreKeys::derive(&master)?, made)
            }
        };
        let replaced = sealed
            .set(&keys, name.clone(), value, Timestamp::now())
            .map_err(|problem| self.content(problem))?;
        self.write(&sealed, &keys)?;
        Ok(Written { replaced, key_made })
    }

    /// Removes one value; `false` when there was none.
    ///
    /// # Errors
    /// A [`StoreError`]; the store is then what it was.
    pub fn remove(&self, name: &SecretName) -> Result<bool, StoreError> {
        // Where there is no store there is nothing to lock, and perhaps no folder for a lock.
        if self.load()?.is_none() {
            return Ok(false);
        }
        let _lock = self.lock()?;
        let Some(mut loaded) = self.load()? else {
            return Ok(false);
        };
        if !loaded.sealed.remove(name) {
            return Ok(false);
        }
        self.write(&loaded.sealed, &loaded.keys)?;
        Ok(true)
    }

    /// The names in the store, sorted.
    ///
    /// # Errors
    /// A [`StoreError`].
    pub fn list(&self) -> Result<Vec<StoredSecret>, StoreError> {
        Ok(self
            .load()?
            .map(|loaded| loaded.sealed.list())
            .unwrap_or_default())
    }

    /// Reads the store; `None` when there is none.
    fn load(&self) -> Result<Option<Loaded>, StoreError> {
        let path = || self.paths.file.clone();
        let file = match File::open(&self.paths.file) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(StoreError::Open {
                    path: path(),
                    source,
                });
            }
        };
        let (bytes, stamp) =
            read_whole(&file, format::FILE_LIMIT).map_err(|source| StoreError::Read {
                path: path(),
                source,
            })?;
        let master = self.master_key()?.ok_or_else(|| StoreError::KeyMissing {
            store: path(),
            key_file: self.paths.key_file.clone(),
        })?;
        let keys = StoreKeys::derive(&master)?;
        let sealed = Sealed::read(&bytes, &keys).map_err(|problem| self.content(problem))?;
        let settled = file
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|time| {
                SystemTime::now()
                    .duration_since(time)
                    .is_ok_and(|age| age > SETTLED_AFTER)
            });
        Ok(Some(Loaded {
            stamp,
            settled,
            sealed,
            keys,
        }))
    }

    fn content(&self, problem: FormatError) -> StoreError {
        StoreError::Content {
            path: self.paths.file.clone(),
            problem,
        }
    }

    fn value(&self, loaded: &Loaded, name: &SecretName) -> Result<Option<SecretValue>, StoreError> {
        let bytes = loaded
            .sealed
            .open(&loaded.keys, name)
            .map_err(|problem| self.content(problem))?;
        bytes
            .map(SecretValue::new)
            .transpose()
            .map_err(|problem| StoreError::Value {
                path: self.paths.file.clone(),
                name: name.clone(),
                problem,
            })
    }

    /// The key that was given, or the key file's; `None` when there is neither.
    fn master_key(&self) -> Result<Option<MasterKey>, KeyError> {
        match &self.paths.key {
            Some(text) => MasterKey::parse(text.expose())
                .map(Some)
                .ok_or(KeyError::VariableNotAKey),
            None => MasterKey::read(&self.paths.key_file),
        }
    }

    fn make_key(&self) -> Result<MasterKey, StoreError> {
        let master = MasterKey::draw()?;
        self.replace(&self.paths.key_file, master.to_text().as_bytes())?;
        Ok(master)
    }

    fn write(&self, sealed: &Sealed, keys: &StoreKeys) -> Result<(), StoreError> {
        let bytes = sealed
            .write(keys)
            .map_err(|problem| self.content(problem))?;
        self.replace(&self.paths.file, &bytes)
    }

    /// Writes a new file beside the old one and renames it over; both steps are synced. The caller
    /// holds the lock, so a leftover of the same name is that of a writer that died.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let unfinished = PathBuf::from(name);
        let write = || {
            match std::fs::remove_file(&unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = private_file().create_new(true).open(&unfinished)?;
            give_to_owner_of_folder(&file, path)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            std::fs::rename(&unfinished, path)?;
            match path.parent() {
                Some(folder) => File::open(folder)?.sync_all(),
                None => Ok(()),
            }
        };
        write().map_err(|source| {
            let _ = std::fs::remove_file(&unfinished);
            StoreError::Write {
                path: path.to_owned(),
                source,
            }
        })
    }

    /// Takes the lock that writers hold; it ends with the file that is returned, or with the
    /// process.
    fn lock(&self) -> Result<File, StoreError> {
        let path = || self.paths.lock.clone();
        let failed = |source| StoreError::Lock {
            path: path(),
            source,
        };
        let file = private_file()
            .create(true)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(&self.paths.lock)
            .map_err(failed)?;
        give_to_owner_of_folder(&file, &self.paths.lock).map_err(failed)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) if begun.elapsed() > LOCK_WAIT => {
                    return Err(StoreError::Locked { path: path() });
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            }
        }
    }
}

/// A file that is its owner's alone from the first moment.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).truncate(false).mode(0o600);
    options
}

fn make_private_folder(folder: &Path) -> Result<(), StoreError> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| StoreError::Write {
            path: folder.to_owned(),
            source,
        })
}

/// Root writes for the service: what it puts into the service's folder belongs to the service, or
/// the service could not read it.
fn give_to_owner_of_folder(file: &File, path: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    let folder = std::fs::metadata(folder)?;
    std::os::unix::fs::fchown(file, Some(folder.uid()), Some(folder.gid()))
}

/// The store as a server uses it: read again when the file is another.
#[derive(Debug)]
pub(super) struct CachedStore {
    store: SecretStore,
    loaded: Mutex<Option<Arc<Loaded>>>,
}

impl CachedStore {
    pub(super) fn new(paths: StorePaths) -> Self {
        Self {
            store: SecretStore::new(paths),
            loaded: Mutex::new(None),
        }
    }

    /// Whether the store can be read, if there is one.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.load().map(drop)
    }

    pub(super) fn get(&self, name: &SecretName) -> Result<Option<SecretValue>, StoreError> {
        match self.load()? {
            Some(loaded) => self.store.value(&loaded, name),
            None => Ok(None),
        }
    }

    pub(super) fn list(&self) -> Result<Vec<StoredSecret>, StoreError> {
        self.store.list()
    }

    /// The store as it is now. The lock is not held while reading: calls that come together may
    /// read it together, and none waits for another's disk.
    fn load(&self) -> Result<Option<Arc<Loaded>>, StoreError> {
        let known = self.slot().clone();
        if let Some(known) = known
            && known.settled
            && std::fs::metadata(&self.store.paths.file)
                .is_ok_and(|metadata| Stamp::of(&metadata) == known.stamp)
        {
            return Ok(Some(known));
        }
        let loaded = self.store.load()?.map(Arc::new);
        self.slot().clone_from(&loaded);
        Ok(loaded)
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Loaded>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
