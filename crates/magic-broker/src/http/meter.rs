//! Counts what crosses the wire, and stops a peer that sends too much.
//!
//! The count is taken at the socket, below TLS and below HTTP, because that is the one place where
//! nothing is left out: endless interim responses, chunk extensions, trailers and padding are bytes
//! here before they are anything else. Each phase of an exchange allows a number of further bytes;
//! all calls of a session share one more allowance.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The bytes that one session may still move, in both directions together.
#[derive(Debug)]
pub(crate) struct SessionBytes(AtomicU64);

impl SessionBytes {
    /// So many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        Self(AtomicU64::new(bytes))
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.load(Relaxed) == 0
    }

    /// Takes bytes that have moved already; `false` when they were more than there were left.
    fn take(&self, bytes: u64) -> bool {
        let before = self
            .0
            .fetch_update(Relaxed, Relaxed, |left| Some(left.saturating_sub(bytes)));
        before.is_ok_and(|left| left >= bytes)
    }
}

/// The count of one call, over all its hops.
#[derive(Debug)]
pub(crate) struct Meter {
    received: AtomicU64,
    sent: AtomicU64,
    /// What `received` must not pass.
    limit: AtomicU64,
    over_limit: AtomicBool,
    over_session: AtomicBool,
    session: Arc<SessionBytes>,
}

impl Meter {
    /// A count at zero that allows nothing yet.
    pub(crate) fn new(session: Arc<SessionBytes>) -> Self {
        Self {
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            limit: AtomicU64::new(0),
            over_limit: AtomicBool::new(false),
            over_session: AtomicBool::new(false),
            session,
        }
    }

    /// Allows the peer so many further bytes.
    pub(crate) fn allow(&self, bytes: u64) {
        let limit = self.received().saturating_add(bytes);
        self.limit.store(limit, Relaxed);
    }

    /// Bytes received so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Bytes sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Whether the peer sent more than its phase allows.
    pub(crate) fn is_over_limit(&self) -> bool {
        self.over_limit.load(Relaxed)
    }

    /// Whether the session has used up its bytes.
    pub(crate) fn is_over_session(&self) -> bool {
        self.over_session.load(Relaxed)
    }

    fn count_received(&self, bytes: u64) -> io::Result<()> {
        let received = self.received.fetch_add(bytes, Relaxed) + bytes;
        if !self.session.take(bytes) {
            self.over_session.store(true, Relaxed);
            return Err(io::Error::other("the bytes of the session are used up"));
        }
        if received > self.limit.load(Relaxed) {
            self.over_limit.store(true, Relaxed);
            return Err(io::Error::other("more bytes than this phase allows"));
        }
        Ok(())
    }

    fn count_sent(&self, bytes: u64) -> io::Result<()> {
        self.sent.fetch_add(bytes, Relaxed);
        if self.session.take(bytes) {
            Ok(())
        } else {
            self.over_session.store(true, Relaxed);
            Err(io::Error::other("the bytes of the session are used up"))
        }
    }
}

/// A stream whose bytes are counted.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    stream: S,
    meter: Arc<Meter>,
}

impl<S> Metered<S> {
    /// Counts the bytes of `stream` on `meter`.
    pub(crate) fn new(stream: S, meter: Arc<Meter>) -> Self {
        Self { stream, meter }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let bytes = buffer.filled().len() - before;
        Poll::Ready(self.meter.count_received(bytes as u64))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        Poll::Ready(self.meter.count_sent(written as u64).map(|()| written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
