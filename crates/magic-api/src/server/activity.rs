//! Whether a connection has a request in flight, and for how long it has had none.
//!
//! hyper's own clock covers only the wait for an HTTP/1 head. A client that sends nothing at all, not even enough to tell HTTP/1
//! from HTTP/2, and an HTTP/2 client that opens no stream, are seen here. So is which of the two a connection speaks, since they say
//! goodbye in different ways.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::Version;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::watch;

/// Counts a connection's requests in flight. A clone counts the same connection.
#[derive(Debug, Clone)]
pub(super) struct Activity {
    in_flight: watch::Sender<usize>,
    multiplexed: watch::Sender<bool>,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            in_flight: watch::Sender::new(0),
            multiplexed: watch::Sender::new(false),
        }
    }

    /// A request of this version begins; it ends when the value is dropped.
    pub(super) fn begin(&self, version: Version) -> InFlight {
        if version == Version::HTTP_2 {
            self.multiplexed.send_replace(true);
        }
        self.in_flight.send_modify(|count| *count += 1);
        InFlight(self.clone())
    }

    /// Completes when a request has shown that this is HTTP/2.
    pub(super) async fn multiplexed(&self) {
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.multiplexed.subscribe().wait_for(|seen| *seen).await;
    }

    /// Completes when no request has been in flight for `limit`.
    pub(super) async fn idle_for(&self, limit: Duration) {
        let mut changes = self.in_flight.subscribe();
        loop {
            // The sender lives in `self`, so neither wait can fail.
            let _ = changes.wait_for(|count| *count == 0).await;
            changes.mark_unchanged();
            if tokio::time::timeout(limit, changes.changed())
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct InFlight(Activity);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.send_modify(|count| *count -= 1);
    }
}

/// A response body that keeps its request in flight until its last byte is handed over or the client is gone.
#[derive(Debug)]
pub(super) struct InFlightBody {
    body: Body,
    _request: InFlight,
}

impl InFlightBody {
    pub(super) fn new(body: Body, request: InFlight) -> Self {
        Self {
            body,
            _request: request,
        }
    }
}

impl HttpBody for InFlightBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
