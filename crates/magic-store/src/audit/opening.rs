//! Opening a log: after an orderly end, after a crash, or for the first time.
//!
//! Opening never mends. The one thing that it removes is a last line without an end, after the head: that is what a crash
//! leaves of a write that was not acknowledged, and it is kept under another name and told in a record. Everything else that
//! is not as it was written refuses to open, because going on would hide it behind a fresh signature.
//!
//! What is checked is the last file and, if the head lies before it, the ones from there on; so opening costs the same however
//! old the log is. The whole of it is for `magic audit verify`.
//!
//! The order in which a first start makes things says afterwards what is missing by accident: key, head of an empty log, first
//! file. So a log without a head, or a head without a log, was taken away by somebody.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustix::fs::{Advice, FlockOperation};

use super::chain::{FirstBad, Walk};
use super::entry::{Entry, Hash};
use super::head::{AuditHeadError, Head, HeadWriter};
use super::lines::{Next, ReverseLines};
use super::medium::{Medium, create_directory};
use super::queue::{Pending, Shared};
use super::record::{Kind, Record};
use super::segment::{Segment, is_node, open_to_read, segments};
use super::signing::{AuditKeyError, AuditPublicKey, AuditSigner};
use super::verify::{AuditVerifyError, walk_segments};
use super::writer::{Position, Writer, WriterLimits};
use super::{AuditOptions, AuditPlaces, Recovered};

/// Why a log cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditOpenError {
    /// The node's name cannot stand in file names.
    #[error("{0:?} cannot be the name of a node: use 1 to 64 of A-Z a-z 0-9 - _")]
    Node(String),
    /// The log is another node's.
    #[error(
        "the audit log in {} is the one of node {owner}, and this node is called {node}: call it {owner}, or give it a data folder of its own with --data-dir",
        directory.display()
    )]
    Foreign {
        /// What this node is called.
        node: String,
        /// Whose log it is.
        owner: String,
        /// Where it is.
        directory: PathBuf,
    },
    /// Another process has it.
    #[error(
        "another process writes the audit log in {}: end it, or give this one a data folder of its own with --data-dir",
        .0.display()
    )]
    InUse(PathBuf),
    /// A file or folder cannot be used.
    #[error("cannot {step} {}: {source}", path.display())]
    File {
        /// What failed.
        step: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] AuditKeyError),
    /// The log is there, its key is not.
    #[error(
        "the audit log in {log} was signed with the key {key}, which is not there: put it back, or, {aside}",
        log = places.directory.display(), key = places.key_file.display(), aside = set_aside(places)
    )]
    KeyMissing {
        /// Where everything should be.
        places: Box<AuditPlaces>,
    },
    /// The log is there, its head is not.
    #[error(
        "the audit log in {log} has no head {head}, so its end may have been cut off: put the head back, or, {aside}",
        log = places.directory.display(), head = places.head_file.display(), aside = set_aside(places)
    )]
    HeadMissing {
        /// Where everything should be.
        places: Box<AuditPlaces>,
    },
    /// The head is not to be believed.
    #[error("{error}; put the right one back, or, {aside}", aside = set_aside(places))]
    Head {
        /// What is wrong with it.
        error: AuditHeadError,
        /// Where everything should be.
        places: Box<AuditPlaces>,
    },
    /// Something in the log is not as it was written.
    #[error(
        "the audit log in {log} does not verify: {bad}; look at it with `magic audit verify`, and {aside}",
        log = places.directory.display(), aside = set_aside(places)
    )]
    Bad {
        /// What, and where.
        bad: FirstBad,
        /// Where everything should be.
        places: Box<AuditPlaces>,
    },
    /// The first entry of this opening cannot be written.
    #[error("the audit log cannot be written: {0}")]
    Write(String),
}

