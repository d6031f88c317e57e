//! Takes one wheel apart: a confined interpreter reads it, and what it writes is
//! read as a stranger's archive.
//!
//! A wheel is a zip that anybody may have written, and unpacking such files is
//! where unpackers break. So the code that understands the format runs confined
//! and holds nothing but that file. What comes back is a tar stream that is
//! judged entry by entry; whatever the program was made to do, it can only lead
//! to files below the folder, within bounds.

use super::PackageError;
use super::requirement::{Pin, normalized};
use crate::bundle::keep;
use crate::bundle::name::Names;
use crate::bundle::unpack::{ArchiveError, Bounds, unpack_tar};
use crate::launcher::Launcher;
use crate::process::Process;
use crate::template::output_pipe;
use magic_sandbox::{Descriptors, Leaf, Limits};
use rustix::pipe::{PipeFlags, pipe_with};
use serde::Deserialize;
use serde_json::json;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// The program inside.
const PROGRAM: &str = include_str!("unpack.py");
/// How long one wheel may take: the largest there are have thousands of modules to compile.
const PATIENCE: Duration = Duration::from_secs(300);
/// What the program may use.
const LIMITS: Limits = Limits {
    memory_bytes: Some(768 << 20),
    cpu_millicores: Some(2_000),
    pids: Some(8),
};
/// How much of the program's complaint is read.
const TALK: u64 = 4_096;

/// What a wheel says of itself.
#[derive(Debug, Deserialize)]
pub(super) struct Told {
    pub(super) name: String,
    pub(super) version: String,
    /// The packages that it needs on this interpreter.
    pub(super) requires: Vec<String>,
}

/// What has been taken apart so far.
#[derive(Debug)]
pub(super) struct Apart {
    pub(super) names: Names,
    /// What the wheels that follow may be.
    pub(super) left: Bounds,
}

/// A running program; ended, and its group taken back, when dropped.
struct Running {
    process: Arc<Process>,
    leaf: Option<Leaf>,
    launcher: Arc<Launcher>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.launcher
            .cleaner
            .template(self.process.clone(), self.leaf.take());
    }
}

/// Takes the wheel apart into the folder `files`.
pub(super) async fn take_apart(
    launcher: &Arc<Launcher>,
    wheel: &Path,
    pin: &Pin,
    files: PathBuf,
    apart: Apart,
) -> Result<(Told, Apart), PackageError> {
    let refused = |reason: String| PackageError::Wheel {
        package: pin.name.clone(),
        reason,
    };
    // The first entry of the stream, which is not a file of the wheel.
    let metadata = format!(".magic/{}.json", pin.name);
    let request = json!({"extras": pin.extras, "metadata": metadata}).to_string();
    let (running, stream, mut talk) = start(launcher, wheel, request).await?;
    let reading = tokio::task::spawn_blocking(move || read(stream, &metadata, &files, apart));
    let complaint = async {
        let mut text = Vec::new();
        // What it says helps a person, if it can be read at all.
        let _ = (&mut talk).take(TALK).read_to_end(&mut text).await;
        text
    };
    let work = async { tokio::join!(reading, complaint) };
    let ended = tokio::time::timeout(PATIENCE, work).await;
    // With the process ends the stream, and with the stream its reader.
    drop(running);
    let (read, complaint) =
        ended.map_err(|_| refused(format!("it could not be taken apart within {PATIENCE:?}")))?;
    let read = read.map_err(|error| PackageError::Keep(io::Error::other(error)))?;
    match read {
        Ok(read) => Ok(read),
        Err(ArchiveError::Kept(error)) => Err(PackageError::Keep(error)),
        // A stream that ends in the middle is a program that gave up.
        Err(error @ (ArchiveError::Truncated(_) | ArchiveError::Stream(_))) => {
            let talk = String::from_utf8_lossy(&complaint);
            let said = talk.lines().rfind(|line| !line.trim().is_empty());
            let said: Option<String> = said.map(|line| {
                line.chars()
                    .take(200)
                    .flat_map(char::escape_debug)
                    .collect()
            });
            Err(refused(said.unwrap_or_else(|| error.to_string())))
        }
        Err(error) => Err(refused(error.to_string())),
    }
}

