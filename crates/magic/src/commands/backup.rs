//! `magic backup FILE`: what a node must not lose, as one archive, while it serves.
//!
//! The command opens the state by itself, beside the server: SQLite gives a copy of one moment to whoever may read the file, and
//! nothing has to pass through a socket or be held in memory by the server. Everything else that is taken along only grows or is
//! never changed: the audit log (after its head, so that the log reaches it) and the folders of bundles and packages.
//!
//! What is not in it: the controllers' own database, queues and secrets, which have tools of their own, and private keys. Whoever
//! has the key of the audit log can write another one, so it is taken along only for who asks; see `docs/history.md`.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use magic_runtime::Lease;
use magic_store::AuditPlaces;
use magic_store::state::{BackupError, State};
use serde_json::json;

use super::archive::{self, CHECKSUMS, Checksums, Digest, MANIFEST, Manifest};
use crate::cli::Ended;
use crate::output::Output;
use crate::services::state_options;
use crate::settings::Settings;

/// The arguments of `magic backup`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The archive to write; it must not exist
    file: PathBuf,
    /// Take along the private key of the audit log, so that the log goes on after a restore
    #[arg(long)]
    with_audit_key: bool,
}

pub(crate) async fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let target = &arguments.file;
    anyhow::ensure!(
        !target.exists(),
        "{} exists; choose another name",
        target.display()
    );
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Beside the archive, since the state may be large; it is gone afterwards.
    let scratch = tempfile::Builder::new()
        .prefix(".magic-backup-")
        .tempdir_in(folder)
        .with_context(|| format!("cannot write in {}", folder.display()))?;
    let state_copy = scratch.path().join("state.db");
    let has_state = copy_state(settings, &state_copy).await?;
    let data = settings.data_dir.clone();
    let manifest = Manifest::of(&settings.node, has_state, arguments.with_audit_key);
    let unfinished = scratch.path().join("archive");
    let with_key = arguments.with_audit_key;
    let writing = tokio::task::spawn_blocking({
        let (unfinished, target) = (unfinished.clone(), target.clone());
        move || -> anyhow::Result<(u64, u64)> {
            let state = has_state.then_some(state_copy.as_path());
            let files = write(&unfinished, &data, state, &manifest, with_key)?;
            finish(&unfinished, &target)
                .with_context(|| format!("cannot write {}", target.display()))
                .map(|bytes| (files, bytes))
        }
    });
    let (files, bytes) = writing.await??;
    if output.is_json() {
        output.json(&json!({
            "file": target, "files": files, "bytes": bytes,
            "state": if has_state { "sqlite" } else { "postgres" },
        }))?;
        return Ok(Ended::Done);
    }
    output.data(&format!(
        "{}: {files} files, {bytes} bytes",
        target.display()
    ))?;
    if !has_state {
        output.talk(
            "the state is in PostgreSQL and not in this archive; type: pg_dump --schema=magic_state --format=custom --file=FILE DATABASE",
        );
    }
    Ok(Ended::Done)
}

