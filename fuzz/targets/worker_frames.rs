//! Bytes of a worker's channel: the frames found do not depend on how the bytes arrive.

#![no_main]

use libfuzzer_sys::fuzz_target;
use magic_broker::{FrameBuffer, FrameError};

/// All frames, when the bytes come in pieces of this size.
fn frames(data: &[u8], piece: usize) -> (Vec<Vec<u8>>, Option<FrameError>) {
    let mut buffer = FrameBuffer::new();
    let mut found = Vec::new();
    for chunk in data.chunks(piece) {
        buffer.space().extend_from_slice(chunk);
        loop {
            match buffer.take() {
                Ok(Some(frame)) => found.push(frame.to_vec()),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

fuzz_target!(|data: &[u8]| {
    let Some((size, data)) = data.split_first() else {
        return;
    };
    let whole = frames(data, data.len().max(1));
    let pieces = frames(data, usize::from(*size).max(1));
    assert_eq!(whole, pieces);
});
