//! Reading text as if it were written in a notation: each character with the place it came from.
//!
//! None of these readers refuses anything. What does not fit the notation passes as it is, because
//! the text is whatever a controller wrote.

/// Takes one decoded byte and the range of the text that stands for it.
pub(super) trait Sink {
    /// The byte that `text[start..end]` stands for, or one of several.
    fn take(&mut self, byte: u8, start: usize, end: usize);
}

impl<F: FnMut(u8, usize, usize)> Sink for F {
    fn take(&mut self, byte: u8, start: usize, end: usize) {
        self(byte, start, end);
    }
}

/// The text as it is.
pub(super) fn plain(text: &[u8], sink: &mut impl Sink) {
    for (at, byte) in text.iter().enumerate() {
        sink.take(*byte, at, at + 1);
    }
}

/// Percent-encoding (RFC 3986), wherever a percent sign has two hexadecimal digits after it; with
/// `form`, plus signs are spaces, as in forms.
pub(super) fn percent(text: &[u8], form: bool, sink: &mut impl Sink) {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let encoded = match text.get(at..at + 3) {
            Some([b'%', high, low]) => digit(*high).zip(digit(*low)),
            _ => None,
        };
        if let Some((high, low)) = encoded {
            sink.take(high << 4 | low, at, at + 3);
            at += 3;
        } else {
            let byte = if form && *byte == b'+' { b' ' } else { *byte };
            sink.take(byte, at, at + 1);
            at += 1;
        }
    }
}

/// Backslash escapes: those of JSON (RFC 8259), of Python's `repr`, and of Rust's debug output.
pub(super) fn backslash(text: &[u8], sink: &mut impl Sink) {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (*byte == b'\\').then(|| escape(&text[at..])).flatten() {
            Some((character, length)) => {
                let mut buffer = [0; 4];
                for byte in character.encode_utf8(&mut buffer).bytes() {
                    sink.take(byte, at, at + length);
                }
                at += length;
            }
            None => {
                sink.take(*byte, at, at + 1);
                at += 1;
            }
        }
    }
}

/// The character of the escape at the beginning of the text, and the length of the escape.
fn escape(text: &[u8]) -> Option<(char, usize)> {
    let plain = |character| Some((character, 2));
    match text.get(1)? {
        b'"' => plain('"'),
        b'\'' => plain('\''),
        b'\\' => plain('\\'),
        b'/' => plain('/'),
        b'n' => plain('\n'),
        b'r' => plain('\r'),
        b't' => plain('\t'),
        b'b' => plain('\u{8}'),
        b'f' => plain('\u{c}'),
        b'0' => plain('\0'),
        b'x' => number(text.get(2..4)?).and_then(|number| Some((char::from_u32(number)?, 4))),
        b'u' if text.get(2) == Some(&b'{') => {
            let end = text.iter().take(10).position(|byte| *byte == b'}')?;
            let character = char::from_u32(number(text.get(3..end)?)?)?;
            Some((character, end + 1))
        }
        b'u' => unit(text).and_then(|first| match first {
            0xd800..=0xdbff => {
                let second = text.get(6..).and_then(unit)?;
                (0xdc00..=0xdfff).contains(&second).then_some(())?;
                let character = 0x10000 + ((first - 0xd800) << 10 | (second - 0xdc00));
                Some((char::from_u32(character)?, 12))
            }
            _ => Some((char::from_u32(first)?, 6)),
        }),
        b'U' => Some((char::from_u32(number(text.get(2..10)?)?)?, 10)),
        _ => None,
    }
}

/// The number of a `\uXXXX` at the beginning of the text.
fn unit(text: &[u8]) -> Option<u32> {
    text.starts_with(b"\\u").then(|| number(text.get(2..6)?))?
}

/// A number of one to eight hexadecimal digits.
fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    digits.iter().try_fold(0, |number: u32, byte| {
        Some(number << 4 | u32::from(digit(*byte)?))
    })
}

/// The value of a hexadecimal digit.
pub(super) fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The value of a digit of base64, of either alphabet (RFC 4648, sections 4 and 5).
pub(super) fn base64_digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}
