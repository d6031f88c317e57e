//! Reading a log: which records, in which order, and how much of the log to read at most.
//!
//! Reading is not verifying. It takes each line for what it says, checks nothing but its layout, and works beside a running
//! writer. Nothing is indexed: what is asked for is nearly always recent or a whole export, and both are a scan. Whoever answers
//! strangers bounds the scan and goes on from where it stopped.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::entry::{BodyKind, Entry};
use super::lines::{Lines, Next, ReverseLines};
use super::record::{Decision, Kind};
use super::segment::{Segment, open_to_read, segments};

/// Which records. What is not given does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this controller.
    pub controller: Option<String>,
    /// Of this request.
    pub request_id: Option<String>,
    /// About this capability.
    pub capability: Option<String>,
    /// With this decision.
    pub decision: Option<Decision>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Not older than this.
    pub since: Option<Timestamp>,
    /// Older than this.
    pub until: Option<Timestamp>,
    /// With a number below this.
    pub before: Option<u64>,
    /// With a number above this.
    pub after: Option<u64>,
}

/// Which end of the log to begin at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditOrder {
    /// The first record first.
    OldestFirst,
    /// The last record first.
    NewestFirst,
}

/// One record as it stands in the log. As JSON: its number, its members, its hash.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRecord {
    /// Its number.
    pub seq: u64,
    /// Its members, in the order in which they were written; also those that this version does not know.
    pub members: Map<String, Value>,
    /// Its hash, in hexadecimal digits.
    pub hash: String,
}

impl Serialize for StoredRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len() + 2))?;
        map.serialize_entry("seq", &self.seq)?;
        for (name, value) in &self.members {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("hash", &self.hash)?;
        map.end()
    }
}

/// Why reading ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditReadError {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A line is not one of an audit log.
    #[error(
        "{segment} has a line that is not one of an audit log; type magic audit verify to see which"
    )]
    Line {
        /// In which file.
        segment: String,
    },
}

/// The members that a filter looks at. Reading only these is several times faster than reading all.
#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    controller: Option<Cow<'a, str>>,
    #[serde(borrow)]
    capability: Option<Cow<'a, str>>,
    #[serde(borrow)]
    decision: Option<Cow<'a, str>>,
}

impl AuditFilter {
    fn takes_number(&self, seq: u64) -> bool {
        self.before.is_none_or(|before| seq < before) && self.after.is_none_or(|after| seq > after)
    }

    /// Whether it takes this record; `None` if it is none.
    fn takes(&self, body: &[u8]) -> Option<bool> {
        let seen: Seen<'_> = serde_json::from_slice(body).ok()?;
        let text = |wanted: &Option<String>, found: &Option<Cow<'_, str>>| {
            wanted
                .as_deref()
                .is_none_or(|wanted| found.as_deref() == Some(wanted))
        };
        let taken = text(&self.controller, &seen.controller)
            && text(&self.request_id, &seen.request_id)
            && text(&self.capability, &seen.capability)
            && self
                .decision
                .is_none_or(|wanted| seen.decision.as_deref() == Some(wanted.as_str()))
            && self.kind.is_none_or(|wanted| seen.kind == wanted.as_str());
        if !taken || (self.since.is_none() && self.until.is_none()) {
            return Some(taken);
        }
        let time: Timestamp = seen.time.parse().ok()?;
        Some(
            self.since.is_none_or(|since| time >= since)
                && self.until.is_none_or(|until| time < until),
        )
    }
}

/// The records of a log, one after the other. An iterator that ends after its first error.
#[derive(Debug)]
pub struct AuditReader {
    filter: AuditFilter,
    order: AuditOrder,
    /// What is still to be read, the next one last.
    segments: Vec<Segment>,
    open: Option<(Segment, Direction)>,
    /// Bytes that may still be read.
    budget: u64,
    /// The number of the entry that was read last.
    last: Option<u64>,
    stopped: bool,
}

#[derive(Debug)]
enum Direction {
    Forwards(Lines<std::fs::File>),
    Backwards(ReverseLines),
}

