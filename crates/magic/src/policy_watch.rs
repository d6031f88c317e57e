//! The policy file, followed while the runtime serves.
//!
//! What counts is the content: every event of the folders that the file lies in, and the clock as well
//! (network file systems send no events), only lead to another look. A content is taken when two looks
//! in a row find the same, so that a file that is just being written is not taken for a short policy
//! with its last rules missing. What is not a valid policy is told and changes nothing.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use magic_contract::Policy;
use magic_runtime::Runtime;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use serde_json::json;
use tokio::sync::Notify;

use crate::output::Output;
use crate::terminal;

/// How long the content must stay the same.
const QUIET: Duration = Duration::from_millis(150);
/// How often it is looked at without an event.
const INTERVAL: Duration = Duration::from_secs(10);
/// More than any policy has; the reader of policies refuses it with its reason.
const LARGEST_LOOK: u64 = 512 * 1024;

/// What a look at the file found: its bytes, or why there are none.
type Look = Result<Vec<u8>, String>;

/// A policy file that is being watched.
#[derive(Debug)]
struct PolicyWatch {
    path: PathBuf,
    changed: Arc<Notify>,
    last: Option<Look>,
    /// Stops when dropped. None where the system cannot watch; then there is the clock.
    _watcher: Option<RecommendedWatcher>,
}

impl PolicyWatch {
    fn start(path: &Path, changed: Arc<Notify>) -> Self {
        let watcher = watch(path, Arc::clone(&changed));
        if let Err(error) = &watcher {
            tracing::warn!(
                "{error:#}; the policy is looked at every {} s",
                INTERVAL.as_secs()
            );
        }
        Self {
            path: path.to_owned(),
            changed,
            last: None,
            _watcher: watcher.ok(),
        }
    }

    /// What the file holds, once that is settled and other than last time.
    async fn next(&mut self) -> Look {
        loop {
            let mut found = self.look().await;
            if self.last.as_ref() != Some(&found) {
                loop {
                    tokio::time::sleep(QUIET).await;
                    let again = self.look().await;
                    if again == found {
                        break;
                    }
                    found = again;
                }
                if self.last.as_ref() != Some(&found) {
                    self.last = Some(found.clone());
                    return found;
                }
            }
            // Whether it was the event or the clock makes no difference.
            let _ = tokio::time::timeout(INTERVAL, self.changed.notified()).await;
        }
    }

    async fn look(&self) -> Look {
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            let file = std::fs::File::open(&path).map_err(|error| error.to_string())?;
            file.take(LARGEST_LOOK)
                .read_to_end(&mut bytes)
                .map_err(|error| error.to_string())?;
            Ok(bytes)
        })
        .await
        .unwrap_or_else(|error| Err(error.to_string()))
    }
}

/// Watches the folders, not the file: who replaces a file by renaming takes away what was watched.
fn watch(path: &Path, changed: Arc<Notify>) -> anyhow::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // Our own looks are accesses.
        if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
            changed.notify_one();
        }
    })
    .context("cannot watch files")?;
    let mut folders = vec![folder_of(path)];
    // A link leads to another folder, where the content changes.
    folders.extend(path.canonicalize().ok().map(|real| folder_of(&real)));
    folders.dedup();
    for folder in folders {
        watcher
            .watch(&folder, RecursiveMode::NonRecursive)
            .with_context(|| format!("cannot watch {}", folder.display()))?;
    }
    Ok(watcher)
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Puts every valid content of the file into force, for ever. Without a file there is nothing to do. Whoever notifies `changed` has
/// it looked at.
pub(crate) async fn follow(
    path: Option<PathBuf>,
    runtime: Runtime,
    output: Output,
    changed: Arc<Notify>,
) -> anyhow::Result<()> {
    let Some(path) = path else {
        return std::future::pending().await;
    };
    let mut watch = PolicyWatch::start(&path, changed);
    loop {
        let found = watch.next().await;
        take(&path, found, &runtime, output)?;
    }
}

fn take(path: &Path, found: Look, runtime: &Runtime, output: Output) -> anyhow::Result<()> {
    let shown = path.display().to_string();
    let text = match found {
        Ok(text) => text,
        Err(error) => {
            let message = format!("cannot read the policy {shown}: {error}");
            return refuse(&message, &json!([]), "", output);
        }
    };
    match Policy::parse(&text, &shown) {
        // At the first look, and when only a comment was written.
        Ok(policy) if *runtime.policy() == policy => Ok(()),
        Ok(policy) => {
            let change = runtime.set_policy(policy);
            if output.is_json() {
                return output.json(&json!({ "event": "policy", "change": change }));
            }
            output.talk(&format!("policy {} ({shown}) is in force", change.name));
            for refused in &change.refused {
                output.talk(&format!(
                    "  {} {} is refused by it; what it may not do any more is E2002",
                    refused.controller, refused.version
                ));
            }
            for what in &change.deferred {
                output.talk(&match *what {
                    "layers" => "  its sandbox layers hold after a restart".to_owned(),
                    what => format!("  its {what} holds for what is deployed from now on"),
                });
            }
            Ok(())
        }
        Err(problems) => refuse(
            &format!("{shown} is not a valid policy"),
            &json!(problems),
            problems.render(terminal::color()).trim_end(),
            output,
        ),
    }
}

fn refuse(
    message: &str,
    problems: &serde_json::Value,
    rendered: &str,
    output: Output,
) -> anyhow::Result<()> {
    tracing::error!(%problems, "{message}; the policy before stays in force");
    if output.is_json() {
        return output.json(&json!({
            "event": "policy_refused", "message": message, "problems": problems,
        }));
    }
    if !output.is_log() {
        if !rendered.is_empty() {
            output.talk(rendered);
        }
        output.talk(&format!("{message}; the policy before stays in force"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn next(watch: &mut PolicyWatch) -> Look {
        tokio::time::timeout(Duration::from_secs(30), watch.next())
            .await
            .expect("a change within the deadline")
    }

    /// Written in place, replaced by renaming, replaced behind a link, gone and back: all are seen.
    #[tokio::test]
    async fn every_way_of_writing_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let real = folder.path().join("elsewhere");
        std::fs::create_dir(&real).expect("a folder");
        std::fs::write(real.join("policy.yaml"), "one").expect("a file");
        let path = folder.path().join("policy.yaml");
        std::os::unix::fs::symlink(real.join("policy.yaml"), &path).expect("a link");
        let mut watch = PolicyWatch::start(&path, Arc::default());
        assert_eq!(next(&mut watch).await, Ok(b"one".to_vec()));
        std::fs::write(real.join("policy.yaml"), "two").expect("a file");
        assert_eq!(next(&mut watch).await, Ok(b"two".to_vec()));
        std::fs::write(folder.path().join("new"), "three").expect("a file");
        std::fs::rename(folder.path().join("new"), &path).expect("renamed");
        assert_eq!(next(&mut watch).await, Ok(b"three".to_vec()));
        std::fs::remove_file(&path).expect("a file");
        assert!(next(&mut watch).await.is_err());
        std::fs::write(&path, "three").expect("a file");
        assert_eq!(next(&mut watch).await, Ok(b"three".to_vec()));
    }
}
