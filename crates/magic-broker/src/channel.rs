//! One worker's channel: frames in, frames out, over any byte stream.

use crate::frame::{FrameBuffer, FrameError};
use crate::message::{FromWorker, MessageError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A longer frame, in bytes, is parsed on a thread of its own, since the tree
/// of a large result would hold the event loop for as long as it takes to make.
const LONG: usize = 64 * 1024;

/// A connected channel and the bytes read from it so far.
#[derive(Debug)]
pub struct Channel<S> {
    stream: S,
    received: FrameBuffer,
    received_bytes: u64,
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
    Socket(#[source] std::io::Error),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Channel<S> {
    /// Wraps a connected stream.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            received: FrameBuffer::new(),
            received_bytes: 0,
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

    /// Sends bytes that [`encode`](crate::encode) made, or a handshake byte.
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

    /// Receives the next message; `None` at a clean end of the channel.
    ///
    /// Cancelling the future while it waits for bytes loses nothing: what was
    /// read stays in the buffer. A long frame that is being parsed is lost.
    ///
    /// # Errors
    ///
    /// [`ChannelError`]; the channel must not be used afterwards.
    pub async fn receive(&mut self) -> Result<Option<FromWorker>, ChannelError> {
        loop {
            if let Some(body) = self.received.take()? {
                self.received_bytes += body.len() as u64;
                if body.len() <= LONG {
                    return Ok(Some(FromWorker::parse(&body)?));
                }
                let parsed = tokio::task::spawn_blocking(move || FromWorker::parse(&body))
                    .await
                    .map_err(|error| ChannelError::Socket(std::io::Error::other(error)))?;
                return Ok(Some(parsed?));
            }
            let count = match self.stream.read_buf(self.received.space()).await {
                Ok(count) => count,
                // A worker that dies with unread bytes in its queue resets the
                // connection instead of ending it.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
                Err(error) => return Err(ChannelError::Socket(error)),
            };
            if count == 0 {
                return if self.received.is_empty() {
                    Ok(None)
                } else {
                    Err(ChannelError::CutOff)
                };
            }
        }
    }
}
