//! Reads policies.
use super::Policy;
use crate::diagnostic::Diagnostics;

pub(super) fn read(text: &[u8], file: &str) -> Result<Policy, Diagnostics> {
    Err(Diagnostics::new(file, &String::from_utf8_lossy(text)))
}
