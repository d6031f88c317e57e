//! A disk that can fail and lose power, and what is left of a log then.
//!
//! The disk lies on real files and keeps book of what was synced. When it dies, the operation at hand is done in part or not at
//! all and every later one fails. When its power is lost, everything that was not synced is taken back: files are cut anywhere
//! between their synced and their written length, or hold zeros there; names that were not synced are gone; a file that was
//! replaced is the old or the new one.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard};

use proptest::prelude::*;

use super::*;
use crate::audit::medium::{AppendFile, FileSystem, Medium};

/// The disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    files: HashMap<PathBuf, Lengths>,
    /// Files that were replaced, with what was there before.
    replaced: HashMap<PathBuf, Option<Vec<u8>>>,
    /// Operations until the disk dies; never if there is no number.
    left: Option<u64>,
    /// How much of the last write is done when it dies, in 256ths.
    part: u64,
    dead: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Lengths {
    synced: u64,
    written: u64,
    /// Whether the folder was synced since the file was made.
    named: bool,
}

#[derive(Debug)]
struct OneFile {
    disk: Disk,
    path: PathBuf,
    file: Box<dyn AppendFile>,
}

impl Disk {
    /// A disk that dies at its operation number `left`.
    fn dying(left: u64, part: u64) -> Self {
        Self(Arc::new(Mutex::new(Book {
            left: Some(left),
            part,
            ..Book::default()
        })))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().expect("no test panics with the book")
    }

    /// Counts an operation. False when it is the one at which the disk dies; an error afterwards.
    fn operate(&self) -> io::Result<bool> {
        let mut book = self.book();
        if book.dead {
            return Err(dead());
        }
        match &mut book.left {
            Some(0) => {
                book.dead = true;
                Ok(false)
            }
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None => Ok(true),
        }
    }

    /// Takes back what was not synced. `fate` says how much of it.
    fn lose_power(&self, fate: u64) {
        let book = self.book();
        for (index, (path, lengths)) in book.files.iter().enumerate() {
            let fate = fate.rotate_left(u32::try_from(index).unwrap_or(0) * 7);
            if !lengths.named && fate & 1 == 1 {
                std::fs::remove_file(path).expect("it was there");
                continue;
            }
            let unsynced = lengths.written - lengths.synced;
            let length = lengths.synced + (fate >> 2) % (unsynced + 1);
            let file = std::fs::OpenOptions::new()
                .write(true)
                .open(path)
                .expect("it was there");
            file.set_len(length).expect("cut");
            if fate & 2 == 2 {
                // The length was already on the disk, the bytes were not.
                file.set_len(lengths.written).expect("filled with zeros");
            }
        }
        for (index, (path, before)) in book.replaced.iter().enumerate() {
            if fate.rotate_right(u32::try_from(index).unwrap_or(0) + 3) & 1 == 1 {
                match before {
                    Some(before) => std::fs::write(path, before).expect("written"),
                    None => std::fs::remove_file(path).expect("it was there"),
                }
            }
        }
    }
}

fn dead() -> io::Error {
    rustix::io::Errno::IO.into()
}

impl Medium for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let alive = self.operate()?;
        let file = FileSystem.create(path)?;
        self.book()
            .files
            .insert(path.to_owned(), Lengths::default());
        if !alive {
            return Err(dead());
        }
        Ok(Box::new(OneFile {
            disk: self.clone(),
            path: path.to_owned(),
            file,
        }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let length = std::fs::metadata(path)?.len();
        self.book().files.entry(path.to_owned()).or_insert(Lengths {
            synced: length,
            written: length,
            named: true,
        });
        Ok(Box::new(OneFile {
            disk: self.clone(),
            path: path.to_owned(),
            file: FileSystem.open(path)?,
        }))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        if !self.operate()? {
            return Err(dead());
        }
        for (file, lengths) in &mut self.book().files {
            if file.parent() == Some(path) {
                lengths.named = true;
            }
        }
        Ok(())
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        if !self.operate()? {
            return Err(dead());
        }
        let before = std::fs::read(path).ok();
        FileSystem.replace(path, content)?;
        // The head of an empty log is made durable with its name, outside of this book.
        if before.is_some() {
            self.book().replaced.insert(path.to_owned(), before);
        }
        Ok(())
    }
}

impl AppendFile for OneFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let alive = self.disk.operate()?;
        let part = self.disk.book().part % 257;
        let length = if alive {
            bytes.len()
        } else {
            bytes.len() * usize::try_from(part).unwrap_or(0) / 256
        };
        self.file.append(&bytes[..length])?;
        if let Some(lengths) = self.disk.book().files.get_mut(&self.path) {
            lengths.written += length as u64;
        }
        if alive { Ok(()) } else { Err(dead()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        if !self.disk.operate()? {
            return Err(dead());
        }
        if let Some(lengths) = self.disk.book().files.get_mut(&self.path) {
            lengths.synced = lengths.written;
        }
        Ok(())
    }
}

/// One life of a log: opened, written until its disk dies or all is written. Returns numbers and request ids of what was
/// acknowledged.
fn live(options: &AuditOptions, disk: &Disk, life: usize, groups: &[usize]) -> Vec<(u64, String)> {
    let mut acknowledged = Vec::new();
    let Ok(log) = AuditLog::open_on(options, Arc::new(disk.clone())) else {
        return acknowledged;
    };
    block_on(async {
        let mut number = life * 1000;
        for size in groups {
            let records: Vec<_> = (0..*size)
                .map(|_| {
                    number += 1;
                    numbered(number).with_field("filling", "x".repeat(number * 37 % 500))
                })
                .collect();
            let tickets: Vec<_> = records.iter().map(|record| log.append(record)).collect();
            for (record, ticket) in records.iter().zip(tickets) {
                if let Ok(seq) = ticket.durable().await {
                    acknowledged.push((seq, record.request_id.clone().unwrap_or_default()));
                }
            }
        }
        // The power does not wait for an orderly end.
        disk.book().dead = true;
        let _ = log.close().await;
    });
    acknowledged
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// However often and wherever the power goes, every acknowledged record is there, the log opens again, and it verifies.
    #[test]
    fn acknowledged_records_survive(
        lives in prop::collection::vec((0..60_u64, any::<u64>(), any::<u64>(), prop::collection::vec(1..9_usize, 1..12)), 1..5)
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let options = options(folder.path());
        let mut acknowledged = Vec::new();
        for (life, (left, part, fate, groups)) in lives.iter().enumerate() {
            let disk = Disk::dying(*left, *part);
            acknowledged.extend(live(&options, &disk, life, groups));
            disk.lose_power(*fate);
        }
        let log = AuditLog::open(&options).map_err(|error| TestCaseError::fail(error.to_string()))?;
        block_on(log.close()).expect("it ends in order");
        verify(&options.places).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let kept: HashMap<_, _> = records(&options.places.directory)
            .into_iter()
            .map(|record| (record.seq, record.members))
            .collect();
        for (seq, request_id) in acknowledged {
            let found = kept.get(&seq).and_then(|members| members["request_id"].as_str());
            prop_assert_eq!(found, Some(request_id.as_str()), "record {}", seq);
        }
    }
}
