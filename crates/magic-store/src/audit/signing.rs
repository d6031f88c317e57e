//! The key that signs, and what it signs.
//!
//! The chain alone proves nothing against somebody who can write the files: they change a record and compute all later hashes
//! anew. The signature stops that, up to whoever holds the key. The key lies beside the log on the same machine, because the
//! log must sign without anybody watching; so the log is evidence against everybody except root of that machine, and against
//! root it is as good as the copy of the public key and of the last head that was taken elsewhere in time.
//!
//! Each message that is signed begins with a tag of its own and frames what varies in length, so that a signature can never
//! be taken for one of something else.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use super::entry::Hash;

/// Key files are a few lines; what is larger is something else.
const LARGEST_KEY_FILE: u64 = 16 * 1024;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditKeyError {
    /// A key file cannot be read.
    #[error("cannot read the key {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A key file cannot be written.
    #[error("cannot write the key {}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} is not an Ed25519 key in PEM form", .0.display())]
    Format(PathBuf),
    /// Others than the owner can read the private key.
    #[error("others can read the key {path}: type chmod 600 {path}", path = .0.display())]
    Exposed(PathBuf),
    /// There is no randomness to make a key of.
    #[error("cannot make a key: {0}")]
    Random(String),
}

/// The key that checkpoints and heads are verified with.
#[derive(Clone, PartialEq, Eq)]
pub struct AuditPublicKey(VerifyingKey);

impl AuditPublicKey {
    /// Reads a public key in PEM form, as it lies beside the private one.
    ///
    /// # Errors
    /// When there is no such file, or it holds something else.
    pub fn read(path: &Path) -> Result<Self, AuditKeyError> {
        let text = read_key_file(path)?;
        VerifyingKey::from_public_key_pem(&text)
            .map(Self)
            .map_err(|_| AuditKeyError::Format(path.to_owned()))
    }

    /// Whether this key made the signature.
    pub(super) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        BASE64
            .decode(signature)
            .ok()
            .and_then(|bytes| Signature::from_slice(&bytes).ok())
            .is_some_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Display for AuditPublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .as_bytes()
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for AuditPublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The private key. Its bytes never leave this type.
pub(super) struct AuditSigner {
    key: SigningKey,
    public: AuditPublicKey,
}

impl fmt::Debug for AuditSigner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AuditSigner")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl AuditSigner {
    /// Reads the private key.
    ///
    /// # Errors
    /// When it is not there, is not a key, or others can read it.
    pub(super) fn read(path: &Path) -> Result<Self, AuditKeyError> {
        let text = Zeroizing::new(read_key_file(path)?);
        let mode = std::fs::metadata(path)
            .map_err(|source| AuditKeyError::Read {
                path: path.to_owned(),
                source,
            })?
            .mode();
        if mode & 0o077 != 0 {
            return Err(AuditKeyError::Exposed(path.to_owned()));
        }
        SigningKey::from_pkcs8_pem(&text)
            .map(Self::from)
            .map_err(|_| AuditKeyError::Format(path.to_owned()))
    }

    /// Makes a key and writes both halves. The private half is written last and takes its name when it is complete, so that
    /// its presence means that both are there.
    ///
    /// # Errors
    /// When a file cannot be written, or one is there already.
    pub(super) fn create(private: &Path, public: &Path) -> Result<Self, AuditKeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice())
            .map_err(|error| AuditKeyError::Random(error.to_string()))?;
        let key = SigningKey::from_bytes(&seed);
        let encoding = "an Ed25519 key has a PEM form";
        let public_text = key
            .verifying_key()
            .to_public_key_pem(LineEnding::LF)
            .expect(encoding);
        let private_text = key.to_pkcs8_pem(LineEnding::LF).expect(encoding);
        write_key_file(public, public_text.as_bytes(), 0o644)?;
        write_key_file(private, private_text.as_bytes(), 0o600)?;
        Ok(Self::from(key))
    }

    pub(super) fn public(&self) -> &AuditPublicKey {
        &self.public
    }

    pub(super) fn sign(&self, message: &[u8]) -> String {
        BASE64.encode(self.key.sign(message).to_bytes())
    }
}

impl From<SigningKey> for AuditSigner {
    fn from(key: SigningKey) -> Self {
        Self {
            public: AuditPublicKey(key.verifying_key()),
            key,
        }
    }
}

/// What a checkpoint signs: its place, and by the hash before it everything that stands before it.
pub(super) fn checkpoint_message(node: &str, seq: u64, previous: &Hash, time: &str) -> Vec<u8> {
    message(b"magic-audit-checkpoint-v1", node, seq, previous, time)
}

/// What a head signs: the last entry.
pub(super) fn head_message(node: &str, seq: u64, hash: &Hash, time: &str) -> Vec<u8> {
    message(b"magic-audit-head-v1", node, seq, hash, time)
}

fn message(tag: &[u8], node: &str, seq: u64, hash: &Hash, time: &str) -> Vec<u8> {
    let mut message = Vec::with_capacity(160);
    for part in [tag, node.as_bytes(), time.as_bytes()] {
        message.extend_from_slice(&(part.len() as u64).to_be_bytes());
        message.extend_from_slice(part);
    }
    message.extend_from_slice(&seq.to_be_bytes());
    message.extend_from_slice(hash.as_bytes());
    message
}

fn read_key_file(path: &Path) -> Result<String, AuditKeyError> {
    let read = || {
        let mut text = String::new();
        File::open(path)?
            .take(LARGEST_KEY_FILE)
            .read_to_string(&mut text)?;
        Ok(text)
    };
    read().map_err(|source| AuditKeyError::Read {
        path: path.to_owned(),
        source,
    })
}

fn write_key_file(path: &Path, text: &[u8], mode: u32) -> Result<(), AuditKeyError> {
    let unfinished = path.with_extension("new");
    let write = || {
        // What a crash left of an earlier attempt was never used.
        if let Err(error) = std::fs::remove_file(&unfinished)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&unfinished)?;
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)?;
        super::medium::sync_directory_of(path)
    };
    write().map_err(|source| AuditKeyError::Write {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A key is made once, is private, and its public half verifies what it signs, and nothing else.
    #[test]
    fn keys_sign_and_verify() {
        let folder = tempfile::tempdir().expect("a folder");
        let (private, public) = (folder.path().join("k.pem"), folder.path().join("k.pub.pem"));
        let signer = AuditSigner::create(&private, &public).expect("a key");
        let mode = std::fs::metadata(&private).expect("a file").mode();
        assert_eq!(mode & 0o777, 0o600);
        let message = checkpoint_message("n", 1, &Hash::NONE, "now");
        let signature = AuditSigner::read(&private).expect("the key").sign(&message);
        let public = AuditPublicKey::read(&public).expect("its public half");
        assert_eq!(&public, signer.public());
        assert!(public.verifies(&message, &signature));
        // The same words in another role, and another split of the same bytes.
        assert!(!public.verifies(&head_message("n", 1, &Hash::NONE, "now"), &signature));
        assert!(!public.verifies(&checkpoint_message("nn", 1, &Hash::NONE, "ow"), &signature));
        assert!(!public.verifies(&message, "AAAA"));

        std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o640)).expect("chmod");
        let error = AuditSigner::read(&private).expect_err("others can read it");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}
