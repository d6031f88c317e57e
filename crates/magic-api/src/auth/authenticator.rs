//! From a request's head and its connection to a caller, or to the reason why there is none.

use magic_contract::ErrorCode;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use hyper::header::HeaderMap;

use super::caller::Caller;
use super::credentials::Presented;
use super::failure::AuthFailure;
use super::key_ring::StoredKeys;
use super::token::TokenVerifier;
use crate::request_scope::Source;

/// What callers may prove themselves with. Whoever comes by the unix socket needs nothing of it.
#[derive(Debug, Default)]
pub struct Authenticator {
    /// Keys of the runtime's store.
    keys: Option<StoredKeys>,
    /// SHA-256 of the administrator's key.
    administrator: Option<[u8; 32]>,
    tokens: Option<TokenVerifier>,
}

impl Authenticator {
    /// One that admits nobody but local users.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Admits the owners of stored keys.
    #[must_use]
    pub fn with_keys(self, keys: StoredKeys) -> Self {
        Self {
            keys: Some(keys),
            ..self
        }
    }

    /// Admits whoever has this key as the administrator.
    #[must_use]
    pub fn with_administrator(self, key: &Zeroizing<String>) -> Self {
        Self {
            administrator: Some(Sha256::digest(key.as_bytes()).into()),
            ..self
        }
    }

    /// Admits the bearers of tokens.
    #[must_use]
    pub fn with_tokens(self, tokens: TokenVerifier) -> Self {
        Self {
            tokens: Some(tokens),
            ..self
        }
    }

    /// Who asks. What was presented counts before who has connected: a local program that shows a key wants to be its owner.
    ///
    /// # Errors
    /// [`AuthFailure`].
    pub(crate) async fn caller(
        &self,
        headers: &HeaderMap,
        source: &Source,
    ) -> Result<Caller, AuthFailure> {
        let (presented, is_key) = match (Presented::of(headers)?, source) {
            (None, Source::Unix(peer)) => return Ok(peer.caller()),
            (None, Source::Tcp(_)) => return Err(AuthFailure::Missing),
            (Some(Presented::Key(text)), _) => (text, true),
            (Some(Presented::Bearer(text)), _) => (text, false),
        };
        if self.is_administrator(presented) {
            return Ok(Caller::administrator());
        }
        match (is_key, &self.keys, &self.tokens) {
            (true, Some(keys), _) => keys.verify(presented),
            (true, None, _) => Err(AuthFailure::WrongKey),
            (false, _, Some(tokens)) => tokens.verify(presented).await,
            (false, _, None) => Err(AuthFailure::WrongToken("no tokens are taken here")),
        }
    }

    /// Compares digests in constant time, so that neither length nor letters of the key can be measured.
    fn is_administrator(&self, presented: &str) -> bool {
        self.administrator.as_ref().is_some_and(|expected| {
            let digest: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
            bool::from(digest.ct_eq(expected))
        })
    }
}

/// Whether callers must prove who they are.
#[derive(Debug, Clone, Default)]
pub enum Authentication {
    /// No: everybody who reaches the server may do everything. Then only loopback names are believed, which is what keeps a web
    /// page that the user happens to visit from reaching the server through the user's own browser, directly or by a DNS name that
    /// suddenly points at 127.0.0.1.
    #[default]
    Open,
    /// Yes.
    Required(std::sync::Arc<Authenticator>),
}

impl Authentication {
    /// Waits until a stored key opens this node, or does not any more.
    pub(crate) async fn until(&self, key_id: &str, live: bool) {
        if let Self::Required(authenticator) = self
            && let Some(keys) = &authenticator.keys
        {
            keys.until(key_id, live).await;
        }
    }

    pub(crate) async fn caller(
        &self,
        headers: &HeaderMap,
        source: &Source,
    ) -> Result<Caller, AuthFailure> {
        match (self, source) {
            (Self::Open, Source::Tcp(_)) => Ok(Caller::anonymous()),
            (Self::Open, Source::Unix(peer)) => Ok(peer.caller()),
            (Self::Required(authenticator), _) => authenticator.caller(headers, source).await,
        }
    }
}

/// The scheme that an answer with status 401 must name (RFC 9110, section 11.6.1).
pub(crate) fn challenge(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::CredentialsMissing => Some("Bearer"),
        ErrorCode::CredentialsInvalid | ErrorCode::CredentialsExpired => {
            Some("Bearer error=\"invalid_token\"")
        }
        _ => None,
    }
}
