//! One line of the log, byte for byte.
//!
//! A line is an *entry*: its number, the hash of the entry before, a body, and the hash of all that. The layout is fixed, so
//! the reader is a handful of prefix comparisons and not a JSON parser: a line that a JSON reader would take for the same, with
//! a blank more or a member twice, is not the line that was written and is refused. The body is hashed as it stands, so no
//! canonical form of JSON is needed.
//!
//! What is hashed is framed by lengths and begins with a tag and the node's name, so that no entry can be taken for another
//! kind of entry, or for one of another node.

use std::fmt;

use sha2::{Digest, Sha256};

/// Says what is hashed, and in which version of the format.
const TAG: &[u8] = b"magic-audit-entry-v1";

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Hash([u8; 32]);

impl Hash {
    /// What the first entry of a log has in place of the hash of the entry before.
    pub(super) const NONE: Self = Self([0; 32]);

    /// The digest of some bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The bytes of the digest.
    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 digits in the one spelling that is written.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        if text.len() != 64 {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(hash))
    }

    fn write(&self, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for byte in self.0 {
            out.push(DIGITS[usize::from(byte >> 4)]);
            out.push(DIGITS[usize::from(byte & 15)]);
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// What the body of an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// A record.
    Record,
    /// A signature over everything before.
    Checkpoint,
}

impl BodyKind {
    const ALL: [Self; 2] = [Self::Record, Self::Checkpoint];

    /// The member that holds the body, with what stands around its name.
    const fn opening(self) -> &'static [u8] {
        match self {
            Self::Record => b"\",\"record\":",
            Self::Checkpoint => b"\",\"checkpoint\":",
        }
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Record => 1,
            Self::Checkpoint => 2,
        }
    }
}

/// One line, taken apart. Nothing of it is checked beyond its layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) seq: u64,
    pub(super) previous: Hash,
    pub(super) kind: BodyKind,
    pub(super) body: &'a [u8],
    pub(super) hash: Hash,
}

const SEQ: &[u8] = b"{\"seq\":";
const PREVIOUS: &[u8] = b",\"prev\":\"";
const HASH: &[u8] = b",\"hash\":\"";
const END: &[u8] = b"\"}";

impl<'a> Entry<'a> {
    /// Takes a line apart, given without its line break. `None` if it is not laid out as lines are.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_prefix(SEQ)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = rest.split_at(digits);
        // One spelling for each number.
        if digits.is_empty() || digits[0] == b'0' {
            return None;
        }
        let seq = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let (previous, rest) = rest.strip_prefix(PREVIOUS)?.split_at_checked(64)?;
        let previous = Hash::parse(previous)?;
        let (kind, rest) = BodyKind::ALL
            .into_iter()
            .find_map(|kind| Some((kind, rest.strip_prefix(kind.opening())?)))?;
        let rest = rest.strip_suffix(END)?;
        let (rest, hash) = rest.split_at_checked(rest.len().checked_sub(64)?)?;
        Some(Self {
            seq,
            previous,
            kind,
            body: rest.strip_suffix(HASH)?,
            hash: Hash::parse(hash)?,
        })
    }

    /// The hash that this entry must have in the log of `node`.
    pub(super) fn computed_hash(&self, node: &str) -> Hash {
        entry_hash(node, self.seq, &self.previous, self.kind, self.body)
    }
}

/// Appends the line of an entry, with its line break, and returns the entry's hash. The body is one line of JSON.
pub(super) fn write_entry(
    out: &mut Vec<u8>,
    node: &str,
    seq: u64,
    previous: &Hash,
    kind: BodyKind,
    body: &[u8],
) -> Hash {
    let hash = entry_hash(node, seq, previous, kind, body);
    out.extend_from_slice(SEQ);
    out.extend_from_slice(seq.to_string().as_bytes());
    out.extend_from_slice(PREVIOUS);
    previous.write(out);
    out.extend_from_slice(kind.opening());
    out.extend_from_slice(body);
    out.extend_from_slice(HASH);
    hash.write(out);
    out.extend_from_slice(END);
    out.push(b'\n');
    hash
}

fn entry_hash(node: &str, seq: u64, previous: &Hash, kind: BodyKind, body: &[u8]) -> Hash {
    let mut digest = Sha256::new();
    digest.update(TAG);
    digest.update([kind.byte()]);
    update_framed(&mut digest, node.as_bytes());
    digest.update(seq.to_be_bytes());
    digest.update(previous.0);
    update_framed(&mut digest, body);
    Hash(digest.finalize().into())
}

fn update_framed(digest: &mut Sha256, bytes: &[u8]) {
    digest.update((bytes.len() as u64).to_be_bytes());
    digest.update(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is written is read back, and its hash fits.
        #[test]
        fn written_entries_are_read(seq in 1..=u64::MAX, body in "\\{[^\n]{0,200}\\}", node in "[a-z]{1,8}") {
            let previous = Hash::of(b"before");
            let mut line = Vec::new();
            let hash = write_entry(&mut line, &node, seq, &previous, BodyKind::Record, body.as_bytes());
            prop_assert_eq!(line.pop(), Some(b'\n'));
            let entry = Entry::parse(&line).expect("a line");
            prop_assert_eq!((entry.seq, entry.previous, entry.hash), (seq, previous, hash));
            prop_assert_eq!(entry.body, body.as_bytes());
            prop_assert_eq!(entry.computed_hash(&node), hash);
        }

        /// No bytes make the reader panic, and what it takes it would have written itself.
        #[test]
        fn arbitrary_bytes_never_panic(mut line in any::<Vec<u8>>(), cut in any::<prop::sample::Index>()) {
            let _ = Entry::parse(&line);
            let mut real = Vec::new();
            write_entry(&mut real, "n", 7, &Hash::NONE, BodyKind::Checkpoint, b"{}");
            real.pop();
            let at = cut.index(real.len());
            real.truncate(at);
            real.append(&mut line);
            if let Some(entry) = Entry::parse(&real) {
                let mut again = Vec::new();
                write_entry(&mut again, "n", entry.seq, &entry.previous, entry.kind, entry.body);
                let fixed = again.len() - 1 - 64 - END.len();
                prop_assert_eq!(&again[..fixed], &real[..fixed]);
            }
        }
    }

    /// Node, kind and number are part of the hash.
    #[test]
    fn entries_cannot_be_taken_for_others() {
        let hash = |node, seq, kind| entry_hash(node, seq, &Hash::NONE, kind, b"{}");
        let one = hash("a", 1, BodyKind::Record);
        assert_ne!(one, hash("b", 1, BodyKind::Record));
        assert_ne!(one, hash("a", 2, BodyKind::Record));
        assert_ne!(one, hash("a", 1, BodyKind::Checkpoint));
    }
}
