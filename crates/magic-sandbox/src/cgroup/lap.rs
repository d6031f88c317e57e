//! What one program used of a group that many use in turn.
//!
//! Processor time is a difference between two readings. A peak has no difference: version 1 can
//! begin to count it anew by a write; version 2 does so since Linux 6.12, for the readers of the
//! descriptor that was written to, and so the meter keeps its descriptor. Where the kernel can do
//! neither, a peak is told only if it is higher than any before, since only then is it this program's.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::files;
use super::hierarchy::{CpuFile, Hierarchy};

/// What was used between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lap {
    /// Processor time in microseconds; `None` where the kernel does not count it.
    pub cpu_micros: Option<u64>,
    /// The highest memory use in bytes; `None` where the kernel does not tell.
    pub memory_peak_bytes: Option<u64>,
}

/// The open files of a group's counters, and what they said last.
#[derive(Debug, Default)]
pub(super) struct Meter {
    cpu: Option<Cpu>,
    peak: Option<Peak>,
}

#[derive(Debug)]
struct Cpu {
    file: OwnedFd,
    keyed: bool,
    last_micros: u64,
}

#[derive(Debug)]
struct Peak {
    file: OwnedFd,
    last_bytes: u64,
}

impl Meter {
    /// The meter of a group that was made just now. Counters that are missing are no failure: nothing
    /// rests on them.
    pub(super) fn of(hierarchy: &dyn Hierarchy, name: &Path) -> Self {
        let cpu = hierarchy.cpu_file(name).and_then(|file| {
            let (path, keyed) = match file {
                CpuFile::Nanoseconds(path) => (path, false),
                CpuFile::Keyed(path) => (path, true),
            };
            let file = files::open_reader(path).ok()?;
            Some(Cpu {
                file,
                keyed,
                last_micros: 0,
            })
        });
        let peak = hierarchy.peak_file(name).and_then(|path| {
            let file = open_to_reset(&path)?;
            Some(Peak {
                file,
                last_bytes: 0,
            })
        });
        Self { cpu, peak }
    }

    pub(super) fn lap(&mut self, name: &Path) -> Lap {
        Lap {
            cpu_micros: self.cpu.as_mut().and_then(|cpu| cpu.lap(name)),
            memory_peak_bytes: self.peak.as_mut().and_then(|peak| peak.lap(name)),
        }
    }
}

impl Cpu {
    fn lap(&mut self, name: &Path) -> Option<u64> {
        let content = files::reread(&self.file, name).ok()?;
        let micros = if self.keyed {
            files::keyed(&content, "usage_usec")
        } else {
            content.trim().parse::<u64>().ok()? / 1_000
        };
        let used = micros.checked_sub(self.last_micros)?;
        self.last_micros = micros;
        Some(used)
    }
}

impl Peak {
    fn lap(&mut self, name: &Path) -> Option<u64> {
        let content = files::reread(&self.file, name).ok()?;
        let bytes: u64 = content.trim().parse().ok()?;
        if rustix::io::pwrite(&self.file, b"0", 0).is_ok() {
            self.last_bytes = 0;
            return Some(bytes);
        }
        let risen = bytes > self.last_bytes;
        self.last_bytes = self.last_bytes.max(bytes);
        risen.then_some(bytes)
    }
}

/// Opened to be written to as well, where that is allowed.
fn open_to_reset(path: &Path) -> Option<OwnedFd> {
    let both = File::options().read(true).write(true).open(path);
    both.map(OwnedFd::from)
        .ok()
        .or_else(|| files::open_reader(path.to_path_buf()).ok())
}
