//! Accepting connections, and ending.
//!
//! Each listener has its own loop and its own number of places for connections, so that a flood on TCP never shuts the operator
//! out of the unix socket. A place is taken *before* accepting: beyond the limit, clients wait in the kernel's backlog, where
//! they cost us nothing.
//!
//! The end has two stages. First the order to stop: no new connections; those that were accepted are this server's to answer, so
//! each gets an answer to what is in flight or still on its way, and closes with it. What nobody has accepted stays in the kernel's
//! backlog, where a successor that holds the same sockets finds it. Then, after the grace, whatever is left is cut off, and when it
//! is gone the runtime stops: its log and its database close after their last user.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use magic_runtime::Runtime;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::authorize::Gate;
use crate::options::ApiOptions;
use crate::request_scope::RequestScope;
use crate::routes;
use crate::state::ApiState;

mod activity;
mod connection;
mod inherit;
mod listener;
mod socket;
mod socket_file;
mod stalled_write;

use connection::{Connection, Ending};
pub use inherit::InheritError;
pub use listener::{BindError, Listener, SocketGroup};
pub use socket_file::Keeper;

/// How long to wait before accepting again when the process is out of descriptors or memory. Accepting at once would fail again
/// and turn the loop into a busy one.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Why serving ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// There was nothing to listen on.
    #[error("no listener was given")]
    NoListener,
    /// A listener broke in a way that waiting does not mend.
    #[error("cannot accept connections on {address}")]
    Accept {
        /// Which listener.
        address: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Serves until `shutdown` completes, then drains: requests in flight get [`ApiOptions::drain_grace`] to end. Returns when the
/// last connection is closed and the runtime has ended its workers.
///
/// # Errors
/// When there is no listener, or one breaks for good. The runtime is drained then too.
pub async fn serve(
    runtime: Runtime,
    listeners: Vec<Listener>,
    options: ApiOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    if listeners.is_empty() {
        return Err(ServeError::NoListener);
    }
    let ending = Ending {
        stopping: CancellationToken::new(),
        cut_off: CancellationToken::new(),
    };
    let state = ApiState::new(runtime.clone(), &options, ending.stopping.clone());
    let gate = Arc::new(Gate::new(runtime.clone(), &options));
    let connections = state.connections.clone();
    let answered = state.answered.clone();
    let router = routes::router(state, gate);
    let scope = Arc::new(RequestScope::new(
        runtime.clone(),
        router,
        &options,
        answered,
    ));
    let mut loops = tokio::task::JoinSet::new();
    for listener in listeners {
        let connection = Connection::new(Arc::clone(&scope), options.clone(), ending.clone());
        loops.spawn(accept(
            listener,
            connection,
            options.connections,
            connections.clone(),
        ));
    }

    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        // A loop ends by itself only when it cannot go on.
        Some(ended) = loops.join_next() => match ended {
            Ok(error) => Err(error),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        },
    };

    ending.stopping.cancel();
    // Dropping the loops closes the listeners.
    loops.shutdown().await;
    connections.close();
    let until = tokio::time::Instant::now() + options.drain_grace;
    runtime.leave();
    // Whoever is left over at its end is cut off below.
    let _ = tokio::time::timeout_at(until, connections.wait()).await;
    runtime
        .drain(until.saturating_duration_since(tokio::time::Instant::now()))
        .await;
    ending.cut_off.cancel();
    connections.wait().await;
    // Only now nobody can begin, undo or record anything.
    runtime.stop().await;
    outcome
}

/// Accepts until the listener breaks, and says how.
async fn accept(
    listener: Listener,
    connection: Connection,
    places: usize,
    connections: TaskTracker,
) -> ServeError {
    let places = Arc::new(Semaphore::new(places));
    loop {
        let place = Arc::clone(&places)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        match listener.accept().await {
            Ok(Some((socket, source))) => {
                let serving = connection.clone().serve(socket, source);
                connections.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            // A peer that may not talk to us; the listener has said so in the log.
            Ok(None) => {}
            Err(error) if is_the_peers_fault(&error) => {}
            Err(error) if is_exhaustion(&error) => {
                tracing::warn!(%error, "cannot accept a connection now");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
            Err(source) => {
                return ServeError::Accept {
                    address: listener.to_string(),
                    source,
                };
            }
        }
    }
}

/// accept(2): errors of a connection that was already gone must be treated like EAGAIN.
fn is_the_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::PermissionDenied
    )
}

/// accept(2): EMFILE, ENFILE, ENOBUFS and ENOMEM pass when somebody closes something.
fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.raw_os_error().is_some_and(|number| {
        [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
            .iter()
            .any(|errno| errno.raw_os_error() == number)
    })
}
