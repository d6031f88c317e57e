//! Walking along the chain, one line after the other, and naming the first that does not belong.
//!
//! This is the one judge of what a valid log is: opening a log after a crash and verifying one offline differ only in where
//! they begin and in what they do with the answer.

use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::entry::{BodyKind, Entry, Hash};
use super::head::Head;
use super::signing::{AuditPublicKey, checkpoint_message};

/// A log has a checkpoint at its beginning and then at least after so many entries. Whoever has no key can therefore not
/// replace more than that without it being seen in the log alone.
pub(super) const CHECKPOINT_DISTANCE: u64 = 4096;

/// The body of a checkpoint.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkpoint {
    time: String,
    key: String,
    signature: String,
}

/// The bytes of a checkpoint's body.
pub(super) fn checkpoint_body(time: &str, key: &AuditPublicKey, signature: &str) -> String {
    format!("{{\"time\":\"{time}\",\"key\":\"{key}\",\"signature\":\"{signature}\"}}")
}

/// The first thing in a log that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("record {seq} ({segment} line {line}): {what}")]
pub struct FirstBad {
    /// The number of the first record that is changed, missing, or not where it belongs.
    pub seq: u64,
    /// The file in which that shows.
    pub segment: String,
    /// The line in that file, from 1; 0 where a whole file is at fault.
    pub line: u64,
    /// What is wrong with it.
    pub what: String,
}

/// Where something stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    pub(super) segment: String,
    pub(super) line: u64,
}

impl Place {
    pub(super) fn bad(&self, seq: u64, what: impl fmt::Display) -> FirstBad {
        FirstBad {
            seq,
            segment: self.segment.clone(),
            line: self.line,
            what: what.to_string(),
        }
    }
}

/// The state of a walk: everything up to `seq` is good.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    node: &'a str,
    key: &'a AuditPublicKey,
    head: Option<&'a Head>,
    /// Where the log ended when somebody else was shown it.
    seen: Option<&'a Head>,
    pub(super) seq: u64,
    pub(super) hash: Hash,
    /// Where entry `seq` stands.
    place: Place,
    /// Entries since the last checkpoint.
    pub(super) unsigned: u64,
    /// The last checkpoint.
    checkpoint: u64,
    pub(super) checkpoints: u64,
    pub(super) records: u64,
}

impl<'a> Walk<'a> {
    /// A walk from the beginning of a log.
    pub(super) fn new(node: &'a str, key: &'a AuditPublicKey, head: Option<&'a Head>) -> Self {
        Self {
            node,
            key,
            head,
            seen: None,
            seq: 0,
            hash: Hash::NONE,
            place: Place::default(),
            unsigned: 0,
            checkpoint: 0,
            checkpoints: 0,
            records: 0,
        }
    }

    /// A walk that must also pass where the log ended when somebody else was shown it.
    pub(super) fn past(mut self, seen: Option<&'a Head>) -> Self {
        self.seen = seen;
        self
    }

    /// A walk that takes everything up to an entry for granted; a checkpoint, since segments end with one.
    pub(super) fn from(mut self, seq: u64, hash: Hash) -> Self {
        self.seq = seq;
        self.hash = hash;
        self.checkpoint = seq;
        self
    }

    /// Judges the next line.
    pub(super) fn step(&mut self, line: &[u8], place: &Place) -> Result<(), FirstBad> {
        let expected = self.seq + 1;
        let Some(entry) = Entry::parse(line) else {
            return Err(place.bad(expected, "the line is not one that an audit log writes"));
        };
        self.check_number(&entry, place)?;
        if entry.hash != entry.computed_hash(self.node) {
            return Err(place.bad(
                expected,
                format!(
                    "its content does not fit its hash, so it was changed, or is not of the log of {}",
                    self.node
                ),
            ));
        }
        if entry.previous != self.hash {
            return Err(self.broken_link(place));
        }
        match entry.kind {
            BodyKind::Record => self.check_record(&entry, place)?,
            BodyKind::Checkpoint => self.check_checkpoint(&entry, place)?,
        }
        if let Some(head) = self.head
            && head.seq == entry.seq
            && head.hash != entry.hash
        {
            return Err(place.bad(
                expected,
                "it is another one than the head names: the end of the log was replaced",
            ));
        }
        if let Some(seen) = self.seen
            && seen.seq == entry.seq
            && seen.hash != entry.hash
        {
            return Err(place.bad(
                expected,
                "it is another one than the runtime's state was shown: the log was written anew",
            ));
        }
        self.seq = entry.seq;
        self.hash = entry.hash;
        self.place.clone_from(place);
        Ok(())
    }

