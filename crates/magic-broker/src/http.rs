//! Outbound HTTP: one request of a controller, judged at every step of its way.
//!
//! The order below is the design. A hop is first read (one spelling per URL), then judged against
//! contract and policy (host, port, method, scheme), then resolved, then judged again by the kind of
//! every address; what comes out of all that is a `Destination`, the only thing that can be
//! dialled. A redirect makes the next hop and begins at the beginning. Nothing here trusts an earlier
//! hop, an earlier call or the server.
//!
//! There are no proxy variables, no cookies, no connections that outlive a hop. One [`Egress`] serves
//! the whole program and holds what is shared: the TLS configuration, the resolver and the permits.
//! One [`EgressSession`] serves one request.

mod address;
mod connect;
mod exchange;
mod inflate;
mod meter;
mod own_endpoints;
mod redirect;
mod refusal;
mod request;
mod resolve;
mod response;
mod secrets;
mod session;
mod target;

pub use address::AddressRules;
pub use own_endpoints::OwnEndpoints;
pub(crate) use secrets::HeaderSecrets;
pub(crate) use session::EgressSession;
pub use target::{EgressTarget, TargetProblem};

use crate::frame::FRAME_LIMIT;
use resolve::Resolver;
use rustls::ClientConfig;
use rustls::pki_types::pem;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Semaphore;

/// The largest body that fits into a frame in base64, with room for the headers.
const LARGEST_RESPONSE: usize = (FRAME_LIMIT - 1024 * 1024) / 4 * 3;

/// How much one request may send and be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressLimits {
    /// Bytes of a request's body.
    pub request_bytes: usize,
    /// Bytes of a request's header lines.
    pub request_header_bytes: usize,
    /// Bytes of an answer's body, after decoding. At most about five million, since the answer has
    /// to fit into one frame.
    pub response_bytes: usize,
    /// Header lines of an answer.
    pub response_headers: usize,
    /// Bytes of an answer's head.
    pub response_header_bytes: usize,
    /// How many times its size an encoded body may grow beyond its first megabyte.
    pub inflation: usize,
    /// Redirects that are followed.
    pub redirects: usize,
    /// The time for one call when it names none; the request's own deadline bounds it always.
    pub timeout: Duration,
    /// Bytes on the wire of all calls of one execution, both directions, TLS included.
    pub session_bytes: u64,
    /// Calls of one execution at the same time; others wait.
    pub session_calls: usize,
    /// Calls of all executions at the same time; others wait.
    pub calls: usize,
    /// Names that are being resolved at the same time, each on a thread.
    pub lookups: usize,
}

impl Default for EgressLimits {
    fn default() -> Self {
        Self {
            request_bytes: 5 * 1024 * 1024,
            request_header_bytes: 32 * 1024,
            response_bytes: 5 * 1024 * 1024,
            response_headers: 128,
            response_header_bytes: 64 * 1024,
            inflation: 200,
            redirects: 10,
            timeout: Duration::from_secs(30),
            session_bytes: 64 * 1024 * 1024,
            session_calls: 8,
            calls: 1024,
            lookups: 64,
        }
    }
}

/// What an operator configures.
#[derive(Debug, Clone, Default)]
pub struct EgressOptions {
    /// Certificates in PEM that are trusted beside those of the public authorities.
    pub extra_roots: String,
    /// The runtime's own doors.
    pub own_endpoints: OwnEndpoints,
    /// Limits.
    pub limits: EgressLimits,
}

/// Egress cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EgressError {
    /// The extra roots are not PEM.
    #[error("the extra certificate authorities are not PEM: {0}")]
    RootText(#[source] pem::Error),
    /// There is text, and no certificate in it.
    #[error("the text of extra certificate authorities holds no certificate")]
    NoRoots,
    /// A certificate cannot be a root.
    #[error("an extra certificate authority cannot be used: {0}")]
    Root(#[source] rustls::Error),
    /// The cryptography at hand lacks what TLS needs.
    #[error("TLS cannot be configured: {0}")]
    Provider(#[source] rustls::Error),
    /// An answer of that size would not fit into a frame.
    #[error("an answer may have at most {LARGEST_RESPONSE} bytes, not {0}")]
    ResponseLimit(usize),
}

/// What all sessions share.
#[derive(Debug)]
pub struct Egress {
    tls: Arc<ClientConfig>,
    resolver: Resolver,
    own_endpoints: RwLock<OwnEndpoints>,
    limits: EgressLimits,
    calls: Semaphore,
}

impl Egress {
    /// Sets egress up.
    ///
    /// # Errors
    /// [`EgressError`] for options that cannot hold.
    pub fn new(options: EgressOptions) -> Result<Self, EgressError> {
        let resolver = Resolver::system(options.limits.lookups);
        Self::with_resolver(options, resolver)
    }

    fn with_resolver(options: EgressOptions, resolver: Resolver) -> Result<Self, EgressError> {
        let EgressOptions {
            extra_roots,
            own_endpoints,
            limits,
        } = options;
        if limits.response_bytes > LARGEST_RESPONSE {
            return Err(EgressError::ResponseLimit(limits.response_bytes));
        }
        Ok(Self {
            tls: Arc::new(connect::tls_config(&extra_roots)?),
            resolver,
            own_endpoints: RwLock::new(own_endpoints),
            calls: Semaphore::new(limits.calls),
            limits,
        })
    }

    /// Makes a listener unreachable for controllers, for those whose port is known only once they
    /// are bound.
    pub fn protect_listener(&self, address: SocketAddr) {
        self.own_endpoints
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .listeners
            .push(address);
    }

    fn own_endpoints(&self) -> OwnEndpoints {
        self.own_endpoints
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests;
