//! Reads an archive that somebody else made.
//!
//! Nothing here touches a file system: an archive becomes names, judged by
//! [`Names`], and contents, handed on one by one. Everything is bounded before
//! it is read: the bytes that decompression may give, the entries, the files,
//! their bytes. So a bomb costs no more than the largest honest archive.
//!
//! The headers come from the `tar` crate in its raw mode, which checks sums and
//! numbers and interprets nothing. What an entry *is* is decided here, by a
//! list of what a bundle may consist of: regular files and folders. Extended
//! headers may lengthen a name and tell times and owners, which are ignored;
//! everything that would change what is read (`size`, sparse maps) or that only
//! other kinds of entries have (`linkpath`) is refused, since such records are
//! what two readers of one archive disagree about. For the same reason an
//! archive is one compressed stream and nothing behind it.

use super::name::{NameRefusal, Names};
use std::io::{self, BufRead, Read};
use tar::{EntryType, PaxExtensions};

/// The largest window of a zstd frame, as a power of two: the 8 MiB that the
/// format asks every decoder to support.
const WINDOW: u32 = 23;
/// The most bytes of one extended header.
const EXTENSION: u64 = 64 * 1024;
const BLOCK: usize = 512;

/// What one archive may hold at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Files.
    pub(crate) files: usize,
    /// Bytes of all files together.
    pub(crate) bytes: u64,
}

impl Bounds {
    /// Headers of any kind: every file with an extended header, and folders.
    fn entries(self) -> usize {
        self.files.saturating_mul(4)
    }

    /// Bytes of the tar stream: contents, a header and padding for every entry,
    /// and one large extended header.
    fn stream(self) -> u64 {
        let headers = (self.entries() as u64).saturating_mul(2 * BLOCK as u64);
        self.bytes.saturating_add(headers).saturating_add(EXTENSION)
    }
}

/// Why an archive is not acceptable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// Not an archive at all.
    #[error(
        "it is neither a zstd nor a gzip stream; make one with `magic deploy`, or with `tar --zstd -c`"
    )]
    UnknownFormat,
    /// It cannot be decompressed, or what comes out is no tar.
    #[error("it cannot be read: {}", said(.0))]
    Stream(#[source] io::Error),
    /// It ends too early.
    #[error("it ends in the middle, after {0} entries")]
    Truncated(usize),
    /// Bytes behind its end.
    #[error("something follows the end of the archive")]
    Trailing,
    /// More than is possible.
    #[error("it has more than {limit} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How many are possible.
        limit: u64,
    },
    /// One entry.
    #[error("the entry `{name}` is refused: {reason}")]
    Entry {
        /// Its name, made fit to be shown.
        name: String,
        /// Why.
        reason: EntryRefusal,
    },
    /// The receiver of the contents could not keep one.
    #[error("it could not be kept: {0}")]
    Kept(#[source] io::Error),
}

/// Why one entry is not acceptable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryRefusal {
    /// Its name.
    #[error(transparent)]
    Name(#[from] NameRefusal),
    /// Neither file nor folder.
    #[error("it is {0}; only regular files and folders are possible")]
    Kind(&'static str),
    /// Set-user-id, set-group-id or sticky.
    #[error("it has a set-user-id, set-group-id or sticky mode ({0:o})")]
    Mode(u32),
    /// A header that cannot be understood.
    #[error("its header is malformed: {0}")]
    Header(String),
    /// A record that changes what is read.
    #[error("its extended header has the record `{0}`, which is not possible here")]
    Record(String),
    /// A declared size beyond what is possible.
    #[error("it declares {0} bytes, more than are possible")]
    Size(u64),
}

/// Reads a compressed archive and hands every file to `keep`.
///
/// # Errors
///
/// [`ArchiveError`]; what was handed on until then is to be thrown away.
pub(crate) fn unpack(
    archive: &[u8],
    bounds: Bounds,
    keep: impl FnMut(String, Vec<u8>) -> io::Result<()>,
) -> Result<(), ArchiveError> {
    let rest = if archive.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(archive)
            .map_err(ArchiveError::Stream)?
            .single_frame();
        decoder
            .window_log_max(WINDOW)
            .map_err(ArchiveError::Stream)?;
        unpack_tar(&mut decoder, bounds, &mut Names::default(), keep)?;
        decoder.finish()
    } else if archive.starts_with(&[0x1f, 0x8b]) {
        let mut decoder = flate2::bufread::GzDecoder::new(archive);
        unpack_tar(&mut decoder, bounds, &mut Names::default(), keep)?;
        decoder.into_inner()
    } else {
        return Err(ArchiveError::UnknownFormat);
    };
    if rest.is_empty() {
        Ok(())
    } else {
        Err(ArchiveError::Trailing)
    }
}

