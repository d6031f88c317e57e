//! `magic restore FILE`: a data folder as it was when `magic backup` wrote the archive.
//!
//! The archive is unpacked beside the data folder and judged there; only when every checksum is right and the state opens does
//! one rename put it into place. A folder that was there before is moved aside and never deleted. Names in an archive are
//! judged before anything is written: it may come from anywhere, and this may run as root.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use magic_contract::DatabaseUrl;
use magic_store::state::{State, StateOptions};
use rustix::fs::{CWD, FlockOperation, RenameFlags, renameat_with};
use serde_json::json;

use super::archive::{self, Manifest};
use crate::cli::{Ended, Refused};
use crate::output::Output;
use crate::settings::Settings;
use crate::terminal::escaped;

mod unpack;

use unpack::unpack;

/// The arguments of `magic restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The archive that `magic backup` wrote
    file: PathBuf,
    /// Restore although the data folder holds something, which is moved aside
    #[arg(long)]
    force: bool,
}

/// What came of it.
struct Restored {
    manifest: Manifest,
    files: usize,
    /// Where the audit log went, if it cannot go on.
    log_aside: Option<PathBuf>,
    /// Where the former data folder went.
    former: Option<PathBuf>,
}

pub(crate) async fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let restored = restore(arguments, settings)
        .await
        .context(Refused("nothing was restored"))?;
    if output.is_json() {
        output.json(&json!({
            "backup": restored.manifest, "files": restored.files, "data_dir": settings.data_dir,
            "audit_log_aside": restored.log_aside, "former_data_dir": restored.former,
        }))?;
        return Ok(Ended::Done);
    }
    output.data(&format!(
        "restored {} files of node {} as of {} into {}",
        restored.files,
        escaped(&restored.manifest.node),
        restored.manifest.made_at,
        settings.data_dir.display()
    ))?;
    if let Some(aside) = &restored.log_aside {
        let aside = aside.display();
        output.talk(&format!(
            "the audit log is kept in {aside}, and the next start begins another, because its private key was not in the backup; \
             verify it with: magic audit verify --log {aside}/audit --head {aside}/audit-head/{}.json --public-key {aside}/{}",
            escaped(&restored.manifest.node),
            archive::PUBLIC_KEY
        ));
    }
    if let Some(former) = &restored.former {
        output.talk(&format!("what was there before is in {}", former.display()));
    }
    if !restored.manifest.has_state {
        output.talk(
            "the state was in PostgreSQL; restore it there with: pg_restore --dbname=DATABASE FILE",
        );
    }
    Ok(Ended::Done)
}

async fn restore(arguments: &Arguments, settings: &Settings) -> anyhow::Result<Restored> {
    let data = &settings.data_dir;
    let parent = match data.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let occupied = see_that_it_is_free(settings, arguments.force)?;
    std::fs::create_dir_all(&parent)
        .with_context(|| format!("cannot make {}", parent.display()))?;
    // In the same folder, so that one rename puts it into place. Gone if that does not come to pass.
    let staging = tempfile::Builder::new()
        .prefix(".magic-restore-")
        .tempdir_in(&parent)
        .with_context(|| format!("cannot write in {}", parent.display()))?;
    let root = staging.path().join("data");
    let file = arguments.file.clone();
    let unpacking = tokio::task::spawn_blocking({
        let root = root.clone();
        move || unpack(File::open(&file)?, &root)
    });
    let (manifest, files) = unpacking
        .await?
        .with_context(|| format!("{} is no whole backup", arguments.file.display()))?;
    let log_aside = set_log_aside(&root, &manifest)?;
    if manifest.has_state {
        let place = settings.store_url.file().with_context(|| {
            "the backup holds a state that is a file, and MAGIC_STORE_URL names a server; unset it"
        })?;
        let relative = place.strip_prefix(data).with_context(|| {
            format!(
                "MAGIC_STORE_URL names {}, which is not in the data folder, where a backup is restored; unset it, or move the file there and back",
                place.display()
            )
        })?;
        let state = root.join(relative);
        if relative != Path::new("state.db") {
            if let Some(folder) = state.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::rename(root.join("state.db"), &state)?;
        }
        see_that_it_opens(&state, log_aside.is_some().then_some(&manifest.node)).await?;
    }
    let former = put_into_place(&root, data, &parent, occupied)?;
    Ok(Restored {
        log_aside: log_aside.map(|aside| data.join(aside)),
        manifest,
        files,
        former,
    })
}

/// Whether the data folder holds something.
///
/// # Errors
/// When a server uses it, or it holds something and nobody said that this does not matter.
fn see_that_it_is_free(settings: &Settings, force: bool) -> anyhow::Result<bool> {
    let data = &settings.data_dir;
    if UnixStream::connect(&settings.socket).is_ok() {
        bail!(
            "a server listens on {}; stop it first",
            settings.socket.display()
        );
    }
    // Whoever serves from there holds its audit log.
    if let Ok(log) = File::open(data.join("audit"))
        && rustix::fs::flock(&log, FlockOperation::NonBlockingLockExclusive).is_err()
    {
        bail!(
            "a server uses the data folder {}; stop it first",
            data.display()
        );
    }
    let occupied = !archive::entries(data)?.is_empty();
    if occupied && !force {
        bail!(
            "the data folder {} is not empty; with --force it is moved aside",
            data.display()
        );
    }
    Ok(occupied)
}

/// Moves a log whose key is not there out of the way of the next start; where to, below the data folder.
fn set_log_aside(root: &Path, manifest: &Manifest) -> anyhow::Result<Option<PathBuf>> {
    if root.join(archive::PRIVATE_KEY).exists() || !root.join("audit").exists() {
        return Ok(None);
    }
    let made = manifest.made_at.strftime("%Y%m%dT%H%M%SZ").to_string();
    let aside = Path::new("audit-before").join(made);
    DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(root.join(&aside))?;
    for name in ["audit", "audit-head", archive::PUBLIC_KEY] {
        if root.join(name).exists() {
            std::fs::rename(root.join(name), root.join(&aside).join(name))?;
        }
    }
    Ok(Some(aside))
}

/// Opens the restored state once, and forgets where a log ended that does not go on.
async fn see_that_it_opens(file: &Path, ended: Option<&String>) -> anyhow::Result<()> {
    let state = State::open(StateOptions::new(DatabaseUrl::sqlite(file)))
        .await
        .context("the state of the backup does not open")?;
    let outcome = async {
        state.snapshot().await?;
        if let Some(node) = ended {
            state.forget_audit_head(node).await?;
        }
        anyhow::Ok(())
    };
    let outcome = outcome.await;
    state.close().await;
    outcome
}

/// One rename, of something that is on the disk.
fn put_into_place(
    root: &Path,
    data: &Path,
    parent: &Path,
    occupied: bool,
) -> anyhow::Result<Option<PathBuf>> {
    let placing = || format!("cannot put it into place as {}", data.display());
    rustix::fs::syncfs(File::open(root)?).context("cannot write it to the disk")?;
    let former = if occupied {
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%fZ");
        let mut former = data.as_os_str().to_owned();
        former.push(format!(".before-{now}"));
        let former = PathBuf::from(former);
        // Both at once, so that there is no moment without a data folder.
        renameat_with(CWD, root, CWD, data, RenameFlags::EXCHANGE)
            .map_err(io::Error::from)
            .with_context(placing)?;
        std::fs::rename(root, &former).with_context(placing)?;
        Some(former)
    } else {
        std::fs::rename(root, data).with_context(placing)?;
        None
    };
    File::open(parent)?.sync_all()?;
    Ok(former)
}
