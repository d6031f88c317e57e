//! The decoder against every way of cutting a byte stream.

use super::{FRAME_LIMIT, FrameBuffer, FrameError, encode};
use proptest::prelude::*;

fn feed(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Result<(), FrameError>, bool) {
    let mut buffer = FrameBuffer::new();
    let mut frames = Vec::new();
    for chunk in chunks {
        buffer.space().extend_from_slice(chunk);
        loop {
            match buffer.take() {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                Err(error) => return (frames, Err(error), false),
            }
        }
    }
    let clean = buffer.is_empty();
    (frames, Ok(()), clean)
}

/// Lengths that announce nothing or too much are refused from the prefix alone.
#[test]
fn hostile_lengths_are_refused_before_a_body_arrives() {
    let huge = FRAME_LIMIT + 1;
    for (prefix, expected) in [
        (0_u32, FrameError::Empty),
        (u32::MAX, FrameError::TooLong(u32::MAX as usize)),
        (1 << 31, FrameError::TooLong(1 << 31)),
        (u32::try_from(huge).unwrap(), FrameError::TooLong(huge)),
    ] {
        let (frames, end, _) = feed(&[&prefix.to_be_bytes()]);
        assert!(frames.is_empty());
        assert_eq!(end, Err(expected));
    }
}

/// A frame that ends early leaves the buffer unclean, so the end is no clean end.
#[test]
fn a_cut_off_frame_is_seen() {
    let (frames, end, clean) = feed(&[&5_u32.to_be_bytes(), b"abc"]);
    assert_eq!((frames.len(), end, clean), (0, Ok(()), false));
}

proptest! {
    /// However the stream is cut, the same frames come out.
    #[test]
    fn cutting_does_not_matter(bodies in prop::collection::vec("[a-z]{1,40}", 1..6), cut in 1_usize..7) {
        let mut stream = Vec::new();
        for body in &bodies {
            stream.extend(encode(body).unwrap());
        }
        let chunks: Vec<&[u8]> = stream.chunks(cut).collect();
        let (frames, end, clean) = feed(&chunks);
        prop_assert_eq!(end, Ok(()));
        prop_assert!(clean);
        let decoded: Vec<String> = frames.iter().map(|frame| serde_json::from_slice(frame).unwrap()).collect();
        prop_assert_eq!(decoded, bodies);
    }

    /// No bytes make the decoder panic or hold more than it was given.
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 1_usize..9) {
        let chunks: Vec<&[u8]> = bytes.chunks(cut).collect();
        let (frames, _, _) = feed(&chunks);
        prop_assert!(frames.iter().map(Vec::len).sum::<usize>() <= bytes.len());
    }
}
