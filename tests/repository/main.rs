//! Rules about the repository itself, where breaking one is a failed test and
//! not a remark in a review.

mod arrows;
mod promises;
#[path = "../support/repository.rs"]
mod repository;
mod sources;

use repository::{read, root};
use std::path::PathBuf;

/// Every file below `folder` with this ending, relative to the root, sorted.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)
            .expect("a readable folder")
            .flatten()
        {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(ending) {
                found.push(path.strip_prefix(&root).expect("below the root").to_owned());
            }
        }
    }
    found.sort();
    found
}
