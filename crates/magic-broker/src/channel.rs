//! One worker's channel: frames in, frames out, over any byte stream.
//!
//! Both directions are driven by one future, [`Channel::next`], since a worker
//! may be writing a long call while its earlier answers wait to be read: who
//! only reads or only writes can end up waiting for a peer that waits for them.
//! Everything that is half done (bytes of a frame, an unsent rest, a long frame
//! that is being parsed) lives in the channel and not in the future, so that
//! dropping the future loses nothing.

use crate::frame::{FrameBuffer, FrameError};
use crate::message::{FromWorker, MessageError};
use bytes::{Buf, BytesMut};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::task::JoinHandle;

/// A longer frame, in bytes, is parsed on a thread of its own, since the tree
/// of a large result would hold the event loop for as long as it takes to make.
const LONG: usize = 64 * 1024;
/// Bytes read at a time.
const PIECE: usize = 16 * 1024;

/// A connected channel, the bytes read from it and those not yet sent.
#[derive(Debug)]
pub struct Channel<S> {
    stream: S,
    received: FrameBuffer,
    received_bytes: u64,
    unsent: BytesMut,
    parsing: Option<JoinHandle<Result<FromWorker, MessageError>>>,
}

/// What came of sending and receiving.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for one turn of a loop, and nearly always is a message"
)]
pub(crate) enum Next {
    /// A message.
    Message(FromWorker),
    /// The clean end of the channel.
    End,
    /// Enough was sent for more to be taken on.
    Room,
}

/// How a channel stopped being one.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Bytes that are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame that is no message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The channel ended inside a frame.
    #[error("the channel ended inside a frame")]
    CutOff,
    /// The socket failed; for a local socket this means that the peer is gone.
    #[error("the channel failed: {0}")]
    Socket(#[source] io::Error),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Channel<S> {
    /// Wraps a connected stream.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            received: FrameBuffer::new(),
            received_bytes: 0,
            unsent: BytesMut::new(),
            parsing: None,
        }
    }

    /// The stream underneath, for what happens before the first frame.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Puts bytes in front that were read from the stream by other means.
    pub fn received_before(&mut self, bytes: &[u8]) {
        self.received.space().extend_from_slice(bytes);
    }

    /// How many bytes of whole frames have been received.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// How many bytes are queued and not yet sent.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.unsent.len()
    }

    /// Sends bytes that [`encode`](crate::encode) made, or a handshake byte,
    /// and waits until they are sent.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Socket`] when the peer no longer reads.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), ChannelError> {
        self.stream
            .write_all(bytes)
            .await
            .map_err(ChannelError::Socket)
    }

    /// Queues a frame that [`next`](Self::next) will send.
    pub(crate) fn queue(&mut self, frame: &[u8]) {
        self.unsent.extend_from_slice(frame);
    }

    /// Receives the next message; `None` at a clean end of the channel.
    ///
    /// # Errors
    ///
    /// [`ChannelError`]; the channel must not be used afterwards.
    pub async fn receive(&mut self) -> Result<Option<FromWorker>, ChannelError> {
        poll_fn(|context| self.poll_message(context)).await
    }

    /// Sends what is queued and, while fewer than `most` bytes of it are left,
    /// receives the next message. Tells when sending has made that room; with
    /// `most` at 0 it only sends and never ends, so it belongs beside something
    /// else in a `select!`.
    ///
    /// # Errors
    ///
    /// [`ChannelError`]; the channel must not be used afterwards.
    pub(crate) async fn next(&mut self, most: usize) -> Result<Next, ChannelError> {
        let was_full = self.unsent.len() >= most;
        poll_fn(|context| self.poll(context, most, was_full)).await
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        most: usize,
        was_full: bool,
    ) -> Poll<Result<Next, ChannelError>> {
        while !self.unsent.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, &self.unsent) {
                // A peer that no longer listens may have said its last word
                // already, so reading goes on to the end.
                Poll::Ready(Ok(0) | Err(_)) => self.unsent.clear(),
                Poll::Ready(Ok(count)) => self.unsent.advance(count),
                Poll::Pending => break,
            }
        }
        // What is left unsent has its waker with the stream; with nothing left
        // there is room, unless none is wanted.
        if self.unsent.len() >= most {
            return Poll::Pending;
        }
        if was_full {
            return Poll::Ready(Ok(Next::Room));
        }
        self.poll_message(context)
            .map(|received| Ok(received?.map_or(Next::End, Next::Message)))
    }

    fn poll_message(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<FromWorker>, ChannelError>> {
        loop {
            if let Some(parsing) = &mut self.parsing {
                let parsed = ready!(Pin::new(parsing).poll(context));
                self.parsing = None;
                return Poll::Ready(match parsed {
                    Ok(message) => message.map(Some).map_err(ChannelError::Message),
                    Err(error) => Err(ChannelError::Socket(io::Error::other(error))),
                });
            }
            if let Some(body) = self.received.take()? {
                self.received_bytes += body.len() as u64;
                if body.len() <= LONG {
                    return Poll::Ready(Ok(Some(FromWorker::parse(&body)?)));
                }
                self.parsing = Some(tokio::task::spawn_blocking(move || {
                    FromWorker::parse(&body)
                }));
                continue;
            }
            if ready!(self.poll_fill(context)).map_err(ChannelError::Socket)? == 0 {
                return Poll::Ready(if self.received.is_empty() {
                    Ok(None)
                } else {
                    Err(ChannelError::CutOff)
                });
            }
        }
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut piece = [std::mem::MaybeUninit::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut piece);
        match ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece)) {
            Ok(()) => {
                self.received.space().extend_from_slice(piece.filled());
                Poll::Ready(Ok(piece.filled().len()))
            }
            // A worker that dies with unread bytes in its queue resets the
            // connection instead of ending it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Poll::Ready(Ok(0)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}
