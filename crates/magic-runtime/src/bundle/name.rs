//! Names of files that somebody else chose.
//!
//! One place decides which names a bundle may contain, whether they come from
//! a folder, from an archive or from a wheel. What it lets through means the
//! same file to every tool and on every file system that we know of, so that
//! no two readers of one bundle see two different programs. A name is judged
//! as bytes; only what has passed becomes a string.
//!
//! Two spellings of one letter as composed and decomposed Unicode are not
//! taken for a collision: no file system that we write to folds them.

use std::collections::BTreeMap;

/// The longest part of a name between two `/`, in bytes, as Linux has it.
const PART: usize = 255;
/// The longest name, in bytes: what stands before it on the host must fit too.
const WHOLE: usize = 1_000;
/// The deepest folder.
const DEPTH: usize = 16;

/// Why a name is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameRefusal {
    /// Nothing is left of it.
    #[error("it has an empty name")]
    Empty,
    /// It starts at the root.
    #[error("it has an absolute name")]
    Absolute,
    /// It leads out of the bundle.
    #[error("its name leads out of the folder")]
    Parent,
    /// `a//b`, `a/./b`, or a file that is called like a folder.
    #[error("its name has an empty part or a `.` in it")]
    EmptyPart,
    /// Not text.
    #[error("its name is not UTF-8")]
    NotUtf8,
    /// Something that an eye or a tool takes for something else.
    #[error("its name has the character {}", .0.escape_unicode())]
    Character(char),
    /// Too long.
    #[error("its name is too long: {WHOLE} bytes are possible, and {PART} between two `/`")]
    TooLong,
    /// Too deep.
    #[error("it is nested deeper than {DEPTH} folders")]
    TooDeep,
    /// There are two of it.
    #[error("it is there twice")]
    Duplicate,
    /// Another name differs in the case of its letters alone.
    #[error("its name differs from `{0}` in the case of letters only")]
    Case(String),
    /// The same name is a file and a folder.
    #[error("`{0}` is a file and a folder at once")]
    FileAndFolder(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
}

/// The names of one bundle, admitted one by one.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Name in lower case to its spelling.
    admitted: BTreeMap<String, (String, Kind)>,
}

impl Names {
    /// Admits the name of a file, and those of the folders above it.
    ///
    /// # Errors
    ///
    /// [`NameRefusal`], also when it does not go together with an earlier name.
    pub(crate) fn file(&mut self, name: &[u8]) -> Result<String, NameRefusal> {
        let name = judge(strip_here(name))?;
        self.admit_folders_above(name)?;
        self.admit(name, Kind::File)?;
        Ok(name.to_owned())
    }

    /// Admits the name of a folder, which may be told again; the bundle's own
    /// top is one.
    ///
    /// # Errors
    ///
    /// As for [`Names::file`].
    pub(crate) fn folder(&mut self, name: &[u8]) -> Result<(), NameRefusal> {
        if name == b"." {
            return Ok(());
        }
        let name = strip_here(name);
        let name = name.strip_suffix(b"/").unwrap_or(name);
        if name.is_empty() {
            return Ok(());
        }
        let name = judge(name)?;
        self.admit_folders_above(name)?;
        self.admit(name, Kind::Folder)
    }

    fn admit_folders_above(&mut self, name: &str) -> Result<(), NameRefusal> {
        name.match_indices('/')
            .try_for_each(|(end, _)| self.admit(&name[..end], Kind::Folder))
    }

    fn admit(&mut self, name: &str, kind: Kind) -> Result<(), NameRefusal> {
        let Some((spelling, standing)) = self.admitted.get(&name.to_lowercase()) else {
            self.admitted
                .insert(name.to_lowercase(), (name.to_owned(), kind));
            return Ok(());
        };
        if spelling != name {
            return Err(NameRefusal::Case(spelling.clone()));
        }
        match (standing, kind) {
            (Kind::Folder, Kind::Folder) => Ok(()),
            (Kind::File, Kind::File) => Err(NameRefusal::Duplicate),
            _ => Err(NameRefusal::FileAndFolder(name.to_owned())),
        }
    }
}

/// `tar -C folder -c .` writes every name with `./` before it.
fn strip_here(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"./").unwrap_or(name)
}

fn judge(name: &[u8]) -> Result<&str, NameRefusal> {
    let name = std::str::from_utf8(name).map_err(|_| NameRefusal::NotUtf8)?;
    if name.is_empty() {
        return Err(NameRefusal::Empty);
    }
    if name.starts_with('/') {
        return Err(NameRefusal::Absolute);
    }
    if let Some(character) = name.chars().find(|character| is_misleading(*character)) {
        return Err(NameRefusal::Character(character));
    }
    if name.len() > WHOLE || name.split('/').any(|part| part.len() > PART) {
        return Err(NameRefusal::TooLong);
    }
    if name.split('/').any(|part| part == "..") {
        return Err(NameRefusal::Parent);
    }
    if name.split('/').any(|part| part.is_empty() || part == ".") {
        return Err(NameRefusal::EmptyPart);
    }
    // The last part is the file itself.
    if name.split('/').count() > DEPTH + 1 {
        return Err(NameRefusal::TooDeep);
    }
    Ok(name)
}

/// Control characters, the separator of other systems, and characters that are
/// invisible or change the order in which a line is shown.
fn is_misleading(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\\' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// What editors, version control and interpreters leave behind; none of it is
/// part of a controller.
pub(crate) fn is_leftover(part: &str) -> bool {
    part.starts_with('.') || part == "__pycache__" || part.ends_with('~')
}
