//! Decides whether the text after `xn--` is punycode that had to be punycode.
//!
//! The runtime never shows or types international names; it only has to make sure that a label has
//! exactly one spelling. So this decodes (RFC 3492) and demands that the result is a lower-case,
//! non-ASCII label of letters, marks and digits. It does not apply the full IDNA tables: a label
//! that the tables would refuse cannot be registered and does not resolve.

const BASE: u32 = 36;
const SKEW: u32 = 38;
const DAMP: u32 = 700;
const SMALLEST_THRESHOLD: u32 = 1;
const LARGEST_THRESHOLD: u32 = 26;

/// Whether `encoded` (the part after `xn--`) is the one spelling of a label that needs punycode.
pub(super) fn is_canonical(encoded: &str) -> bool {
    let Some(label) = decode(encoded) else {
        return false;
    };
    let needs_it = label.iter().any(|character| !character.is_ascii());
    let printable = label.iter().all(|character| {
        *character == '-'
            || (character.is_alphanumeric() && !character.is_uppercase())
            || is_mark(*character)
    });
    needs_it && printable
}

/// Combining marks and the joiners between letters are part of real names in several scripts.
fn is_mark(character: char) -> bool {
    matches!(character, '\u{0300}'..='\u{036F}' | '\u{0900}'..='\u{0DFF}' | '\u{0E00}'..='\u{0EFF}'
        | '\u{1000}'..='\u{109F}' | '\u{200C}' | '\u{200D}' | '\u{3099}' | '\u{309A}' | '\u{30FB}'
        | '\u{00B7}' | '\u{0375}' | '\u{05F3}' | '\u{05F4}')
}

fn decode(encoded: &str) -> Option<Vec<char>> {
    let (basic, extended) = encoded.rsplit_once('-').unwrap_or(("", encoded));
    if extended.is_empty() {
        return None;
    }
    let mut label: Vec<char> = basic.chars().collect();
    let mut code_point: u32 = 128;
    let mut position: u32 = 0;
    let mut bias: u32 = 72;
    let mut digits = extended.bytes();
    let mut remaining = extended.len();
    while remaining > 0 {
        let start = position;
        let mut weight: u32 = 1;
        let mut place = BASE;
        loop {
            let digit = match digits.next()? {
                byte @ b'a'..=b'z' => u32::from(byte - b'a'),
                byte @ b'0'..=b'9' => u32::from(byte - b'0') + 26,
                _ => return None,
            };
            remaining -= 1;
            position = position.checked_add(digit.checked_mul(weight)?)?;
            let threshold = place
                .saturating_sub(bias)
                .clamp(SMALLEST_THRESHOLD, LARGEST_THRESHOLD);
            if digit < threshold {
                break;
            }
            weight = weight.checked_mul(BASE - threshold)?;
            place += BASE;
        }
        let length = u32::try_from(label.len()).ok()? + 1;
        bias = adapt(position - start, length, start == 0);
        code_point = code_point.checked_add(position / length)?;
        position %= length;
        label.insert(usize::try_from(position).ok()?, char::from_u32(code_point)?);
        position += 1;
    }
    Some(label)
}

fn adapt(delta: u32, length: u32, first: bool) -> u32 {
    let mut delta = if first { delta / DAMP } else { delta / 2 };
    delta += delta / length;
    let mut bias = 0;
    while delta > ((BASE - SMALLEST_THRESHOLD) * LARGEST_THRESHOLD) / 2 {
        delta /= BASE - SMALLEST_THRESHOLD;
        bias += BASE;
    }
    bias + (BASE - SMALLEST_THRESHOLD + 1) * delta / (delta + SKEW)
}
