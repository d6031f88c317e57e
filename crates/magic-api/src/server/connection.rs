//! One connection from its first byte to its end.
//!
//! hyper speaks HTTP/1 and HTTP/2; this file gives it its limits and decides when the connection ends: by itself, because it was
//! idle, because the server stops, or because the grace is over. The request's future lives inside the connection's, so ending a
//! connection cancels what it asked for.
//!
//! A server that stops owes an answer to every connection that it accepted. In HTTP/1 a server that closes an idle connection may
//! cross a request on its way, so this one lets its next answer say `Connection: close` and closes without one only when nothing
//! has come for a while. HTTP/2 has GOAWAY, which names the last stream that is answered.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Version, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, InFlightBody};
use super::socket::Socket;
use super::stalled_write::StalledWrite;
use crate::options::ApiOptions;
use crate::request_scope::{RequestScope, Source};

/// The read buffer of a connection, in bytes. Larger than the largest head that we take, so that a head somewhat too large is
/// refused by us, with an envelope, and only one far too large by hyper, without.
const BUFFER: usize = 64 * 1024;

/// How long a connection that was told to close for idleness may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// The two stages in which a server ends.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    /// Finish what you are doing and close.
    pub(super) stopping: CancellationToken,
    /// Close now.
    pub(super) cut_off: CancellationToken,
}

/// How connections are served; cloned for each.
#[derive(Clone)]
pub(super) struct Connection {
    scope: Arc<RequestScope>,
    options: Arc<ApiOptions>,
    builder: Arc<Builder<TokioExecutor>>,
    ending: Ending,
}

impl Connection {
    pub(super) fn new(scope: Arc<RequestScope>, options: ApiOptions, ending: Ending) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(options.header_read_timeout)
            .max_buf_size(BUFFER);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(options.streams_per_connection)
            // Streams that a client opens and resets at once (CVE-2023-44487) end the connection beyond this.
            .max_pending_accept_reset_streams(20)
            .max_header_list_size(u32::try_from(BUFFER).unwrap_or(u32::MAX))
            .keep_alive_interval(options.idle_timeout / 2)
            .keep_alive_timeout(Duration::from_secs(10));
        Self {
            scope,
            options: Arc::new(options),
            builder: Arc::new(builder),
            ending,
        }
    }

    /// Serves one connection until it ends, whichever way.
    pub(super) async fn serve(self, socket: Socket, source: Source) {
        let activity = Activity::new();
        let source = Arc::new(source);
        let service = service_fn(|request: Request<Incoming>| {
            let scope = Arc::clone(&self.scope);
            let source = Arc::clone(&source);
            let version = request.version();
            let in_flight = activity.begin(version);
            let stopping = self.ending.stopping.clone();
            async move {
                let mut response = scope.answer(request.map(Body::new), &source).await;
                // HTTP/2 has no such header.
                if stopping.is_cancelled() && version != Version::HTTP_2 {
                    let headers = response.headers_mut();
                    headers.insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response.map(|body| InFlightBody::new(body, in_flight)))
            }
        });
        let stream = TokioIo::new(StalledWrite::new(socket, self.options.write_stall_timeout));
        let mut serving = pin!(self.builder.serve_connection(stream, service));
        tokio::select! {
            result = serving.as_mut() => return log_end(result),
            () = self.ending.cut_off.cancelled() => return,
            () = self.ending.stopping.cancelled() => {}
            () = activity.idle_for(self.options.idle_timeout) => {
                serving.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(GOODBYE, serving).await;
                return;
            }
        }
        tokio::select! {
            result = serving.as_mut() => return log_end(result),
            () = self.ending.cut_off.cancelled() => return,
            () = activity.multiplexed() => {}
            () = activity.idle_for(self.options.linger) => {}
        }
        serving.as_mut().graceful_shutdown();
        tokio::select! {
            result = serving.as_mut() => log_end(result),
            () = self.ending.cut_off.cancelled() => {}
            // A client in the middle of sending a head has no request in flight yet, and need not be waited for.
            () = activity.idle_for(GOODBYE) => {}
        }
    }
}

/// Broken connections are the client's affair; they are worth a word only to somebody who looks for them.
fn log_end(result: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
