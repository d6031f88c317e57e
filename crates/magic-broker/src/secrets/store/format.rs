//! The store's file: a line that says what it is, a line that proves it, and the sealed values.
//!
//! ```text
//! magic-secrets 1 KEY_ID
//! HMAC_SHA256_OF_THE_FIRST_LINE_AND_THE_BODY
//! {"entries":[{"name":"STRIPE_KEY","set_at":"2026-01-01T00:00:00Z","nonce":"…","sealed":"…"}]}
//! ```
//!
//! Each value is sealed by itself with ChaCha20-Poly1305 (RFC 8439) under a random nonce, with its
//! name and time as associated data: a value cannot be moved under another name. The second line
//! covers the file as a whole, so no entry can be taken away, put back or added either. What this
//! cannot tell is that the whole file is an older one of the same key.
//!
//! Nothing is parsed before the second line was verified, except the first, whose version and key
//! only choose the words of a refusal.

use super::super::value::SecretValue;
use super::StoredSecret;
use super::key::StoreKeys;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use magic_contract::SecretName;
use ring::{aead, hmac};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// The most bytes of a store.
pub(super) const FILE_LIMIT: usize = 8 * 1024 * 1024;
/// What every version of the format begins with.
const MARK: &str = "magic-secrets ";
/// This version.
const VERSION: &str = "1";

/// The content of a store cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The file is something else.
    #[error("it is not a store of secrets")]
    NotAStore,
    /// A version of this program that is yet to come wrote it.
    #[error("it has format {0}, which a newer version of magic wrote; this one reads format 1")]
    Version(String),
    /// It belongs to another key.
    #[error(
        "it was sealed with key {sealed_with}, and the key here is {given}: use the key it was sealed with"
    )]
    OtherKey {
        /// The id of the key that it names.
        sealed_with: String,
        /// The id of the key that was given.
        given: String,
    },
    /// Something changed it that does not have the key.
    #[error("it was changed after it was written, or is damaged; restore it from a backup")]
    Tampered,
    /// It would be too large.
    #[error("with this value it would be larger than 8 MiB; remove secrets that nobody uses")]
    Full,
    /// The system gives no random numbers.
    #[error("no random numbers are to be had for sealing")]
    Random,
    /// A value could not be sealed.
    #[error("the value cannot be sealed")]
    Seal,
}

/// The entries of a store, each still sealed.
#[derive(Debug, Default)]
pub(super) struct Sealed {
    entries: BTreeMap<SecretName, Entry>,
}

#[derive(Debug)]
struct Entry {
    set_at: Timestamp,
    nonce: [u8; aead::NONCE_LEN],
    sealed: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    entries: Vec<WrittenEntry<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEntry<'a> {
    name: &'a str,
    set_at: Timestamp,
    nonce: String,
    sealed: String,
}

impl Sealed {
    /// Reads a file that is what was written with these keys.
    pub(super) fn read(bytes: &[u8], keys: &StoreKeys) -> Result<Self, FormatError> {
        let text = str::from_utf8(bytes).map_err(|_| FormatError::NotAStore)?;
        let mut lines = text.splitn(3, '\n');
        let head = lines.next().unwrap_or_default();
        let (version, key_id) = head
            .strip_prefix(MARK)
            .and_then(|rest| rest.split_once(' '))
            .ok_or(FormatError::NotAStore)?;
        if version != VERSION {
            let shown = version.chars().take(8).flat_map(char::escape_debug);
            return Err(FormatError::Version(shown.collect()));
        }
        if key_id != keys.id {
            let shown = key_id.chars().take(16).flat_map(char::escape_debug);
            return Err(FormatError::OtherKey {
                sealed_with: shown.collect(),
                given: keys.id.clone(),
            });
        }
        let (Some(proof), Some(body)) = (lines.next(), lines.next()) else {
            return Err(FormatError::Tampered);
        };
        let proof = STANDARD.decode(proof).map_err(|_| FormatError::Tampered)?;
        hmac::verify(&keys.file, &proven(head, body), &proof).map_err(|_| FormatError::Tampered)?;
        let body: Body<'_> = serde_json::from_str(body).map_err(|_| FormatError::Tampered)?;
        let mut entries = BTreeMap::new();
        for written in body.entries {
            let (name, entry) = written.read().ok_or(FormatError::Tampered)?;
            if entries.insert(name, entry).is_some() {
                return Err(FormatError::Tampered);
            }
        }
        Ok(Self { entries })
    }