/// What to type to keep a log that cannot be opened, and begin another.
fn set_aside(places: &AuditPlaces) -> String {
    let word = |path: &Path| {
        let text = path.display().to_string();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        if text.bytes().all(plain) {
            text
        } else {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
    };
    let moves: Vec<_> = [&places.directory, &places.head_file]
        .map(|path| {
            let mut kept = path.as_os_str().to_owned();
            kept.push(".kept");
            format!("mv {} {}", word(path), word(Path::new(&kept)))
        })
        .into();
    format!(
        "to keep it as evidence and begin a new log, type: {}",
        moves.join("; ")
    )
}

/// A log that is open, and whose thread runs.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) shared: Arc<Shared>,
    pub(super) public_key: AuditPublicKey,
    pub(super) recovered: Option<Recovered>,
}

/// Opens a log and starts its thread. Blocks.
pub(super) fn open(
    options: &AuditOptions,
    medium: Arc<dyn Medium>,
) -> Result<Opened, AuditOpenError> {
    let places = &options.places;
    if !is_node(&options.node) {
        return Err(AuditOpenError::Node(options.node.clone()));
    }
    for folder in [
        Some(places.directory.as_path()),
        places.head_file.parent(),
        places.key_file.parent(),
    ]
    .into_iter()
    .flatten()
    .filter(|folder| !folder.as_os_str().is_empty())
    {
        create_directory(folder).map_err(|source| broken("make the folder", folder, source))?;
    }
    let lock = lock(&places.directory)?;
    // A process that was killed may have made a file and not synced its name; what is added to that file is no safer.
    medium
        .sync_directory(&places.directory)
        .map_err(|source| broken("sync", &places.directory, source))?;
    let segments = segments(&places.directory)
        .map_err(|source| broken("read the folder", &places.directory, source))?;
    let signer = Arc::new(key(places, segments.is_empty())?);
    let head = head(options, &segments, &signer, &*medium)?;
    let (position, cut) = match segments.last() {
        Some(_) => recover(options, &segments, &head, &signer)?,
        None if head.seq > 0 => {
            let bad = FirstBad {
                seq: 1,
                segment: places.directory.display().to_string(),
                line: 0,
                what: format!(
                    "it is missing, and all others up to {}: the log was removed",
                    head.seq
                ),
            };
            return Err(bad_log(bad, places));
        }
        None => (first_position(options, &*medium)?, None),
    };

    let shared = Arc::new(Shared::new(options.queue_bytes));
    let path = &position.segment.path;
    let file = medium
        .open(path)
        .map_err(|source| broken("open", path, source))?;
    let heads = HeadWriter::start(
        places.head_file.clone(),
        Arc::clone(&signer),
        Arc::clone(&medium),
        Arc::clone(&shared),
    )
    .map_err(|source| broken("start the thread that writes", &places.head_file, source))?;
    let mut writer = Writer {
        shared: Arc::clone(&shared),
        medium,
        signer: Arc::clone(&signer),
        limits: WriterLimits {
            segment_bytes: options.segment_bytes,
            checkpoint_records: options
                .checkpoint_records
                .clamp(1, super::chain::CHECKPOINT_DISTANCE),
            checkpoint_interval: options.checkpoint_interval,
        },
        directory: places.directory.clone(),
        position,
        file,
        group: VecDeque::new(),
        buffer: Vec::new(),
        written: Vec::new(),
        unsigned_since: None,
        heads,
        _lock: lock,
    };
    // The first entry is a signature: it shows at once whether the log can be written, and signs what a crash left unsigned.
    let told: VecDeque<_> = cut.as_ref().map(recovery_record).into_iter().collect();
    let mut written = writer.commit(VecDeque::new(), 0, true);
    if written.is_ok() && !told.is_empty() {
        written = writer.commit(told, 0, true);
    }
    written.map_err(|error| AuditOpenError::Write(error.to_string()))?;
    std::thread::Builder::new()
        .name("audit".to_owned())
        .spawn(move || writer.run())
        .map_err(|source| broken("start the thread that writes", &places.directory, source))?;
    Ok(Opened {
        shared,
        public_key: signer.public().clone(),
        recovered: cut,
    })
}

