//! Names to addresses, in the supervisor.
//!
//! The system's resolver works on a thread that cannot be called back. A controller that asks for
//! names whose servers never answer could occupy all such threads, which other parts of the runtime
//! need, so a permit bounds them; it belongs to the thread and not to the request, because the
//! thread goes on after the request has been given up.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// Who answers for names.
#[derive(Debug, Clone)]
pub(crate) enum Resolver {
    /// The system: its hosts file, its name servers.
    System(Arc<Semaphore>),
    /// A fixed table.
    #[cfg(test)]
    Table(std::collections::HashMap<String, Vec<std::net::IpAddr>>),
}

/// A name that did not lead to an address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// The name has none, or its servers did not say.
    #[error("the name does not resolve: {0}")]
    Failed(#[source] std::io::Error),
    /// No answer in time.
    #[error("the name was not resolved in time")]
    Late,
}

impl Resolver {
    /// The system's resolver, used by at most `lookups` threads at once.
    pub(crate) fn system(lookups: usize) -> Self {
        Self::System(Arc::new(Semaphore::new(lookups)))
    }

    /// All addresses of a name, or the address that it is, with the port.
    pub(crate) async fn lookup(
        &self,
        name: &str,
        port: u16,
        until: Instant,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        match self {
            Self::System(permits) => {
                let asked = lookup(Arc::clone(permits), name.to_owned(), port);
                timeout_at(until, asked)
                    .await
                    .unwrap_or(Err(ResolveError::Late))
            }
            #[cfg(test)]
            Self::Table(table) => match (table.get(name), name.parse()) {
                (Some(addresses), _) => Ok(addresses
                    .iter()
                    .map(|address| SocketAddr::new(*address, port))
                    .collect()),
                (None, Ok(address)) => Ok(vec![SocketAddr::new(address, port)]),
                (None, Err(_)) => Err(ResolveError::Failed(std::io::Error::other("not listed"))),
            },
        }
    }
}

async fn lookup(
    permits: Arc<Semaphore>,
    name: String,
    port: u16,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let permit = permits
        .acquire_owned()
        .await
        .map_err(|error| ResolveError::Failed(std::io::Error::other(error)))?;
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        (name.as_str(), port)
            .to_socket_addrs()
            .map(Iterator::collect)
    })
    .await
    .map_err(|error| ResolveError::Failed(std::io::Error::other(error)))?
    .map_err(ResolveError::Failed)
}