async fn start(
    launcher: &Arc<Launcher>,
    wheel: &Path,
    request: String,
) -> Result<(Running, File, tokio::net::unix::pipe::Receiver), PackageError> {
    let failed = |error: io::Error| PackageError::Sandbox(error.to_string());
    let (stream, stream_end) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
    let (talk, talk_end) = output_pipe().map_err(failed)?;
    let plan = launcher.wheel_plan(PROGRAM, wheel, request);
    let spawning = launcher.clone();
    let spawned = tokio::task::spawn_blocking(move || {
        let leaf = spawning
            .leaves
            .take(&LIMITS)
            .map_err(|error| error.explanation())?;
        let null = File::open("/dev/null").map_err(|error| error.to_string())?;
        let descriptors = Descriptors::new(null.into(), stream_end, talk_end);
        match spawning.spawner.spawn(&plan, descriptors, leaf.as_ref()) {
            Ok(confined) => Ok((leaf, confined)),
            Err(error) => {
                leaf.into_iter()
                    .for_each(|leaf| spawning.leaves.give_back(leaf));
                Err(error.explanation())
            }
        }
    });
    let (leaf, confined) = spawned
        .await
        .map_err(|error| PackageError::Sandbox(error.to_string()))?
        .map_err(PackageError::Sandbox)?;
    let process = Process::new(confined.pidfd).map_err(failed)?;
    let running = Running {
        process: Arc::new(process),
        leaf,
        launcher: launcher.clone(),
    };
    Ok((running, stream.into(), talk))
}

/// Reads the stream into the folder.
fn read(
    stream: File,
    metadata: &str,
    files: &Path,
    mut apart: Apart,
) -> Result<(Told, Apart), ArchiveError> {
    let mut told = None;
    let (mut count, mut bytes) = (0, 0);
    // The names of all wheels lie in one folder, so they must go together.
    unpack_tar(stream, apart.left, &mut apart.names, |name, content| {
        if name == metadata {
            told = Some(content);
            return Ok(());
        }
        if runs_by_itself(&name) {
            return Ok(());
        }
        count += 1;
        bytes += content.len() as u64;
        keep::write_file(files, &name, &content)
    })?;
    let told: Option<Told> = told.and_then(|content| serde_json::from_slice(&content).ok());
    let mut told = told.ok_or(ArchiveError::Truncated(count))?;
    told.name = normalized(&told.name);
    apart.left.files = apart.left.files.saturating_sub(count);
    apart.left.bytes = apart.left.bytes.saturating_sub(bytes);
    Ok((told, apart))
}

/// What an interpreter elsewhere runs without being asked to, and what is not
/// meant for the import path.
fn runs_by_itself(name: &str) -> bool {
    let name = name.strip_prefix("__pycache__/").unwrap_or(name);
    let (first, is_file) = match name.split_once('/') {
        Some((first, _)) => (first, false),
        None => (name, true),
    };
    let module = first.split('.').next().unwrap_or(first);
    matches!(module, "sitecustomize" | "usercustomize")
        || (is_file && first.ends_with(".pth"))
        || first.ends_with(".data")
}

#[cfg(test)]
mod tests {
    use super::runs_by_itself;

    #[test]
    fn what_runs_at_a_start_is_left_out_and_its_neighbours_are_not() {
        for (name, expected) in [
            ("evil.pth", true),
            ("package/model.pth", false),
            ("sitecustomize.py", true),
            ("sitecustomize/__init__.py", true),
            ("sitecustomize.cpython-311-x86_64-linux-gnu.so", true),
            ("__pycache__/usercustomize.cpython-311.pyc", true),
            ("package/sitecustomize.py", false),
            ("sitecustomized.py", false),
            ("a-1.0.data/scripts/run", true),
            ("a-1.0.dist-info/METADATA", false),
            ("conftest.py", false),
        ] {
            assert_eq!(runs_by_itself(name), expected, "{name}");
        }
    }
}
