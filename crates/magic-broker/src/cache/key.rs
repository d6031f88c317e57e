//! Which entry is meant: a shared one, or a controller's own.

use crate::problem;
use magic_contract::{ControllerName, Failure};

/// The longest key that a controller can write, in bytes.
const LONGEST: usize = 200;

/// The full key of one entry: `s/<key>` in the shared space,
/// `c/<Controller>/<key>` in a controller's own. A controller's name has no
/// slash, so no key reaches from one space into another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CacheKey(String);

impl CacheKey {
    /// The entry that every contract means that lists this key.
    ///
    /// # Errors
    ///
    /// The key is not acceptable.
    pub fn shared(key: &str) -> Result<Self, Failure> {
        check(key)?;
        Ok(Self(format!("s/{key}")))
    }

    /// The controller's own entry of this key.
    ///
    /// # Errors
    ///
    /// The key is not acceptable.
    pub fn private(controller: &ControllerName, key: &str) -> Result<Self, Failure> {
        check(key)?;
        Ok(Self(format!("c/{controller}/{key}")))
    }

    /// Reads a key that was written down earlier.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let key = match text.split_once('/')? {
            ("s", key) => key,
            ("c", rest) => {
                let (controller, key) = rest.split_once('/')?;
                controller.parse::<ControllerName>().ok()?;
                key
            }
            _ => return None,
        };
        is_acceptable(key).then(|| Self(text.to_owned()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What audit records call it: the key as a contract's pattern covers it,
    /// or the whole key of a private entry.
    #[must_use]
    pub fn label(&self) -> &str {
        self.0.strip_prefix("s/").unwrap_or(&self.0)
    }
}

/// The alphabet of `CacheKeyPattern` without its star, so that every key can be
/// listed and no key looks like a pattern.
fn is_acceptable(key: &str) -> bool {
    (1..=LONGEST).contains(&key.len())
        && key
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'*')
}

fn check(key: &str) -> Result<(), Failure> {
    if is_acceptable(key) {
        return Ok(());
    }
    Err(problem::misuse(format!(
        "a cache key must be 1 to {LONGEST} printable ASCII characters without spaces and `*`; \
         use a hash of a longer one"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each refused key beside one that is accepted.
    #[test]
    fn keys_have_an_alphabet() {
        for key in [
            "",
            " ",
            "a b",
            "a*",
            "*",
            "ü",
            "a\n",
            "\u{7f}",
            &"k".repeat(201),
        ] {
            assert!(CacheKey::shared(key).is_err(), "{key:?}");
        }
        for key in ["a", "a/b", "../x", "rates:EUR", "{x}", &"k".repeat(200)] {
            assert_eq!(CacheKey::shared(key).unwrap().label(), key);
        }
    }

    /// A shared key never is the private key of anybody.
    #[test]
    fn spaces_are_apart() {
        let controller: ControllerName = "Other".parse().unwrap();
        let private = CacheKey::private(&controller, "x").unwrap();
        for key in ["c/Other/x", "/c/Other/x", "../c/Other/x"] {
            assert_ne!(CacheKey::shared(key).unwrap(), private);
        }
    }

    proptest! {
        /// No text makes the reader panic, and what is read is what was written.
        #[test]
        fn reading_is_total(text in "\\PC{0,100}", key in "[!-)+-~]{1,200}") {
            if let Some(read) = CacheKey::parse(&text) {
                prop_assert_eq!(read.as_str(), text.as_str());
            }
            let controller: ControllerName = "A".parse().unwrap();
            for written in [CacheKey::shared(&key).unwrap(), CacheKey::private(&controller, &key).unwrap()] {
                prop_assert_eq!(CacheKey::parse(written.as_str()), Some(written.clone()));
            }
        }
    }
}
