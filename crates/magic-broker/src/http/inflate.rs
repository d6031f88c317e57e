//! Bodies, decoded as they arrive and never beyond what a controller may be given.
//!
//! A megabyte of gzip can hold a gigabyte. The decoder writes into a sink that refuses the first
//! byte too many, so that a bomb costs one buffer more than its limit; and beyond the first megabyte
//! a body must not have grown out of all proportion, since no honest one does.

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use std::io::{self, Write};

/// Decoded bytes up to which the proportion does not matter.
const FREE_OF_RATIO: usize = 1024 * 1024;

/// Why a body was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyProblem {
    /// More bytes than the limit.
    TooLarge,
    /// It grew by more than the ratio allows.
    Bomb,
    /// It is not what its encoding says, or ends early.
    Corrupt,
}

/// How a body is encoded, as far as this module can undo it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, and by some servers RFC 1951.
    Deflate,
}

impl Encoding {
    /// The encoding that a `Content-Encoding` names; `None` for any that is not undone here, a
    /// stack of several among them.
    pub(crate) fn of(value: &str) -> Option<Self> {
        let value = value.trim_matches([' ', '\t']);
        let is = |name: &str| value.eq_ignore_ascii_case(name);
        if value.is_empty() || is("identity") {
            Some(Self::Identity)
        } else if is("gzip") || is("x-gzip") {
            Some(Self::Gzip)
        } else if is("deflate") {
            Some(Self::Deflate)
        } else {
            None
        }
    }
}

/// A body on its way in.
#[derive(Debug)]
pub(crate) struct Inflater {
    decoder: Decoder,
    received: usize,
    limit: usize,
}

#[derive(Debug)]
enum Decoder {
    Identity(Sink),
    Gzip(MultiGzDecoder<Sink>),
    Zlib(ZlibDecoder<Sink>),
    Raw(DeflateDecoder<Sink>),
    /// A deflated body whose first two bytes are not there yet.
    Unknown(Vec<u8>, Sink),
}

/// Where decoded bytes go.
#[derive(Debug, Default)]
struct Sink {
    bytes: Vec<u8>,
    limit: usize,
    ratio: usize,
    received: usize,
    problem: Option<BodyProblem>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.bytes.len() + bytes.len();
        let allowed = self.received.saturating_mul(self.ratio).max(FREE_OF_RATIO);
        let problem = if length > self.limit {
            BodyProblem::TooLarge
        } else if length > allowed {
            BodyProblem::Bomb
        } else {
            self.bytes.extend_from_slice(bytes);
            return Ok(bytes.len());
        };
        self.problem = Some(problem);
        Err(io::Error::other("more than the sink takes"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Inflater {
    /// A decoder that yields at most `limit` bytes, and beyond a megabyte at most `ratio` times what
    /// it was fed.
    pub(crate) fn new(encoding: Encoding, limit: usize, ratio: usize) -> Self {
        let sink = Sink {
            limit,
            ratio,
            ..Sink::default()
        };
        Self {
            decoder: match encoding {
                Encoding::Identity => Decoder::Identity(sink),
                Encoding::Gzip => Decoder::Gzip(MultiGzDecoder::new(sink)),
                Encoding::Deflate => Decoder::Unknown(Vec::new(), sink),
            },
            received: 0,
            limit,
        }
    }

    /// Takes the next bytes of the body.
    ///
    /// # Errors
    /// [`BodyProblem`]; the decoder must not be used afterwards.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), BodyProblem> {
        self.received = self.received.saturating_add(bytes.len());
        if self.received > self.limit {
            // Encoded bytes count too: a body of nothing but empty members decodes to nothing.
            return Err(BodyProblem::TooLarge);
        }
        if let Decoder::Unknown(first, sink) = &mut self.decoder {
            first.extend_from_slice(bytes);
            let [head, flags, ..] = first.as_slice() else {
                return Ok(());
            };
            // RFC 1950, section 2.2: method 8, and both bytes together a multiple of 31.
            let is_zlib =
                head & 0x0f == 8 && (u16::from(*head) << 8 | u16::from(*flags)).is_multiple_of(31);
            let (first, sink) = (std::mem::take(first), std::mem::take(sink));
            self.decoder = if is_zlib {
                Decoder::Zlib(ZlibDecoder::new(sink))
            } else {
                Decoder::Raw(DeflateDecoder::new(sink))
            };
            return self.feed(&first);
        }
        self.feed(bytes)
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), BodyProblem> {
        self.sink().received = self.received;
        let written = match &mut self.decoder {
            Decoder::Identity(sink) => sink.write_all(bytes),
            Decoder::Gzip(decoder) => decoder.write_all(bytes),
            Decoder::Zlib(decoder) => decoder.write_all(bytes),
            Decoder::Raw(decoder) => decoder.write_all(bytes),
            Decoder::Unknown(..) => Ok(()),
        };
        written.map_err(|_| self.problem())
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`BodyProblem`], also for an encoded body that was cut off.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, BodyProblem> {
        if self.received == 0 {
            // The answer to HEAD names an encoding and has no body.
            return Ok(Vec::new());
        }
        let finished = match &mut self.decoder {
            Decoder::Identity(_) => Ok(()),
            Decoder::Gzip(decoder) => decoder.try_finish(),
            Decoder::Zlib(decoder) => decoder.try_finish(),
            Decoder::Raw(decoder) => decoder.try_finish(),
            Decoder::Unknown(..) => return Err(BodyProblem::Corrupt),
        };
        match finished {
            Ok(()) => Ok(std::mem::take(&mut self.sink().bytes)),
            Err(_) => Err(self.problem()),
        }
    }

    fn problem(&mut self) -> BodyProblem {
        self.sink().problem.unwrap_or(BodyProblem::Corrupt)
    }

    fn sink(&mut self) -> &mut Sink {
        match &mut self.decoder {
            Decoder::Identity(sink) | Decoder::Unknown(_, sink) => sink,
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Zlib(decoder) => decoder.get_mut(),
            Decoder::Raw(decoder) => decoder.get_mut(),
        }
    }
}

#[cfg(test)]
mod tests;
