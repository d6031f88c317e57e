//! Frames of a worker's channel: a big-endian `u32` length, then that many
//! bytes of UTF-8 JSON.
//!
//! The decoder is a buffer that is fed bytes and yields whole frames. It is
//! apart from the socket so that a fuzzer and a property test can feed it, and
//! it decides on the length alone, before a single byte of the body is kept:
//! a hostile length costs four bytes.

use bytes::{Buf, BytesMut};

/// The longest body of a frame, in bytes, in either direction (8 MiB).
pub const FRAME_LIMIT: usize = 8 * 1024 * 1024;

/// Bytes of the length prefix.
const PREFIX: usize = 4;

/// A length prefix that no well-behaved peer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The prefix announces an empty body, which is no JSON value.
    #[error("a frame of length zero")]
    Empty,
    /// The prefix announces more than [`FRAME_LIMIT`] bytes.
    #[error("a frame of {0} bytes is longer than the limit of {FRAME_LIMIT}")]
    TooLong(usize),
}

/// Bytes received so far, from which whole frames are taken.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    bytes: BytesMut,
}

impl FrameBuffer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// The buffer to read into; bytes are appended at its end.
    pub fn space(&mut self) -> &mut BytesMut {
        self.bytes.reserve(4096);
        &mut self.bytes
    }

    /// Whether bytes of an unfinished frame are held. At the end of the
    /// channel this tells a cut-off frame from a clean end.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes the next whole frame's body.
    ///
    /// `Ok(None)` means that more bytes are needed, which is no error.
    ///
    /// # Errors
    ///
    /// [`FrameError`] as soon as a length prefix is complete and unacceptable.
    /// The buffer must not be used afterwards: the position of the next frame
    /// is unknown.
    pub fn take(&mut self) -> Result<Option<BytesMut>, FrameError> {
        let Some(prefix) = self.bytes.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        // A u32 fits a usize on every platform this crate supports.
        let length = u32::from_be_bytes(*prefix) as usize;
        if length == 0 {
            return Err(FrameError::Empty);
        }
        if length > FRAME_LIMIT {
            return Err(FrameError::TooLong(length));
        }
        if self.bytes.len() < PREFIX + length {
            return Ok(None);
        }
        self.bytes.advance(PREFIX);
        Ok(Some(self.bytes.split_to(length)))
    }
}

/// Encodes `value` as one frame, prefix and body in one allocation, so that it
/// leaves with one write.
///
/// # Errors
///
/// [`FrameError::TooLong`] when the encoded body exceeds [`FRAME_LIMIT`].
pub fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, FrameError> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(&[0; PREFIX]);
    serde_json::to_writer(&mut out, value)
        .expect("the message types of this crate have string keys and no failing Serialize");
    let length = out.len() - PREFIX;
    match u32::try_from(length) {
        Ok(prefix) if length <= FRAME_LIMIT => {
            out[..PREFIX].copy_from_slice(&prefix.to_be_bytes());
            Ok(out)
        }
        _ => Err(FrameError::TooLong(length)),
    }
}

#[cfg(test)]
mod tests;