/// Reads a tar stream to its end and hands every file to `keep`. Its names must
/// go together with those that were admitted before.
///
/// # Errors
///
/// As for [`unpack`].
pub(crate) fn unpack_tar(
    stream: impl Read,
    bounds: Bounds,
    names: &mut Names,
    mut keep: impl FnMut(String, Vec<u8>) -> io::Result<()>,
) -> Result<(), ArchiveError> {
    // One byte more than is possible tells a stream that is too long from one
    // that is exactly as long as it may be.
    let mut archive = tar::Archive::new(stream.take(bounds.stream() + 1));
    let mut reading = Reading {
        bounds,
        names,
        entries: 0,
        files: 0,
        bytes: 0,
        long_name: None,
    };
    let entries = archive.entries().map_err(ArchiveError::Stream)?.raw(true);
    for entry in entries {
        let entry = entry.map_err(|error| reading.broken(error))?;
        if let Some((name, content)) = reading.take(entry)? {
            keep(name, content).map_err(ArchiveError::Kept)?;
        }
    }
    if reading.long_name.is_some() {
        return Err(ArchiveError::Truncated(reading.entries));
    }
    let count = reading.entries;
    end(&mut io::BufReader::new(archive.into_inner()), count, bounds)
}

/// A tar ends with two blocks of zeros, of which one has been read; programs
/// pad what follows with zeros. A stream that ends without was cut.
fn end(
    rest: &mut io::BufReader<impl Read>,
    entries: usize,
    bounds: Bounds,
) -> Result<(), ArchiveError> {
    let mut count = 0;
    loop {
        let bytes = rest.fill_buf().map_err(ArchiveError::Stream)?;
        if bytes.is_empty() {
            break;
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(ArchiveError::Trailing);
        }
        count += bytes.len();
        let read = bytes.len();
        rest.consume(read);
    }
    if count as u64 > bounds.stream() / 2 {
        return Err(ArchiveError::TooMuch {
            what: "bytes",
            limit: bounds.stream(),
        });
    }
    if count < BLOCK {
        return Err(ArchiveError::Truncated(entries));
    }
    Ok(())
}

/// What has been read so far.
struct Reading<'names> {
    bounds: Bounds,
    names: &'names mut Names,
    entries: usize,
    files: usize,
    bytes: u64,
    /// What an extended header has said of the next entry.
    long_name: Option<LongName>,
}

/// An extended header's word on the next entry: its name, unless it only told
/// times and owners.
struct LongName(Option<Vec<u8>>);

