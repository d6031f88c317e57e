//! The one key of the store, and the two that are derived from it.
//!
//! The key is 32 random bytes, written as base64. From it HKDF (RFC 5869) makes one key that seals
//! values and one that authenticates the file as a whole, so that neither use can weaken the other.

use super::super::whole_file::{WholeFileError, read_whole};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{aead, hkdf, hmac};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// More than this is not a key's file.
const KEY_FILE_LIMIT: usize = 1024;

/// The key cannot be used. No text shows it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The variable holds something else.
    #[error(
        "MAGIC_SECRETS_KEY is not a key: it must be 32 bytes in base64, as made by: head -c 32 /dev/urandom | base64"
    )]
    VariableNotAKey,
    /// The file holds something else.
    #[error("{} is not a key's file: it must hold 32 bytes in base64", path.display())]
    FileNotAKey {
        /// The file.
        path: PathBuf,
    },
    /// Others may read it.
    #[error("{} has mode {mode:03o}, so others can read the key; type: chmod 600 {}", path.display(), path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else could have chosen it.
    #[error("{} belongs to user {owner}; it must be the service's own or root's", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
    },
    /// It cannot be opened.
    #[error("the key's file {} cannot be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It cannot be read.
    #[error("the key's file {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: WholeFileError,
    },
    /// The system gives no random numbers.
    #[error("no random numbers are to be had for a new key: {0}")]
    Random(String),
    /// HKDF refuses; it does for outputs longer than 255 hashes only (RFC 5869, section 2.3).
    #[error("no keys can be derived from the key")]
    Derive,
}

/// The key of a store.
pub(super) struct MasterKey(Zeroizing<[u8; KEY_BYTES]>);

impl MasterKey {
    /// Reads base64 of exactly 32 bytes, with or without white space around it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            return None;
        }
        key.copy_from_slice(&bytes);
        Some(Self(key))
    }

    /// Reads a key's file; `None` when there is none. As `ssh` does with its keys, a file that
    /// others can read is refused rather than used.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, KeyError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(KeyError::Open {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let failed = |source| KeyError::Read {
            path: path.to_owned(),
            source,
        };
        let metadata = file
            .metadata()
            .map_err(|error| failed(WholeFileError::Metadata(error)))?;
        if !metadata.is_file() {
            return Err(failed(WholeFileError::NotAFile));
        }
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Mode {
                path: path.to_owned(),
                mode,
            });
        }
        let owner = metadata.uid();
        let own = rustix::process::geteuid();
        // Root writes into folders of services, and so may read what lies there.
        if !own.is_root() && owner != own.as_raw() && owner != 0 {
            return Err(KeyError::Owner {
                path: path.to_owned(),
                owner,
            });
        }
        let (bytes, _) = read_whole(&file, KEY_FILE_LIMIT).map_err(failed)?;
        str::from_utf8(&bytes)
            .ok()
            .and_then(Self::parse)
            .map(Some)
            .ok_or_else(|| KeyError::FileNotAKey {
                path: path.to_owned(),
            })
    }

    /// A new key.
    pub(super) fn draw() -> Result<Self, KeyError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(&mut *key).map_err(|error| KeyError::Random(error.to_string()))?;
        Ok(Self(key))
    }

    /// The key as it stands in its file.
    pub(super) fn to_text(&self) -> Zeroizing<String> {
        let mut text = STANDARD.encode(*self.0);
        text.push('\n');
        Zeroizing::new(text)
    }
}

/// What seals and authenticates a store.
#[derive(Debug)]
pub(super) struct StoreKeys {
    /// Tells keys apart without saying anything about them: 8 bytes in hexadecimal.
    pub(super) id: String,
    /// Seals values.
    pub(super) values: aead::LessSafeKey,
    /// Authenticates the file.
    pub(super) file: hmac::Key,
}

impl StoreKeys {
    pub(super) fn derive(master: &MasterKey) -> Result<Self, KeyError> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"magic-secrets 1");
        let root = salt.extract(&*master.0);
        let values: aead::UnboundKey = root
            .expand(&[b"values".as_slice()], &aead::CHACHA20_POLY1305)
            .map_err(|_| KeyError::Derive)?
            .into();
        let file: hmac::Key = root
            .expand(&[b"file".as_slice()], hmac::HMAC_SHA256)
            .map_err(|_| KeyError::Derive)?
            .into();
        let tag = hmac::sign(&file, b"key id");
        let id = tag.as_ref().iter().take(8);
        Ok(Self {
            id: id.map(|byte| format!("{byte:02x}")).collect(),
            values: aead::LessSafeKey::new(values),
            file,
        })
    }
}