/// Locks the folder against other processes, for as long as the file that is returned stays open.
fn lock(directory: &Path) -> Result<File, AuditOpenError> {
    let file = File::open(directory).map_err(|source| broken("open", directory, source))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(AuditOpenError::InUse(directory.to_owned())),
        Err(error) => Err(broken("lock", directory, error.into())),
    }
}

/// The key of this log; a new one if there is no log yet.
fn key(places: &AuditPlaces, is_new: bool) -> Result<AuditSigner, AuditOpenError> {
    let exists = places
        .key_file
        .try_exists()
        .map_err(|source| broken("read the key", &places.key_file, source))?;
    if exists {
        return Ok(AuditSigner::read(&places.key_file)?);
    }
    if !is_new || places.head_file.exists() {
        return Err(AuditOpenError::KeyMissing {
            places: Box::new(places.clone()),
        });
    }
    Ok(AuditSigner::create(
        &places.key_file,
        &places.public_key_file,
    )?)
}

/// The head of this log; the one of an empty log if there is no log yet.
fn head(
    options: &AuditOptions,
    segments: &[Segment],
    signer: &AuditSigner,
    medium: &dyn Medium,
) -> Result<Head, AuditOpenError> {
    let places = &options.places;
    let found =
        Head::read(&places.head_file, signer.public()).map_err(|error| AuditOpenError::Head {
            error,
            places: Box::new(places.clone()),
        })?;
    let owner = found.as_ref().map(|head| &head.node);
    if let Some(owner) = owner.or_else(|| segments.first().map(|segment| &segment.node))
        && *owner != options.node
    {
        return Err(AuditOpenError::Foreign {
            node: options.node.clone(),
            owner: owner.clone(),
            directory: places.directory.clone(),
        });
    }
    match found {
        Some(head) => Ok(head),
        None if !segments.is_empty() => Err(AuditOpenError::HeadMissing {
            places: Box::new(places.clone()),
        }),
        None => {
            let head = Head {
                node: options.node.clone(),
                seq: 0,
                hash: Hash::NONE,
            };
            medium
                .replace(&places.head_file, &head.signed(signer, Timestamp::now()))
                .and_then(|()| super::medium::sync_directory_of(&places.head_file))
                .map_err(|source| broken("write", &places.head_file, source))?;
            Ok(head)
        }
    }
}

fn first_position(options: &AuditOptions, medium: &dyn Medium) -> Result<Position, AuditOpenError> {
    let directory = &options.places.directory;
    let segment = Segment::new(directory, &options.node, 1);
    medium
        .create(&segment.path)
        .map_err(|source| broken("make", &segment.path, source))?;
    medium
        .sync_directory(directory)
        .map_err(|source| broken("sync", directory, source))?;
    Ok(Position {
        seq: 0,
        hash: Hash::NONE,
        unsigned: 0,
        segment,
        length: 0,
    })
}

/// Finds the end of a log and cuts off what was never acknowledged.
fn recover(
    options: &AuditOptions,
    segments: &[Segment],
    head: &Head,
    signer: &AuditSigner,
) -> Result<(Position, Option<Recovered>), AuditOpenError> {
    let places = &options.places;
    let refuse = |error: AuditVerifyError| match error {
        AuditVerifyError::Bad(bad) => bad_log(bad, places),
        AuditVerifyError::Read { path, source } => broken("read", &path, source),
        other => AuditOpenError::Write(other.to_string()),
    };
    // The head may be a group behind, and so in the file before the last; it is never further behind than that.
    let begin = segments
        .iter()
        .rposition(|segment| segment.first <= head.seq)
        .unwrap_or(0);
    let mut walk = Walk::new(&options.node, signer.public(), Some(head));
    if let Some(before) = begin.checked_sub(1).map(|index| &segments[index]) {
        let (seq, hash) = last_entry(before).map_err(|bad| bad_log(bad, places))?;
        walk = walk.from(seq, hash);
    }
    let segments = &segments[begin..];
    for segment in segments {
        forget_cached(segment)?;
    }
    let walked = walk_segments(&mut walk, segments).map_err(refuse)?;
    let segment = &segments[segments.len() - 1];
    walk.end(&walked.end).map_err(|bad| bad_log(bad, places))?;
    let cut = if walked.unfinished_bytes > 0 {
        Some(cut_off(segment, walked.length, walk.seq + 1)?)
    } else {
        None
    };
    let position = Position {
        seq: walk.seq,
        hash: walk.hash,
        unsigned: walk.unsigned,
        segment: segment.clone(),
        length: walked.length,
    };
    Ok((position, cut))
}

