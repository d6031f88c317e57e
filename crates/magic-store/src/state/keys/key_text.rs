//! The text of an API key: `mgk_`, 16 hexadecimal digits that name the key, `_`,
//! and 43 letters of base64url that are 32 random bytes.
//!
//! The name is public: it is listed, logged and looked up. The rest is known to
//! whoever was shown it once; of it only the SHA-256 is kept, which is enough for
//! 256 random bits, where a slow hash would only slow the service down.
//!
//! There is exactly one text for a key: whatever differs in one letter is another
//! key, or none.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

const PREFIX: &str = "mgk_";
const ID_LENGTH: usize = 16;
const SECRET_LENGTH: usize = 43;

/// A well-formed key; whether it is anybody's is not known yet. Its `Debug` hides the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText {
    id: String,
    secret: Zeroizing<[u8; 32]>,
}

/// A text is not a key. It is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not an API key of this runtime; one begins with mgk_ and has 64 characters")]
pub struct NotAKey;

impl KeyText {
    /// Reads a key, strictly.
    ///
    /// # Errors
    ///
    /// [`NotAKey`].
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let rest = text.strip_prefix(PREFIX).ok_or(NotAKey)?;
        let (id, rest) = rest.split_at_checked(ID_LENGTH).ok_or(NotAKey)?;
        if !is_key_id(id) {
            return Err(NotAKey);
        }
        let encoded = rest.strip_prefix('_').ok_or(NotAKey)?;
        if encoded.len() != SECRET_LENGTH {
            return Err(NotAKey);
        }
        let mut secret = Zeroizing::new([0; 32]);
        // Refuses padding, other letters, and bits beyond the 32 bytes.
        let decoded = URL_SAFE_NO_PAD.decode_slice(encoded, secret.as_mut());
        if decoded != Ok(secret.len()) {
            return Err(NotAKey);
        }
        Ok(Self {
            id: id.to_owned(),
            secret,
        })
    }

    /// A new one, from the system's random numbers.
    pub(super) fn generate() -> Result<Self, getrandom::Error> {
        let mut name = [0; ID_LENGTH / 2];
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(&mut name)?;
        getrandom::fill(secret.as_mut())?;
        Ok(Self {
            id: format!("{:016x}", u64::from_be_bytes(name)),
            secret,
        })
    }

    /// The public name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The whole text, secret included: for its owner, once.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        let mut encoded = URL_SAFE_NO_PAD.encode(*self.secret);
        let text = Zeroizing::new(format!("{PREFIX}{}_{encoded}", self.id));
        encoded.zeroize();
        text
    }

    pub(super) fn secret_sha256(&self) -> [u8; 32] {
        Sha256::digest(*self.secret).into()
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyText({PREFIX}{}_...)", self.id)
    }
}

/// Whether a text has the form of a key's public name.
#[must_use]
pub fn is_key_id(text: &str) -> bool {
    text.len() == ID_LENGTH
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_new_key_reads_back_and_hides() {
        let key = KeyText::generate().unwrap();
        let text = key.expose();
        assert_eq!(text.len(), 64);
        assert_eq!(KeyText::parse(&text).unwrap(), key);
        assert!(!format!("{key:?}").contains(&text[21..]));
        assert_ne!(KeyText::generate().unwrap(), key);
    }

    proptest! {
        /// Whatever is sent, it is refused or is the one text of its key.
        #[test]
        fn any_text_is_refused_or_canonical(text in "\\PC*|(mgk_)?[0-9a-fA-F]{15,17}_?[-A-Za-z0-9_=+/]{42,44}") {
            if let Ok(key) = KeyText::parse(&text) {
                prop_assert_eq!(&*key.expose(), &text);
            }
        }

        /// A key with one letter changed is no key or another one.
        #[test]
        fn every_letter_counts(id: u64, secret: [u8; 32], place in 0_usize..64, letter in "\\PC") {
            let key = KeyText { id: format!("{id:016x}"), secret: Zeroizing::new(secret) };
            let text = key.expose();
            prop_assert_eq!(KeyText::parse(&text), Ok(key.clone()));
            let mut changed = text[..place].to_owned();
            changed.push_str(&letter);
            changed.push_str(&text[place + 1..]);
            if changed != *text {
                prop_assert_ne!(KeyText::parse(&changed), Ok(key.clone()));
            }
            // Nothing before, behind or missing.
            for extended in [format!(" {}", &*text), format!("{}{letter}", &*text)] {
                prop_assert_eq!(KeyText::parse(&extended), Err(NotAKey));
            }
            prop_assert!(KeyText::parse(&text[..place]).is_err());
        }
    }
}
