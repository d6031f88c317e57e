//! Lines of a file, forwards and backwards, within bounds.
//!
//! Somebody may have put anything into the file, so a line has a largest size, and neither reader ever holds more than a line
//! and a block.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;

/// The longest line that the log writes is well below this, in bytes.
pub(super) const LINE_BYTES: usize = 256 * 1024;

/// How much is read at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A line, without its line break.
    Line(&'a [u8]),
    /// A line that is longer than lines are.
    TooLong,
    /// The rest of the file has no line break: so many bytes.
    Unterminated(u64),
    /// Nothing.
    End,
}

/// Reads lines from the front.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    /// The number of the line that was read last, from 1.
    pub(super) number: u64,
    /// Where the line after it begins.
    pub(super) offset: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader: BufReader::with_capacity(BLOCK_BYTES, reader),
            line: Vec::new(),
            number: 0,
            offset: 0,
        }
    }

    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        self.line.clear();
        let limit = LINE_BYTES as u64;
        let read = (&mut self.reader)
            .take(limit)
            .read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(Next::End);
        }
        self.number += 1;
        if self.line.last() == Some(&b'\n') {
            self.offset += read as u64;
            return Ok(Next::Line(&self.line[..read - 1]));
        }
        // Either the file ends here, or the line goes on; then it matters whether it ends at all.
        let mut bytes = read as u64;
        loop {
            let block = self.reader.fill_buf()?;
            if block.is_empty() {
                return Ok(Next::Unterminated(bytes));
            }
            if block.contains(&b'\n') {
                return Ok(Next::TooLong);
            }
            let length = block.len();
            bytes += length as u64;
            self.reader.consume(length);
        }
    }
}

/// Reads lines from the back. What follows the last line break is left out.
#[derive(Debug)]
pub(super) struct ReverseLines {
    file: File,
    /// Where `pending` begins in the file.
    position: u64,
    /// Lines that are not handed out yet, the last one complete with its line break; empty at first.
    pending: Vec<u8>,
    /// Whether the last line break was found.
    started: bool,
    line: Vec<u8>,
}

impl ReverseLines {
    /// Reads from the end of the file on.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let position = file.metadata()?.len();
        Ok(Self::ending_at(file, position))
    }

    /// Reads from a place in the file on.
    fn ending_at(file: File, position: u64) -> Self {
        Self {
            file,
            position,
            pending: Vec::new(),
            started: false,
            line: Vec::new(),
        }
    }

    /// Reads from a line on that `is_after` says is too far, without reading what comes after it. The question must be answered
    /// with no up to some line and with yes from there on; where it is not, or a line has no answer, the reader begins too far
    /// back but never too far in front.
    pub(super) fn before(file: File, is_after: impl Fn(&[u8]) -> Option<bool>) -> io::Result<Self> {
        let mut low = 0;
        // The line that begins here is too far, or there is none.
        let mut high = file.metadata()?.len();
        while high - low > BLOCK_BYTES as u64 {
            let middle = low + (high - low) / 2;
            let Some((begin, line)) = line_after(&file, middle)? else {
                break;
            };
            match is_after(&line) {
                Some(true) if begin < high => high = begin,
                Some(false) => low = begin,
                _ => break,
            }
        }
        Ok(Self::ending_at(file, high))
    }

    /// The line before; never [`Next::Unterminated`].
    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        while !self.started {
            if !self.read_block()? {
                return Ok(Next::End);
            }
            let end = self.pending.iter().rposition(|byte| *byte == b'\n');
            self.pending.truncate(end.map_or(0, |end| end + 1));
            self.started = end.is_some();
        }
        loop {
            let Some(last) = self.pending.len().checked_sub(1) else {
                if self.read_block()? {
                    continue;
                }
                return Ok(Next::End);
            };
            let begin = match self.pending[..last].iter().rposition(|byte| *byte == b'\n') {
                Some(before) => before + 1,
                None if last >= LINE_BYTES => return Ok(Next::TooLong),
                None if self.read_block()? => continue,
                None => 0,
            };
            self.line.clear();
            self.line.extend_from_slice(&self.pending[begin..last]);
            self.pending.truncate(begin);
            return Ok(Next::Line(&self.line));
        }
    }

    /// Puts the block before in front of what is pending; false at the beginning of the file.
    fn read_block(&mut self) -> io::Result<bool> {
        let length = self.position.min(BLOCK_BYTES as u64);
        let Some(size) = usize::try_from(length).ok().filter(|size| *size > 0) else {
            return Ok(false);
        };
        let mut block = vec![0; size];
        self.file
            .read_exact_at(&mut block, self.position - length)?;
        self.position -= length;
        block.append(&mut self.pending);
        self.pending = block;
        Ok(true)
    }
}