impl AuditReader {
    /// Begins to read the log in a folder. A folder that is not there holds no records.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn open(
        directory: &Path,
        filter: AuditFilter,
        order: AuditOrder,
    ) -> Result<Self, AuditReadError> {
        let mut segments = segments(directory).map_err(|source| AuditReadError::Read {
            path: directory.to_owned(),
            source,
        })?;
        // Names say which numbers a file holds: from its own to the next one's.
        if let Some(before) = filter.before {
            segments.retain(|segment| segment.first < before);
        }
        if let Some(after) = filter.after {
            let first = segments
                .iter()
                .rposition(|segment| segment.first <= after)
                .unwrap_or(0);
            segments.drain(..first);
        }
        if order == AuditOrder::OldestFirst {
            segments.reverse();
        }
        Ok(Self {
            filter,
            order,
            segments,
            open: None,
            budget: u64::MAX,
            last: None,
            stopped: false,
        })
    }

    /// Ends after so many bytes of entries whose numbers the filter takes; [`Self::stopped_at`] tells where.
    #[must_use]
    pub fn reading_at_most(mut self, bytes: u64) -> Self {
        self.budget = bytes;
        self
    }

    /// If the reader ended because it had read as much as it may: the number of the last entry that it looked at.
    #[must_use]
    pub fn stopped_at(&self) -> Option<u64> {
        self.last.filter(|_| self.stopped)
    }

    fn step(&mut self) -> Result<Option<StoredRecord>, AuditReadError> {
        loop {
            if self.budget == 0 {
                self.stopped = true;
                return Ok(None);
            }
            let Some((segment, direction)) = &mut self.open else {
                let Some(segment) = self.segments.pop() else {
                    return Ok(None);
                };
                let direction = open_segment(&segment, self.order, self.filter.before)?;
                self.open = Some((segment, direction));
                continue;
            };
            let next = match direction {
                Direction::Forwards(lines) => lines.next(),
                Direction::Backwards(lines) => lines.next(),
            };
            let next = next.map_err(|source| AuditReadError::Read {
                path: segment.path.clone(),
                source,
            })?;
            let bad = || AuditReadError::Line {
                segment: segment.name(),
            };
            let line = match next {
                Next::Line(line) => line,
                Next::TooLong => return Err(bad()),
                // A line without an end is being written right now.
                Next::Unterminated(_) | Next::End => {
                    self.open = None;
                    continue;
                }
            };
            let entry = Entry::parse(line).ok_or_else(bad)?;
            // Only what is looked at counts, so that whoever goes on from where another reader stopped gets further.
            if !self.filter.takes_number(entry.seq) {
                continue;
            }
            self.budget = self.budget.saturating_sub(line.len() as u64 + 1);
            self.last = Some(entry.seq);
            if entry.kind == BodyKind::Record && self.filter.takes(entry.body).ok_or_else(bad)? {
                return Ok(Some(StoredRecord {
                    seq: entry.seq,
                    members: serde_json::from_slice(entry.body).map_err(|_| bad())?,
                    hash: entry.hash.to_string(),
                }));
            }
        }
    }
}

fn open_segment(
    segment: &Segment,
    order: AuditOrder,
    before: Option<u64>,
) -> Result<Direction, AuditReadError> {
    let open = || {
        let file = open_to_read(&segment.path)?;
        Ok(match (order, before) {
            (AuditOrder::OldestFirst, _) => Direction::Forwards(Lines::new(file)),
            (AuditOrder::NewestFirst, None) => Direction::Backwards(ReverseLines::new(file)?),
            // Numbers rise along the file, so the place can be found without reading what comes after it.
            (AuditOrder::NewestFirst, Some(before)) => {
                Direction::Backwards(ReverseLines::before(file, |line| {
                    Entry::parse(line).map(|entry| entry.seq >= before)
                })?)
            }
        })
    };
    open().map_err(|source| AuditReadError::Read {
        path: segment.path.clone(),
        source,
    })
}

impl Iterator for AuditReader {
    type Item = Result<StoredRecord, AuditReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.step().transpose();
        if matches!(result, Some(Err(_))) {
            self.segments.clear();
            self.open = None;
        }
        result
    }
}
