//! The files: their names, their order, their hashes.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::MigrateError;

/// What one file may have. Data of that size is loaded by other means.
pub(super) const FILE_LIMIT: u64 = 16 * 1024 * 1024;

/// How many files a folder may have.
pub(super) const COUNT_LIMIT: usize = 10_000;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// What stands before the first `_`.
    pub number: u64,
    /// The file's name without `.sql`.
    pub name: String,
    /// The hash of its bytes, in hexadecimal.
    pub sha256: String,
    pub(super) sql: String,
}

/// Reads the migrations of a folder, in their order. Files that do not end in
/// `.sql` are left alone.
///
/// # Errors
///
/// [`MigrateError`], for the first file that is not as it should be.
pub fn read_migrations(folder: &Path) -> Result<Vec<Migration>, MigrateError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| MigrateError::Read { path, source }
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
        let entry = entry.map_err(unreadable(folder))?;
        let file = entry.file_name().to_string_lossy().into_owned();
        if file.ends_with(".sql") && !file.starts_with('.') {
            files.push((file, entry.path()));
        }
        if files.len() > COUNT_LIMIT {
            return Err(MigrateError::TooMany);
        }
    }
    let mut migrations = Vec::with_capacity(files.len());
    for (file, path) in files {
        let size = std::fs::metadata(&path).map_err(unreadable(&path))?.len();
        if size > FILE_LIMIT {
            return Err(MigrateError::TooLarge { file });
        }
        let bytes = std::fs::read(&path).map_err(unreadable(&path))?;
        migrations.push(Migration::parse(&file, bytes)?);
    }
    migrations.sort_by(|one, other| (one.number, &one.name).cmp(&(other.number, &other.name)));
    for pair in migrations.windows(2) {
        if let [first, second] = pair
            && first.number == second.number
        {
            return Err(MigrateError::SameNumber {
                first: first.name.clone(),
                second: second.name.clone(),
            });
        }
    }
    Ok(migrations)
}

impl Migration {
    fn parse(file: &str, bytes: Vec<u8>) -> Result<Self, MigrateError> {
        let name = file.strip_suffix(".sql").unwrap_or(file);
        let misnamed = || MigrateError::Name {
            file: file.to_owned(),
            example: example(name),
        };
        let (digits, rest) = name.split_once('_').ok_or_else(misnamed)?;
        let words = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if digits.len() < 4
            || !digits.bytes().all(|byte| byte.is_ascii_digit())
            || rest.is_empty()
            || !rest.bytes().all(words)
        {
            return Err(misnamed());
        }
        let number = digits.parse().map_err(|_| misnamed())?;
        let sha256 = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let sql = String::from_utf8(bytes).map_err(|_| MigrateError::NotText {
            file: file.to_owned(),
        })?;
        Ok(Self {
            number,
            name: name.to_owned(),
            sha256,
            sql,
        })
    }
}

/// A file name like the given one that is as it should be.
fn example(name: &str) -> String {
    let words: String = name
        .trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '_')
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .take(60)
        .collect();
    let words = if words.is_empty() {
        "create_tables"
    } else {
        &words
    };
    format!("0001_{words}.sql")
}
