//! Finding controllers on disk: which folder, which contract in it.
//!
//! The rules of the contract's file name are those of the runtime: `<snake_name>.contract.yaml`, or `contract.yaml`, also with
//! `.yml` or `.json`, beside `controller.py`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The contract of a controller's folder.
///
/// # Errors
/// When the folder has none, or several.
pub(crate) fn contract_in(folder: &Path) -> anyhow::Result<PathBuf> {
    let found = contracts_in(folder)?;
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [] => bail!(
            "{} has no contract: write contract.yaml or <name>.contract.yaml in it",
            folder.display()
        ),
        several => {
            let names: Vec<_> = several
                .iter()
                .filter_map(|path| path.file_name())
                .map(|name| name.to_string_lossy())
                .collect();
            bail!(
                "{} has several contracts: {}; keep one, since every controller has a folder of its own",
                folder.display(),
                names.join(", ")
            )
        }
    }
}

fn contracts_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry =
            entry.with_context(|| format!("cannot read the folder {}", folder.display()))?;
        if magic_runtime::is_contract(&entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a folder holds a controller, or at least somebody's attempt at one.
pub(crate) fn holds_controller(folder: &Path) -> bool {
    folder.join("controller.py").is_file()
        || contracts_in(folder).is_ok_and(|found| !found.is_empty())
}

/// The controllers' folders right under `root`, sorted. Hidden folders are none.
///
/// # Errors
/// When `root` cannot be read.
pub(crate) fn controllers_under(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(root)
        .with_context(|| format!("cannot read the folder {}", root.display()))?;
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read the folder {}", root.display()))?;
        let path = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !hidden && path.is_dir() && holds_controller(&path) {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

/// The folder that `NAME|PATH` means: a folder if it is one (or has a slash in it), else the controller of that name under
/// `root`.
///
/// # Errors
/// When there is no such folder or name; the message lists what there is.
pub(crate) fn find(name_or_path: &str, root: &Path) -> anyhow::Result<PathBuf> {
    let path = Path::new(name_or_path);
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    if path.is_file()
        && let Some(folder) = path.parent()
    {
        // A contract or controller.py stands for its folder.
        return Ok(if folder.as_os_str().is_empty() {
            ".".into()
        } else {
            folder.to_owned()
        });
    }
    if name_or_path.contains('/') {
        bail!("there is no folder {name_or_path}");
    }
    let folders = if root.is_dir() {
        controllers_under(root)?
    } else {
        Vec::new()
    };
    let mut names = Vec::new();
    for folder in folders {
        let name = declared_name(&folder);
        let folder_name = folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        if name.as_deref() == Some(name_or_path) || folder_name.as_deref() == Some(name_or_path) {
            return Ok(folder);
        }
        names.extend(name.or(folder_name));
    }
    let there = if names.is_empty() {
        format!(
            "{} holds none; make one with: magic new controller {name_or_path}",
            root.display()
        )
    } else {
        format!("{} holds {}", root.display(), names.join(", "))
    };
    bail!("there is no controller {name_or_path}; {there}")
}

/// The name in a folder's contract, if the contract is valid.
fn declared_name(folder: &Path) -> Option<String> {
    let path = contract_in(folder).ok()?;
    let text = std::fs::read(&path).ok()?;
    let contract = magic_contract::Contract::parse(&text, &path.display().to_string()).ok()?;
    Some(contract.name.to_string())
}
