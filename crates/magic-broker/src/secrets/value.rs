//! A value that cannot be printed by accident and is overwritten when the last holder drops it.
//!
//! That covers the copies this module makes. The answer to a worker, the buffers of a TLS
//! connection and the worker's own memory are copies that nobody overwrites; docs/secrets.md says so.

use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The value of a secret: text of 1 to 65,536 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Arc<Zeroizing<String>>);

/// Bytes that cannot be the value of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueProblem {
    /// Nothing is there.
    #[error("it is empty")]
    Empty,
    /// More than [`SecretValue::LIMIT`] bytes.
    #[error("it is larger than 64 KiB")]
    TooLarge,
    /// Not UTF-8, which a controller could not be given as text.
    #[error("it is not UTF-8 text; encode it, for example with base64")]
    NotText,
}

impl SecretValue {
    /// The most bytes that a value has.
    pub const LIMIT: usize = 64 * 1024;

    /// The most bytes that a source holds for one value: the value and one line ending.
    pub(crate) const SOURCE_LIMIT: usize = Self::LIMIT + 2;

    /// Reads what a file or a pipe holds. One line ending at the very end is not part of the
    /// value, because editors and `echo` write one.
    ///
    /// # Errors
    /// A [`ValueProblem`].
    pub fn from_source(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, ValueProblem> {
        let ending = if bytes.ends_with(b"\r\n") {
            2
        } else {
            usize::from(bytes.ends_with(b"\n"))
        };
        let length = bytes.len() - ending;
        bytes.truncate(length);
        Self::new(bytes)
    }

    /// Takes bytes as they are.
    ///
    /// # Errors
    /// A [`ValueProblem`].
    pub fn new(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, ValueProblem> {
        if bytes.is_empty() {
            return Err(ValueProblem::Empty);
        }
        if bytes.len() > Self::LIMIT {
            return Err(ValueProblem::TooLarge);
        }
        match String::from_utf8(std::mem::take(&mut *bytes)) {
            Ok(text) => Ok(Self(Arc::new(Zeroizing::new(text)))),
            Err(error) => {
                drop(Zeroizing::new(error.into_bytes()));
                Err(ValueProblem::NotText)
            }
        }
    }

    /// The value itself. Whoever asks for it answers for where it goes.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not even the length: it tells kinds of keys apart.
        formatter.write_str("SecretValue(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(bytes: &[u8]) -> Result<String, ValueProblem> {
        SecretValue::from_source(Zeroizing::new(bytes.to_vec()))
            .map(|value| value.expose().to_owned())
    }

    /// One line ending goes, anything else stays.
    #[test]
    fn one_line_ending_is_not_part_of_the_value() {
        let most = vec![b'x'; SecretValue::LIMIT];
        for (bytes, value) in [
            (&b"abc"[..], Ok("abc")),
            (b"abc\n", Ok("abc")),
            (b"abc\r\n", Ok("abc")),
            (b"abc\n\n", Ok("abc\n")),
            (b" abc \r", Ok(" abc \r")),
            (b"", Err(ValueProblem::Empty)),
            (b"\n", Err(ValueProblem::Empty)),
            (b"ab\xff", Err(ValueProblem::NotText)),
            (
                &[&most[..], b"\r\n"].concat(),
                Ok(str::from_utf8(&most).unwrap()),
            ),
            (&[&most[..], b"x"].concat(), Err(ValueProblem::TooLarge)),
        ] {
            assert_eq!(from(bytes), value.map(str::to_owned));
        }
    }

    /// No formatting shows a value.
    #[test]
    fn a_value_cannot_be_printed() {
        let value = SecretValue::new(Zeroizing::new(b"sk_live_1".to_vec())).unwrap();
        assert_eq!(
            format!("{value:?} {:#?}", Some(&value)),
            "SecretValue(..) Some(\n    SecretValue(..),\n)"
        );
    }
}