impl Reading<'_> {
    /// Takes one entry; a file's name and content are the answer.
    fn take(
        &mut self,
        mut entry: tar::Entry<'_, impl Read>,
    ) -> Result<Option<(String, Vec<u8>)>, ArchiveError> {
        self.entries += 1;
        if self.entries > self.bounds.entries() {
            return Err(self.too_many("entries", self.bounds.entries() as u64));
        }
        let header = entry.header();
        let own_name = header.path_bytes().into_owned();
        let kind = header.entry_type();
        let refused = |name: &[u8], reason: EntryRefusal| ArchiveError::Entry {
            name: shown(name),
            reason,
        };
        if header.as_ustar().is_none() && header.as_gnu().is_none() {
            let reason = "it is older than ustar".to_owned();
            return Err(refused(&own_name, EntryRefusal::Header(reason)));
        }
        if matches!(
            kind,
            EntryType::XHeader | EntryType::XGlobalHeader | EntryType::GNULongName
        ) {
            let next = self
                .extension(kind, &mut entry)
                .map_err(|reason| refused(&own_name, reason))?;
            if kind != EntryType::XGlobalHeader && self.long_name.replace(next).is_some() {
                let reason = "two extended headers for one entry".to_owned();
                return Err(refused(&own_name, EntryRefusal::Header(reason)));
            }
            return Ok(None);
        }
        let long = self.long_name.take();
        let name = match long.and_then(|LongName(name)| name) {
            Some(name) => name,
            None => own_name,
        };
        let header = entry.header();
        if is_padded_with_words(header) {
            let reason = "its name goes on behind its end".to_owned();
            return Err(refused(&name, EntryRefusal::Header(reason)));
        }
        let mode = header
            .mode()
            .map_err(|error| refused(&name, EntryRefusal::Header(said(&error))))?;
        let size = entry
            .header()
            .entry_size()
            .map_err(|error| refused(&name, EntryRefusal::Header(said(&error))))?;
        let is_folder = match kind {
            EntryType::Regular => false,
            EntryType::Directory => true,
            other => return Err(refused(&name, EntryRefusal::Kind(called(other)))),
        };
        if mode & 0o7000 != 0 {
            return Err(refused(&name, EntryRefusal::Mode(mode)));
        }
        if is_folder {
            if size != 0 {
                return Err(refused(&name, EntryRefusal::Size(size)));
            }
            self.names
                .folder(&name)
                .map_err(|reason| refused(&name, reason.into()))?;
            return Ok(None);
        }
        let text = self
            .names
            .file(&name)
            .map_err(|reason| refused(&name, reason.into()))?;
        self.files += 1;
        if self.files > self.bounds.files {
            return Err(self.too_many("files", self.bounds.files as u64));
        }
        if size > self.bounds.bytes {
            return Err(refused(&name, EntryRefusal::Size(size)));
        }
        self.bytes += size;
        if self.bytes > self.bounds.bytes {
            return Err(self.too_many("bytes of files", self.bounds.bytes));
        }
        // Room grows with what comes, not with what was declared.
        let mut content = Vec::new();
        let count = entry
            .read_to_end(&mut content)
            .map_err(|error| self.broken(error))?;
        if count as u64 != size {
            return Err(ArchiveError::Truncated(self.entries));
        }
        Ok(Some((text, content)))
    }

    /// What an extended header says of the entry that follows.
    fn extension(
        &self,
        kind: EntryType,
        entry: &mut tar::Entry<'_, impl Read>,
    ) -> Result<LongName, EntryRefusal> {
        let malformed = |error: io::Error| EntryRefusal::Header(said(&error));
        let size = entry.header().entry_size().map_err(malformed)?;
        if size > EXTENSION {
            return Err(EntryRefusal::Size(size));
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(malformed)?;
        if content.len() as u64 != size {
            return Err(EntryRefusal::Header("it ends in the middle".to_owned()));
        }
        if kind == EntryType::GNULongName {
            // GNU tar counts the NUL behind the name.
            if content.last() == Some(&0) {
                content.pop();
            }
            return Ok(LongName(Some(content)));
        }
        records(&content, kind == EntryType::XGlobalHeader).map(LongName)
    }

    fn too_many(&self, what: &'static str, limit: u64) -> ArchiveError {
        ArchiveError::TooMuch { what, limit }
    }

    /// What an error in the middle of the stream means.
    fn broken(&self, error: io::Error) -> ArchiveError {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            ArchiveError::Truncated(self.entries)
        } else {
            ArchiveError::Stream(error)
        }
    }
}

/// The `path` of a set of pax records, the rest of which must not matter.
fn records(content: &[u8], global: bool) -> Result<Option<Vec<u8>>, EntryRefusal> {
    let mut path = None;
    for record in PaxExtensions::new(content) {
        let record = record.map_err(|error| EntryRefusal::Header(said(&error)))?;
        let key = record
            .key()
            .map_err(|error| EntryRefusal::Header(said(&error)))?;
        match key {
            // A name that held for all entries would make all of them one.
            "path" if !global => {
                if path.replace(record.value_bytes().to_vec()).is_some() {
                    return Err(EntryRefusal::Record("path, twice".to_owned()));
                }
            }
            "mtime" | "atime" | "ctime" | "uid" | "gid" | "uname" | "gname" | "comment" => {}
            // What macOS and GNU tar write of a file's attributes.
            _ if ["LIBARCHIVE.", "SCHILY.", "RHT.", "com.apple."]
                .iter()
                .any(|vendor| key.starts_with(vendor)) => {}
            _ => return Err(EntryRefusal::Record(shown(key.as_bytes()))),
        }
    }
    Ok(path)
}

/// Whether the field of the name holds something behind the NUL that ends it.
/// Readers that stop there and readers that do not would see two names.
fn is_padded_with_words(header: &tar::Header) -> bool {
    let field = &header.as_bytes()[..100];
    let end = field
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(field.len());
    field[end..].iter().any(|byte| *byte != 0)
}

fn called(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link => "a hard link",
        EntryType::Symlink => "a symbolic link",
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Fifo => "a named pipe",
        EntryType::GNUSparse => "a sparse file",
        EntryType::GNULongLink => "the name of a link",
        _ => "of an unknown kind",
    }
}

/// What a reader says went wrong. It quotes what it has read.
fn said(error: &impl std::fmt::Display) -> String {
    shown(error.to_string().as_bytes())
}

/// A name fit for a message: escaped, and not without end.
fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let mut escaped: String = text
        .chars()
        .take(120)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(120).is_some() {
        escaped.push_str("...");
    }
    escaped
}