    fn check_number(&self, entry: &Entry<'_>, place: &Place) -> Result<(), FirstBad> {
        let expected = self.seq + 1;
        if entry.seq > expected {
            return Err(place.bad(
                expected,
                format!("it is missing; {} stands in its place", entry.seq),
            ));
        }
        if entry.seq == expected {
            return Ok(());
        }
        // An entry that is whole stands in the wrong place; one that is not is the right one with another number.
        if entry.hash == entry.computed_hash(self.node) {
            return Err(place.bad(
                entry.seq,
                format!("it stands where {expected} belongs: it was moved or inserted"),
            ));
        }
        Err(place.bad(expected, "its number was changed"))
    }

    /// The entry at hand is whole, but was not chained to the one before. Whoever changes an entry can give it a fitting hash, and
    /// then it is the next one that shows it; so the one before is the bad one, except at the very beginning.
    fn broken_link(&self, place: &Place) -> FirstBad {
        if self.place.segment.is_empty() {
            return place.bad(
                self.seq + 1,
                "it was chained to another record than the one before it",
            );
        }
        self.place.bad(
            self.seq,
            format!(
                "record {} was chained to another one: this one was changed and its hash computed anew",
                self.seq + 1
            ),
        )
    }

    fn check_record(&mut self, entry: &Entry<'_>, place: &Place) -> Result<(), FirstBad> {
        if self.unsigned >= CHECKPOINT_DISTANCE || entry.seq == 1 {
            return Err(place.bad(
                entry.seq,
                format!(
                    "there should be a checkpoint before it: everything after {} may have been replaced",
                    self.checkpoint
                ),
            ));
        }
        let is_object = entry.body.first() == Some(&b'{');
        if !is_object || serde_json::from_slice::<IgnoredAny>(entry.body).is_err() {
            return Err(place.bad(entry.seq, "it is not a JSON object"));
        }
        self.records += 1;
        self.unsigned += 1;
        Ok(())
    }

    fn check_checkpoint(&mut self, entry: &Entry<'_>, place: &Place) -> Result<(), FirstBad> {
        let Ok(checkpoint) = serde_json::from_slice::<Checkpoint>(entry.body) else {
            return Err(place.bad(entry.seq, "it is not a checkpoint as the log writes them"));
        };
        let key = self.key.to_string();
        if checkpoint.key != key {
            return Err(place.bad(
                entry.seq,
                format!("the checkpoint was signed with another key than {key}"),
            ));
        }
        let message = checkpoint_message(self.node, entry.seq, &entry.previous, &checkpoint.time);
        if !self.key.verifies(&message, &checkpoint.signature) {
            return Err(place.bad(
                entry.seq,
                format!(
                    "the checkpoint's signature does not fit: something after {} was changed and all hashes computed anew",
                    self.checkpoint
                ),
            ));
        }
        self.checkpoint = entry.seq;
        self.checkpoints += 1;
        self.unsigned = 0;
        Ok(())
    }

    /// Judges the end: a log may go on after its head, but not end before it.
    pub(super) fn end(&self, place: &Place) -> Result<(), FirstBad> {
        if let Some(seen) = self.seen
            && seen.seq > self.seq
        {
            return Err(place.bad(
                self.seq + 1,
                format!(
                    "it is missing: the log ends with {}, but the runtime's state was shown {}, so its end was cut off",
                    self.seq, seen.seq
                ),
            ));
        }
        match self.head {
            Some(head) if head.seq > self.seq => Err(place.bad(
                self.seq + 1,
                format!(
                    "it is missing: the log ends with {}, but its head says that it went on to {}, so its end was cut off",
                    self.seq, head.seq
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Judges a segment's name before its first line.
    pub(super) fn enter(&self, node: &str, first: u64, place: &Place) -> Result<(), FirstBad> {
        if node != self.node {
            return Err(place.bad(
                self.seq + 1,
                format!(
                    "the file belongs to the log of {node}, not of {}",
                    self.node
                ),
            ));
        }
        let expected = self.seq + 1;
        if first > expected {
            return Err(place.bad(
                expected,
                format!("it is missing, and all others before {first}: a file was removed"),
            ));
        }
        if first < expected {
            return Err(place.bad(
                first,
                format!("the file begins where {expected} belongs: it was renamed or added"),
            ));
        }
        Ok(())
    }
}
