//! `magic audit verify`: is the log as it was written, and where does it first differ?
//!
//! The head is asked for unless somebody says that there is none, because without it a log that was cut off looks whole. The
//! public key beside the log proves only that log and key belong together; whoever may have replaced both needs to be caught
//! with a copy of the key, so the answer always says which key it was.
//!
//! Nodes that share a state each have a log of their own. Their data folders, or copies of them, can be named in one call, which
//! fails if any of them does.

use std::path::PathBuf;

use anyhow::Context;
use magic_store::state::State;
use magic_store::{
    AuditPlaces, AuditPublicKey, AuditVerifyError, ShownHead, Verified, verify_audit_against,
};
use serde_json::{Value, json};

use super::LogArguments;
use crate::cli::Ended;
use crate::output::Output;
use crate::settings::Settings;
use crate::terminal::escaped;

/// The arguments of `magic audit verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Data folders of nodes, or copies of them, instead of the one of the settings; each is held against the head and the key in it
    #[arg(value_name = "DATA", conflicts_with_all = ["log", "head", "public_key"])]
    nodes: Vec<PathBuf>,
    #[command(flatten)]
    log: LogArguments,
    /// The head that the log must reach, instead of the one in the data folder
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// Verify without a head; a cut-off end is not seen then
    #[arg(long, conflicts_with = "head")]
    no_head: bool,
    /// Also hold the log against where it ended when the runtime's state (MAGIC_STORE_URL) was shown it last
    #[arg(long)]
    heads: bool,
    /// A copy of the public key that was kept elsewhere, instead of the one in the data folder
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
}

pub(super) fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let all_places = match arguments.nodes.as_slice() {
        [] => vec![arguments.log.places(settings)?],
        folders => folders
            .iter()
            .map(|folder| {
                AuditPlaces::found_below(folder)
                    .with_context(|| {
                        format!("cannot look for the audit log in {}", folder.display())
                    })?
                    .with_context(|| format!("there is no audit log in {}", folder.display()))
            })
            .collect::<anyhow::Result<_>>()?,
    };
    let shown = if arguments.heads {
        shown_heads(settings)?
    } else {
        Vec::new()
    };
    let mut nodes = Vec::new();
    let mut told = Vec::new();
    let mut ended = Ended::Done;
    for places in &all_places {
        let public_key = arguments
            .public_key
            .as_ref()
            .unwrap_or(&places.public_key_file);
        let head = arguments.head.as_ref().unwrap_or(&places.head_file);
        let key = AuditPublicKey::read(public_key)?;
        let head = (!arguments.no_head).then_some(head.as_path());
        match verify_audit_against(&places.directory, head, &key, &shown) {
            Ok(verified) => {
                if arguments.heads {
                    compare(&verified, output);
                }
                told.push(report(
                    &verified,
                    &key,
                    arguments.public_key.is_some(),
                    output,
                )?);
                nodes.push(verified.node);
            }
            Err(error) if error.is_about_the_log() => {
                if arguments.nodes.len() > 1 {
                    let folder = places.directory.display().to_string();
                    output.talk(&format!("in {}:", escaped(&folder)));
                }
                told.push(refuse(&error, &key, output)?);
                ended = Ended::Refused;
            }
            Err(error) => return Err(error.into()),
        }
    }
    if output.is_json() {
        // One log is told as it is, and several as a list.
        match <[Value; 1]>::try_from(told) {
            Ok([one]) => output.json(&one)?,
            Err(told) => output.json(&json!({"valid": ended == Ended::Done, "logs": told}))?,
        }
    }
    for other in shown.iter().filter(|shown| !nodes.contains(&shown.node)) {
        output.talk(&format!(
            "not verified here: the log of {}, which the state was shown up to {}",
            escaped(&other.node),
            other.sequence
        ));
    }
    Ok(ended)
}

/// Where the logs of all nodes ended when they told so last.
fn shown_heads(settings: &Settings) -> anyhow::Result<Vec<ShownHead>> {
    let reading = async {
        let state = State::open(crate::services::state_options(settings)).await?;
        let heads = state.audit_heads().await;
        state.close().await;
        anyhow::Ok(heads?)
    };
    let heads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?
        .block_on(reading)
        .context("cannot ask the runtime's state where the audit logs end")?;
    Ok(heads
        .into_iter()
        .filter_map(|head| {
            Some(ShownHead {
                node: head.node,
                sequence: head.sequence.try_into().ok()?,
                hash: head.hash,
            })
        })
        .collect())
}

/// Says what the state was shown of this log.
fn compare(verified: &Verified, output: Output) {
    match verified.seen {
        Some(seen) => output.talk(&format!(
            "the same as the runtime's state was shown, which is up to {seen}"
        )),
        None => output.talk(&format!(
            "the runtime's state was never shown a log of {}",
            escaped(&verified.node)
        )),
    }
}

/// Tells a reader about a log that is whole, and gives what a program is told.
fn report(
    verified: &Verified,
    key: &AuditPublicKey,
    pinned: bool,
    output: Output,
) -> anyhow::Result<Value> {
    let told = json!({"valid": true, "key": key.to_string(), "verified": verified});
    if output.is_json() {
        return Ok(told);
    }
    output.data(&format!(
        "verified: {} records and {} checkpoints of {}, up to {} with hash {}",
        verified.records, verified.checkpoints, verified.node, verified.last, verified.hash
    ))?;
    match verified.head {
        Some(head) => output.talk(&format!("complete up to {head}, as the head says")),
        None => output.talk("without a head: whether records are missing at the end is not known"),
    }
    if verified.unsigned > 0 {
        output.talk(&format!(
            "the last {} records are not signed yet; only the chain and the head speak for them",
            verified.unsigned
        ));
    }
    if verified.unfinished_bytes > 0 {
        output.talk(&format!(
            "{} bytes after the last record are an unfinished line: it is being written, or a crash left it; \
             a start of the server cuts it off and keeps it",
            verified.unfinished_bytes
        ));
    }
    output.talk(&format!("signed with {key}"));
    if !pinned {
        output.talk(
            "whoever replaces the log can replace the key beside it: compare it, or name a copy that you kept with --public-key FILE",
        );
    }
    Ok(told)
}

/// The same for a log that is not.
fn refuse(error: &AuditVerifyError, key: &AuditPublicKey, output: Output) -> anyhow::Result<Value> {
    let bad = match error {
        AuditVerifyError::Bad(bad) => Some(bad),
        _ => None,
    };
    let told = json!({
        "valid": false, "key": key.to_string(), "error": error.to_string(), "first_bad": bad,
    });
    if output.is_json() {
        return Ok(told);
    }
    match bad {
        Some(bad) => {
            output.data(&format!("first bad record: {}", bad.seq))?;
            output.talk(&format!("error: {}", escaped(&bad.what)));
            output.talk(&format!(
                "  it shows in {} line {}",
                escaped(&bad.segment),
                bad.line
            ));
            output.talk(&format!(
                "  = help: everything before {} is as it was written; keep the folder as it is, and compare it with a backup",
                bad.seq
            ));
        }
        None => {
            output.talk(&format!("error: {}", escaped(&error.to_string())));
            if matches!(error, AuditVerifyError::HeadMissing(_)) {
                output.talk(
                    "  = help: name a head that you kept with --head FILE, or verify what is there with --no-head",
                );
            }
        }
    }
    Ok(told)
}