    /// The file's bytes.
    pub(super) fn write(&self, keys: &StoreKeys) -> Result<Vec<u8>, FormatError> {
        let entries = self.entries.iter().map(|(name, entry)| WrittenEntry {
            name: name.as_str(),
            set_at: entry.set_at,
            nonce: STANDARD.encode(entry.nonce),
            sealed: STANDARD.encode(&entry.sealed),
        });
        let body = Body {
            entries: entries.collect(),
        };
        let mut body = serde_json::to_string(&body).map_err(|_| FormatError::Seal)?;
        body.push('\n');
        let head = format!("{MARK}{VERSION} {}", keys.id);
        let proof = hmac::sign(&keys.file, &proven(&head, &body));
        let file = format!("{head}\n{}\n{body}", STANDARD.encode(proof.as_ref()));
        if file.len() > FILE_LIMIT {
            return Err(FormatError::Full);
        }
        Ok(file.into_bytes())
    }

    /// Seals a value under a name; `true` when it replaces another.
    pub(super) fn set(
        &mut self,
        keys: &StoreKeys,
        name: SecretName,
        value: &SecretValue,
        set_at: Timestamp,
    ) -> Result<bool, FormatError> {
        let mut nonce = [0; aead::NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| FormatError::Random)?;
        // With room for the tag, so that sealing does not move the plain bytes and leave a copy.
        let length = value.expose().len() + aead::CHACHA20_POLY1305.tag_len();
        let mut sealed = Vec::with_capacity(length);
        sealed.extend_from_slice(value.expose().as_bytes());
        keys.values
            .seal_in_place_append_tag(
                aead::Nonce::assume_unique_for_key(nonce),
                associated(&name, set_at),
                &mut sealed,
            )
            .map_err(|_| FormatError::Seal)?;
        let entry = Entry {
            set_at,
            nonce,
            sealed,
        };
        Ok(self.entries.insert(name, entry).is_some())
    }

    /// Takes an entry out; `false` when there is none.
    pub(super) fn remove(&mut self, name: &SecretName) -> bool {
        self.entries.remove(name).is_some()
    }

    /// Opens one value; `None` when there is none of that name.
    pub(super) fn open(
        &self,
        keys: &StoreKeys,
        name: &SecretName,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, FormatError> {
        let Some(entry) = self.entries.get(name) else {
            return Ok(None);
        };
        let mut bytes = Zeroizing::new(entry.sealed.clone());
        let length = keys
            .values
            .open_in_place(
                aead::Nonce::assume_unique_for_key(entry.nonce),
                associated(name, entry.set_at),
                &mut bytes,
            )
            .map_err(|_| FormatError::Tampered)?
            .len();
        bytes.truncate(length);
        Ok(Some(bytes))
    }

    /// The names, sorted.
    pub(super) fn list(&self) -> Vec<StoredSecret> {
        let stored = self.entries.iter().map(|(name, entry)| StoredSecret {
            name: name.clone(),
            set_at: entry.set_at,
        });
        stored.collect()
    }
}

impl WrittenEntry<'_> {
    fn read(&self) -> Option<(SecretName, Entry)> {
        let nonce = STANDARD.decode(&self.nonce).ok()?;
        Some((
            self.name.parse().ok()?,
            Entry {
                set_at: self.set_at,
                nonce: nonce.try_into().ok()?,
                sealed: STANDARD.decode(&self.sealed).ok()?,
            },
        ))
    }
}

/// What the second line proves. The body's beginning cannot be taken for the head's end, because a
/// head has no line break.
fn proven(head: &str, body: &str) -> Vec<u8> {
    format!("{head}\n{body}").into_bytes()
}

/// What a value is bound to. Neither a name nor a time has a line break.
fn associated(name: &SecretName, set_at: Timestamp) -> aead::Aad<Vec<u8>> {
    aead::Aad::from(format!("magic-secrets 1\n{name}\n{set_at}").into_bytes())
}

#[cfg(test)]
mod tests;
