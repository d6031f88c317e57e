//! A clock on writes.
//!
//! A client that asks and then never reads would keep its connection, and the answer in memory, for ever: no other timer runs
//! while bytes wait to be written. The clock starts when a write has to wait and stops when the next one goes through.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream whose writes fail with `TimedOut` when one has waited for the limit.
#[derive(Debug)]
pub(super) struct StalledWrite<S> {
    stream: S,
    limit: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> StalledWrite<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self {
            stream,
            limit,
            waiting: None,
        }
    }

    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let limit = self.limit;
        let clock = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        if clock.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StalledWrite<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StalledWrite<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A reader that takes nothing ends the write with a timeout, on tokio's own paused clock.
    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_times_out() {
        let (ours, _theirs) = tokio::io::duplex(8);
        let mut stream = StalledWrite::new(ours, Duration::from_secs(30));
        let error = stream.write_all(&[0; 64]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    /// A slow reader that takes a little now and then is not cut off.
    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_served() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let reader = tokio::spawn(async move {
            let mut taken = 0;
            let mut bytes = [0; 8];
            while taken < 64 {
                sleep(Duration::from_secs(20)).await;
                taken += theirs.read(&mut bytes).await.expect("it reads");
            }
        });
        let mut stream = StalledWrite::new(ours, Duration::from_secs(30));
        stream.write_all(&[0; 64]).await.expect("it is read");
        reader.await.expect("the reader ends");
    }
}
