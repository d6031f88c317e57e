//! What egress needs of the secrets: two questions, so that it knows no store and no value.

use magic_contract::{Failure, Host};

/// Puts secrets in place of the handles in a header, and hides them in what comes back.
pub(crate) trait HeaderSecrets: Send + Sync {
    /// The value with every handle of this request replaced by its secret. Text without handles
    /// comes back as it is.
    ///
    /// # Errors
    /// E2003 if a handle's secret is not bound to this host and port, or TLS is missing.
    fn expand(&self, value: &str, host: &Host, port: u16, tls: bool) -> Result<String, Failure>;

    /// The bytes with every secret of this request hidden; `None` if they hold none.
    fn mask(&self, bytes: &[u8]) -> Option<Vec<u8>>;
}

/// A request without secrets.
#[cfg(test)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NoSecrets;

#[cfg(test)]
impl HeaderSecrets for NoSecrets {
    fn expand(&self, value: &str, _: &Host, _: u16, _: bool) -> Result<String, Failure> {
        Ok(value.to_owned())
    }

    fn mask(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