/// The first whole line that begins after an offset, and where. `None` if there is none or it is too long.
fn line_after(file: &File, offset: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut bytes = vec![0; 2 * LINE_BYTES];
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], offset + length as u64)? {
            0 => break,
            read => length += read,
        }
    }
    bytes.truncate(length);
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let (Some(rest), Some(line), Some(_)) = (lines.next(), lines.next(), lines.next()) else {
        return Ok(None);
    };
    Ok(Some((offset + rest.len() as u64 + 1, line.to_vec())))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn forwards(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Lines::new(bytes);
        let mut found = Vec::new();
        while let Next::Line(line) = lines.next().expect("memory can be read") {
            found.push(line.to_vec());
        }
        found
    }

    fn backwards(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        let mut lines = ReverseLines::new(file).expect("its length");
        let mut found = Vec::new();
        while let Next::Line(line) = lines.next().expect("a file can be read") {
            found.push(line.to_vec());
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Both directions find the same lines, whatever their lengths are.
        #[test]
        fn backwards_is_forwards_reversed(lengths in prop::collection::vec(0..100_000_usize, 0..8), tail in 0..100_000_usize) {
            let mut bytes = Vec::new();
            for (index, length) in lengths.iter().enumerate() {
                bytes.extend(std::iter::repeat_n(b'a' + u8::try_from(index).unwrap_or(0), *length));
                bytes.push(b'\n');
            }
            bytes.extend(std::iter::repeat_n(b'z', tail));
            let mut found = backwards(&bytes);
            found.reverse();
            prop_assert_eq!(&found, &forwards(&bytes));
            prop_assert_eq!(found.len(), lengths.len());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Beginning before a line finds every line before it, and leaves out most of what comes after.
        #[test]
        fn beginning_in_the_middle(lines in 1..3000_usize, before in 0..3000_usize, width in 1..300_usize) {
            let number = |line: &[u8]| std::str::from_utf8(line).ok()?.trim_start_matches('x').parse::<usize>().ok();
            let mut file = tempfile::tempfile().expect("a file");
            for line in 0..lines {
                writeln!(file, "{}{line}", "x".repeat(width)).expect("written");
            }
            let mut reader = ReverseLines::before(file, |line| Some(number(line)? >= before)).expect("a file");
            let mut found = Vec::new();
            while let Next::Line(line) = reader.next().expect("a file can be read") {
                found.push(number(line).expect("a number"));
            }
            let first = found[0];
            prop_assert!(first + 1 >= before.min(lines), "{} of {}", first, before);
            prop_assert!(first < before + 2 + 2 * BLOCK_BYTES / width);
            prop_assert_eq!(found, (0..=first).rev().collect::<Vec<_>>());
        }
    }

    /// Where a line that is too long ends, and whether it does.
    #[test]
    fn lines_have_a_largest_size() {
        let long = vec![b'x'; 3 * LINE_BYTES];
        assert_eq!(
            Lines::new(long.as_slice()).next().expect("memory"),
            Next::Unterminated(long.len() as u64)
        );
        let ended = [long.as_slice(), b"\n"].concat();
        assert_eq!(
            Lines::new(ended.as_slice()).next().expect("memory"),
            Next::TooLong
        );
        assert!(backwards(&ended).is_empty());
        assert!(backwards(&long).is_empty());
    }
}
