//! Reads contracts.
use super::Contract;
use crate::diagnostic::Diagnostics;

pub(super) fn read(text: &[u8], file: &str) -> Result<Contract, Diagnostics> {
    Err(Diagnostics::new(file, &String::from_utf8_lossy(text)))
}
