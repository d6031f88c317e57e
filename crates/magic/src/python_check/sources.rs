//! The Python files of a controller's folder, read within bounds.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The most bytes of one file that are read.
const LARGEST_FILE: u64 = 1024 * 1024;
/// The most files that are read, and how deep.
const MOST_FILES: usize = 500;
const DEEPEST: usize = 8;

/// The Python files of a folder, tests left out, by their relative names.
pub(super) fn sources_of(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut sources = BTreeMap::new();
    let mut open: Vec<(PathBuf, usize)> = vec![(folder.to_owned(), 0)];
    while let Some((path, depth)) = open.pop() {
        let entries = std::fs::read_dir(&path)
            .with_context(|| format!("cannot read the folder {}", path.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Links are not followed: neither does a deploy follow them.
            let kind = entry.file_type()?;
            if kind.is_dir() {
                if depth < DEEPEST
                    && !name.starts_with('.')
                    && name != "__pycache__"
                    && name != "tests"
                {
                    open.push((entry.path(), depth + 1));
                }
                continue;
            }
            let is_test =
                name.starts_with("test_") || name.ends_with("_test.py") || name == "conftest.py";
            if !kind.is_file() || !name.ends_with(".py") || is_test {
                continue;
            }
            if sources.len() >= MOST_FILES {
                bail!(
                    "{} has more than {MOST_FILES} Python files",
                    folder.display()
                );
            }
            let relative = entry
                .path()
                .strip_prefix(folder)
                .unwrap_or(Path::new(&name))
                .display()
                .to_string();
            sources.insert(relative, read_source(&entry.path())?);
        }
    }
    Ok(sources)
}

fn read_source(path: &Path) -> anyhow::Result<String> {
    let file =
        std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() as u64 > LARGEST_FILE {
        bail!(
            "{} is larger than {} KiB",
            path.display(),
            LARGEST_FILE / 1024
        );
    }
    String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("{} is not valid UTF-8", path.display()))
}
