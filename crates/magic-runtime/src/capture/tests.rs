//! Cutting and escaping, without a pipe.

use super::{LINE_BYTES, Lines, escape};
use magic_broker::secrets::Redactor;
use proptest::prelude::*;

fn cut(limit: usize, chunks: &[&[u8]]) -> (Vec<Vec<u8>>, u64) {
    let mut lines = Lines::new(limit, Redactor::new());
    let mut seen = Vec::new();
    for chunk in chunks {
        lines.feed(chunk, |line| seen.push(line.to_vec()));
    }
    let dropped = lines.finish(|line| seen.push(line.to_vec()));
    (seen, dropped)
}

#[test]
fn lines_are_cut_at_newlines_wherever_chunks_end() {
    let (lines, dropped) = cut(100, &[b"on", b"e\ntwo\n\nth", b"ree"]);
    assert_eq!(lines, [&b"one"[..], b"two", b"", b"three"]);
    assert_eq!(dropped, 0);
}

#[test]
fn a_line_without_end_is_cut_and_a_flood_is_counted() {
    let flood = vec![b'x'; 3 * LINE_BYTES];
    let (lines, dropped) = cut(2 * LINE_BYTES, &[&flood]);
    assert_eq!(
        lines.iter().map(Vec::len).collect::<Vec<_>>(),
        [LINE_BYTES, LINE_BYTES]
    );
    assert_eq!(dropped, LINE_BYTES as u64);
}

#[test]
fn nothing_escapes_into_a_terminal() {
    assert_eq!(
        escape(b"\x1b[31mred\x07 \xff\r\n"),
        "\\u{1b}[31mred\\u{7} \\xff\\r\\n"
    );
    assert_eq!(escape("grün\t\u{202e}x".as_bytes()), "grün\t\\u{202e}x");
}

proptest! {
    #[test]
    fn nothing_is_lost_below_the_limit(bytes in prop::collection::vec(any::<u8>(), 0..500), step in 1_usize..50) {
        let chunks: Vec<&[u8]> = bytes.chunks(step).collect();
        let (lines, dropped) = cut(1000, &chunks);
        let mut joined = lines.join(&b'\n');
        if bytes.last() == Some(&b'\n') {
            joined.push(b'\n');
        }
        prop_assert_eq!(dropped, 0);
        prop_assert_eq!(joined, bytes);
    }

    #[test]
    fn escaped_text_has_no_control_characters(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        prop_assert!(escape(&bytes).chars().all(|c| c == '\t' || !c.is_control()));
    }
}
