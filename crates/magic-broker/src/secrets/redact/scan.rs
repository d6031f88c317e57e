//! Finding where in a text the secrets lie, in every notation.
//!
//! Each reader of a notation feeds *probes*: one that takes bytes as they are, four that take them
//! as base64 (a run of base64 characters can begin at any of four offsets of a longer encoding),
//! two that take them as hexadecimal. All of them read the text once and remember nothing of it
//! but where the last bytes came from.

use super::matcher::{Matcher, ROOT, State};
use super::notation::{self, Sink};

/// A range of the text that holds a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) owner: usize,
}

/// The ranges of all secrets, in order, none overlapping another.
pub(super) fn find(matcher: &Matcher, text: &[u8]) -> Vec<Span> {
    let mut found = Vec::new();
    {
        let mut all = Probes::all(matcher, &mut found);
        notation::plain(text, &mut all);
    }
    // A notation without its own sign in the text reads it as the plain one does.
    if text.contains(&b'%') {
        let mut probes = Probes::without_hexadecimal(matcher, &mut found);
        notation::percent(text, false, &mut probes);
    }
    if text.contains(&b'+') {
        let mut probes = Probes::bytes_alone(matcher, &mut found);
        notation::percent(text, true, &mut probes);
    }
    if text.contains(&b'\\') {
        let mut probes = Probes::without_hexadecimal(matcher, &mut found);
        notation::backslash(text, &mut probes);
    }
    merged(found)
}

/// Joins the ranges of all passes where they overlap.
fn merged(mut found: Vec<Span>) -> Vec<Span> {
    found.sort_unstable_by_key(|span| (span.start, span.end));
    let mut spans = Vec::new();
    for span in found {
        record(&mut spans, span);
    }
    spans
}

/// Adds a range, or widens the last one if they overlap. So a text that is nothing but overlapping
/// secrets has one range and not one per byte. The name is that of the wider range, if one lies
/// within the other.
fn record(found: &mut Vec<Span>, span: Span) {
    match found.last_mut() {
        Some(last) if span.start < last.end && last.start < span.end => {
            if span.start <= last.start && span.end >= last.end {
                last.owner = span.owner;
            }
            last.start = last.start.min(span.start);
            last.end = last.end.max(span.end);
        }
        _ => found.push(span),
    }
}

/// The probes of one pass.
struct Probes<'a> {
    bytes: Probe<'a>,
    base64: Vec<Base64<'a>>,
    hexadecimal: Vec<Hexadecimal<'a>>,
    found: &'a mut Vec<Span>,
}

impl<'a> Probes<'a> {
    fn bytes_alone(matcher: &'a Matcher, found: &'a mut Vec<Span>) -> Self {
        Self {
            bytes: Probe::new(matcher),
            base64: Vec::new(),
            hexadecimal: Vec::new(),
            found,
        }
    }

    fn without_hexadecimal(matcher: &'a Matcher, found: &'a mut Vec<Span>) -> Self {
        Self {
            base64: (0..4).map(|offset| Base64::new(matcher, offset)).collect(),
            ..Self::bytes_alone(matcher, found)
        }
    }

    fn all(matcher: &'a Matcher, found: &'a mut Vec<Span>) -> Self {
        Self {
            hexadecimal: (0..2)
                .map(|offset| Hexadecimal::new(matcher, offset))
                .collect(),
            ..Self::without_hexadecimal(matcher, found)
        }
    }
}

impl Sink for Probes<'_> {
    fn take(&mut self, byte: u8, start: usize, end: usize) {
        self.bytes.take(byte, start, end, self.found);
        if !self.base64.is_empty() {
            match notation::base64_digit(byte) {
                Some(digit) => {
                    for probe in &mut self.base64 {
                        probe.take(digit, start, end, self.found);
                    }
                }
                // Long base64 is broken into lines.
                None if byte == b'\n' || byte == b'\r' => {}
                None => self.base64.iter_mut().for_each(Base64::end),
            }
        }
        if !self.hexadecimal.is_empty() {
            match notation::digit(byte) {
                Some(digit) => {
                    for probe in &mut self.hexadecimal {
                        probe.take(digit, start, end, self.found);
                    }
                }
                None => self.hexadecimal.iter_mut().for_each(Hexadecimal::end),
            }
        }
    }
}

/// Follows one sequence of bytes through the automaton.
struct Probe<'a> {
    matcher: &'a Matcher,
    state: State,
    /// Where the last bytes came from, as many as the longest pattern has; a ring.
    starts: Vec<usize>,
    next: usize,
}

impl<'a> Probe<'a> {
    fn new(matcher: &'a Matcher) -> Self {
        Self {
            matcher,
            state: ROOT,
            starts: vec![0; matcher.longest().max(1)],
            next: 0,
        }
    }

    fn take(&mut self, byte: u8, start: usize, end: usize, found: &mut Vec<Span>) {
        self.starts[self.next] = start;
        self.next += 1;
        if self.next == self.starts.len() {
            self.next = 0;
        }
        self.state = self.matcher.step(self.state, byte);
        if let Some((length, owner)) = self.matcher.found(self.state) {
            let first = (self.next + self.starts.len() - length) % self.starts.len();
            let start = self.starts[first];
            record(found, Span { start, end, owner });
        }
    }

    /// What follows does not belong to what was.
    fn end(&mut self) {
        self.state = ROOT;
    }
}

/// Reads a run of base64 digits, the first `offset` of which belong to what came before.
struct Base64<'a> {
    probe: Probe<'a>,
    offset: u8,
    skip: u8,
    bits: u16,
    count: u8,
    /// Where the digit before came from: every byte begins in it.
    before: usize,
}

impl<'a> Base64<'a> {
    fn new(matcher: &'a Matcher, offset: u8) -> Self {
        Self {
            probe: Probe::new(matcher),
            offset,
            skip: offset,
            bits: 0,
            count: 0,
            before: 0,
        }
    }

    fn take(&mut self, digit: u8, start: usize, end: usize, found: &mut Vec<Span>) {
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        self.bits = (self.bits << 6 | u16::from(digit)) & 0x3fff;
        self.count += 6;
        if self.count >= 8 {
            self.count -= 8;
            let [_, byte] = (self.bits >> self.count).to_be_bytes();
            self.probe.take(byte, self.before, end, found);
        }
        self.before = start;
    }

    fn end(&mut self) {
        self.probe.end();
        self.skip = self.offset;
        self.bits = 0;
        self.count = 0;
    }
}

/// Reads a run of hexadecimal digits in pairs, beginning at its first or second.
struct Hexadecimal<'a> {
    probe: Probe<'a>,
    offset: u8,
    skip: u8,
    /// The first digit of a pair and where it came from.
    half: Option<(u8, usize)>,
}

impl<'a> Hexadecimal<'a> {
    fn new(matcher: &'a Matcher, offset: u8) -> Self {
        Self {
            probe: Probe::new(matcher),
            offset,
            skip: offset,
            half: None,
        }
    }

    fn take(&mut self, digit: u8, start: usize, end: usize, found: &mut Vec<Span>) {
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        match self.half.take() {
            None => self.half = Some((digit, start)),
            Some((high, begun)) => self.probe.take(high << 4 | digit, begun, end, found),
        }
    }

    fn end(&mut self) {
        self.probe.end();
        self.skip = self.offset;
        self.half = None;
    }
}