/// Copies a state that is a file; says whether it is one.
async fn copy_state(settings: &Settings, to: &Path) -> anyhow::Result<bool> {
    let Some(file) = settings.store_url.file() else {
        return Ok(false);
    };
    anyhow::ensure!(
        file.is_file(),
        "there is no state {}; is this the data folder? name another with --data-dir",
        file.display()
    );
    let state = State::open(state_options(settings)).await?;
    let copied = state.backup(to).await;
    state.close().await;
    match copied {
        Ok(_) => Ok(true),
        Err(BackupError::Postgres) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// An archive that is being written.
struct Writing<W: Write> {
    tar: tar::Builder<W>,
    checksums: Checksums,
}

/// Writes everything, and says how many files it were.
fn write(
    archive: &Path,
    data: &Path,
    state: Option<&Path>,
    manifest: &Manifest,
    with_key: bool,
) -> anyhow::Result<u64> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(archive)
        .with_context(|| format!("cannot write {}", archive.display()))?;
    let compressed = zstd::Encoder::new(file, archive::LEVEL)?;
    let mut writing = Writing {
        tar: tar::Builder::new(compressed),
        checksums: Checksums::new(),
    };
    let text = serde_json::to_vec(manifest)?;
    writing.bytes(MANIFEST, &text)?;
    if let Some(state) = state {
        writing.file(state, "state.db")?;
    }
    // Before the log: the log grows, and must reach its head.
    for head in archive::entries(&data.join("audit-head"))? {
        writing.tree(&head, &format!("audit-head/{}", archive::name(&head)?))?;
    }
    writing.tree(&data.join("audit"), "audit")?;
    let places = AuditPlaces::below(data, "");
    let mut keys = vec![(places.public_key_file, archive::PUBLIC_KEY)];
    if with_key {
        keys.push((places.key_file, archive::PRIVATE_KEY));
    }
    for (key, name) in keys {
        writing.tree(&key, name)?;
    }
    for folder in ["bundles", "packages"] {
        writing.kept(&data.join(folder), folder)?;
    }
    let files = writing.checksums.len() as u64;
    let checksums = serde_json::to_vec(&writing.checksums)?;
    writing.bytes(CHECKSUMS, &checksums)?;
    let file = writing.tar.into_inner()?.finish()?;
    file.sync_all()?;
    Ok(files)
}

impl<W: Write> Writing<W> {
    /// A file or a folder with all that is in it. What went meanwhile is left out, and so is what is neither.
    fn tree(&mut self, from: &Path, name: &str) -> anyhow::Result<()> {
        let metadata = match from.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            metadata => metadata.with_context(|| format!("cannot read {}", from.display()))?,
        };
        if metadata.is_file() {
            return match self.file(from, name) {
                Err(error) if is_gone(&error) => Ok(()),
                written => written,
            };
        }
        if !metadata.is_dir() {
            return Ok(());
        }
        self.folder(&metadata, name)?;
        for entry in archive::entries(from)? {
            let below = format!("{name}/{}", archive::name(&entry)?);
            self.tree(&entry, &below)?;
        }
        Ok(())
    }

    /// A folder of folders that a server may remove, each of them whole or not at all. Those that are still being written are left
    /// out.
    fn kept(&mut self, from: &Path, name: &str) -> anyhow::Result<()> {
        let metadata = match from.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            metadata => metadata.with_context(|| format!("cannot read {}", from.display()))?,
        };
        self.folder(&metadata, name)?;
        for entry in archive::entries(from)? {
            let own = archive::name(&entry)?;
            if own.starts_with('.') {
                continue;
            }
            let lease =
                Lease::take(&entry).with_context(|| format!("cannot read {}", entry.display()))?;
            if let Some(lease) = lease {
                self.tree(lease.path(), &format!("{name}/{own}"))?;
            }
        }
        Ok(())
    }

    fn folder(&mut self, metadata: &Metadata, name: &str) -> anyhow::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(metadata.permissions().mode() & 0o7777);
        header.set_size(0);
        Ok(self
            .tar
            .append_data(&mut header, format!("{name}/"), io::empty())?)
    }

    /// One file, as long as it is now: it may grow meanwhile.
    fn file(&mut self, from: &Path, name: &str) -> anyhow::Result<()> {
        let reading = || format!("cannot read {}", from.display());
        let file = File::open(from).with_context(reading)?;
        let metadata = file.metadata().with_context(reading)?;
        let mut header = tar::Header::new_ustar();
        header.set_mode(metadata.permissions().mode() & 0o7777);
        header.set_size(metadata.len());
        let mut digest = Digest::new(file.take(metadata.len()));
        self.tar.append_data(&mut header, name, &mut digest)?;
        anyhow::ensure!(
            digest.length() == metadata.len(),
            "{} became shorter while it was read",
            from.display()
        );
        self.checksums.insert(name.to_owned(), digest.text());
        Ok(())
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o600);
        header.set_size(bytes.len() as u64);
        Ok(self.tar.append_data(&mut header, name, bytes)?)
    }
}

fn is_gone(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Gives the archive its name: it is whole and on the disk then.
fn finish(unfinished: &Path, target: &Path) -> io::Result<u64> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, unfinished, CWD, target, RenameFlags::NOREPLACE)?;
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()?;
    Ok(target.metadata()?.len())
}
