//! Why credentials are not taken.
//!
//! The words tell an honest client what to mend. They never tell more about a secret than whoever sent it knows: that a key was
//! revoked or has expired is said only after its secret was compared.

use std::time::Duration;

use magic_contract::{ErrorCode, Failure};

/// Why a request has no caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthFailure {
    /// Nothing was sent.
    #[error("send an API key as X-API-Key, or a token as Authorization: Bearer")]
    Missing,
    /// Several, or something that is neither key nor token.
    #[error("{0}")]
    Unreadable(&'static str),
    /// Not a key that anybody has, or a revoked one.
    #[error("the key is not valid, or was revoked")]
    WrongKey,
    /// The key's time is over.
    #[error("the key has expired")]
    ExpiredKey,
    /// This node has not heard from its store, and cannot know which keys were revoked meanwhile.
    #[error(
        "this node has not reached its key store for {} s and takes no stored keys until it does; tokens, ADMIN_API_KEY and the unix socket still work",
        age.as_secs()
    )]
    StaleKeys {
        /// Since when.
        age: Duration,
    },
    /// A token is not what it should be.
    #[error("the token is not valid: {0}")]
    WrongToken(&'static str),
    /// A token's time is over.
    #[error("the token has expired")]
    ExpiredToken,
}

impl AuthFailure {
    /// The code that it is answered with.
    ///
    /// Keys of a node that has lost its store are E5002 as well. They may be good, but nobody here can say so, and for the caller
    /// it comes to the same: these credentials open nothing *here, now*. `details.reason` tells the two apart.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Missing => ErrorCode::CredentialsMissing,
            Self::ExpiredKey | Self::ExpiredToken => ErrorCode::CredentialsExpired,
            Self::Unreadable(_) | Self::WrongKey | Self::StaleKeys { .. } | Self::WrongToken(_) => {
                ErrorCode::CredentialsInvalid
            }
        }
    }

    /// What kind of credentials failed, for records.
    pub(crate) fn method(&self) -> Option<&'static str> {
        match self {
            Self::Missing | Self::Unreadable(_) => None,
            Self::WrongKey | Self::ExpiredKey | Self::StaleKeys { .. } => Some("key"),
            Self::WrongToken(_) | Self::ExpiredToken => Some("token"),
        }
    }

    pub(crate) fn to_failure(&self) -> Failure {
        let failure = Failure::new(self.code(), self.to_string());
        match self {
            Self::StaleKeys { .. } => failure.with_reason(magic_contract::Reason::Store),
            _ => failure,
        }
    }
}