/// Makes the next read see what the disk has. After a failed sync the kernel keeps pages that never reached the disk and calls
/// them clean; a process that is started again would read them, build on them, and lose them with the power.
fn forget_cached(segment: &Segment) -> Result<(), AuditOpenError> {
    let drop_pages = || {
        let file = open_to_read(&segment.path)?;
        file.sync_data()?;
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
        Ok(())
    };
    drop_pages().map_err(|source| broken("sync", &segment.path, source))
}

/// Number and hash of the last entry of a segment that was ended in order.
fn last_entry(segment: &Segment) -> Result<(u64, Hash), FirstBad> {
    let bad = |what: String| FirstBad {
        seq: segment.first,
        segment: segment.name(),
        line: 0,
        what,
    };
    let read = || {
        let mut lines = ReverseLines::new(open_to_read(&segment.path)?)?;
        Ok(match lines.next()? {
            Next::Line(line) => Entry::parse(line).map(|entry| (entry.seq, entry.hash)),
            _ => None,
        })
    };
    read()
        .map_err(|error: io::Error| bad(format!("the file cannot be read: {error}")))?
        .ok_or_else(|| bad("the file does not end with a line of an audit log".to_owned()))
}

/// Moves what follows the last whole line into a file of its own. If a crash interrupts that, it is done again.
fn cut_off(segment: &Segment, length: u64, seq: u64) -> Result<Recovered, AuditOpenError> {
    let mut name = segment.path.as_os_str().to_owned();
    name.push(format!(
        ".cut-before-{seq}.{}",
        Timestamp::now().as_microsecond()
    ));
    let kept = PathBuf::from(name);
    let cut = || {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&segment.path)?;
        let mut aside = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&kept)?;
        let bytes = copy_from(&file, length, &mut aside)?;
        aside.sync_all()?;
        super::medium::sync_directory_of(&kept)?;
        file.set_len(length)?;
        file.sync_all()?;
        Ok(bytes)
    };
    let bytes =
        cut().map_err(|source| broken("cut the unfinished end off", &segment.path, source))?;
    Ok(Recovered { bytes, kept })
}

fn copy_from(file: &File, mut offset: u64, out: &mut File) -> io::Result<u64> {
    use std::io::Write;
    let mut block = [0; 16 * 1024];
    let mut bytes = 0;
    loop {
        let read = file.read_at(&mut block, offset)?;
        if read == 0 {
            return Ok(bytes);
        }
        out.write_all(&block[..read])?;
        offset += read as u64;
        bytes += read as u64;
    }
}

fn recovery_record(cut: &Recovered) -> Pending {
    let record = Record::new(Kind::Recovery)
        .with_field("cut_bytes", cut.bytes)
        .with_field(
            "kept",
            cut.kept
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        );
    Pending {
        time: Timestamp::now(),
        timeless: record.timeless(),
        answer: None,
    }
}

fn bad_log(bad: FirstBad, places: &AuditPlaces) -> AuditOpenError {
    AuditOpenError::Bad {
        bad,
        places: Box::new(places.clone()),
    }
}

fn broken(step: &'static str, path: &Path, source: io::Error) -> AuditOpenError {
    AuditOpenError::File {
        step,
        path: path.to_owned(),
        source,
    }
}
