//! `magic run NAME|PATH`: one request, in the same sandbox as in service, without a server.
//!
//! The result is the only thing on standard output. What the controller logs and prints goes to standard error as it comes.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use magic_contract::{ErrorCode, Failure};
use magic_runtime::{Answer, Caller, Failed, Request, Runtime};
use magic_store::{Followed, Subscription};
use serde_json::json;

use crate::cli::Ended;
use crate::commands::logs::shown_line;
use crate::controller_folder;
use crate::output::Output;
use crate::runtime_start;
use crate::services;
use crate::settings::Settings;

/// The largest input that is read, in bytes: what the server takes too.
const LARGEST_INPUT: u64 = 8 * 1024 * 1024;

/// The arguments of `magic run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The controller's name, or its folder
    #[arg(value_name = "NAME|PATH")]
    controller: String,
    /// The input: JSON, @FILE, or - for standard input
    #[arg(long, short, value_name = "JSON|@FILE|-", default_value = "{}")]
    input: String,
    /// The folder in which names are looked up
    #[arg(long, value_name = "FOLDER")]
    controllers: Option<PathBuf>,
}

pub(crate) async fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let controllers = arguments
        .controllers
        .as_ref()
        .unwrap_or(&settings.controllers);
    let folder = match controller_folder::find(&arguments.controller, controllers) {
        Ok(folder) => folder,
        Err(error) => {
            let failure = Failure::new(ErrorCode::UnknownController, format!("{error:#}"));
            return refuse(&failure, output);
        }
    };
    let body = read_input(&arguments.input)?;
    let runtime = runtime_start::start(settings, services::for_run(settings)).await?;
    let ended = deploy_and_invoke(&runtime, &folder, body, output).await;
    runtime.stop().await;
    let (outcome, mut following) = match ended {
        Ok(ended) => ended,
        Err(failure) => return refuse(&failure, output),
    };
    // The process is gone, and what it wrote last is in its pipes; it is read by tasks that nobody can be asked to wait for.
    // Stopping has waited for the last line; what is there is all there is.
    while let Ok(Some(followed)) = tokio::time::timeout(Duration::ZERO, following.next()).await {
        talk_lines(followed, output);
    }
    match outcome {
        Ok(answer) => {
            if output.is_json() {
                output.json(&json!({
                    "result": answer.result,
                    "request_id": answer.request_id,
                    "duration_ms": milliseconds(answer.duration),
                    "controller": answer.controller,
                    "version": answer.version,
                }))?;
            } else {
                output.data(&serde_json::to_string_pretty(&answer.result)?)?;
            }
            Ok(Ended::Done)
        }
        Err(failed) => refuse(&failed.failure, output),
    }
}

/// Deploys, runs once, and shows log lines as they come. The subscription is given back for those that come later.
async fn deploy_and_invoke(
    runtime: &Runtime,
    folder: &Path,
    body: Bytes,
    output: Output,
) -> Result<(Result<Answer, Failed>, Subscription), Failure> {
    let deployed = runtime.deploy(folder).await?;
    let mut following = runtime.logs().subscribe(&deployed.name, Some(0));
    let request = Request {
        request_id: format!("req_{}", ulid::Ulid::generate()),
        controller: deployed.name,
        version: None,
        body,
        caller: Caller::anonymous(),
        idempotency_key: None,
        trace: None,
        started_by: None,
    };
    let mut invocation = pin!(runtime.invoke(request));
    loop {
        tokio::select! {
            // Lines first, so that they come before the result that they led to.
            biased;
            Some(followed) = following.next() => talk_lines(followed, output),
            outcome = invocation.as_mut() => return Ok((outcome, following)),
        }
    }
}

fn talk_lines(followed: Followed, output: Output) {
    match followed {
        Followed::Missed(missed) => {
            output.talk(&format!("({missed} lines were dropped)"));
        }
        Followed::Lines(lines) => {
            for line in lines {
                output.talk(&shown_line(&line));
            }
        }
    }
}

fn refuse(failure: &Failure, output: Output) -> anyhow::Result<Ended> {
    if output.is_json() {
        output.json(&json!({ "error": {
            "code": failure.code,
            "category": failure.code.category().as_str(),
            "message": failure.message,
            "details": failure.details,
        }}))?;
    } else {
        runtime_start::talk_failure(failure, output);
    }
    if let Some(internal) = &failure.internal {
        output.talk(&format!("  ({})", crate::terminal::escaped(internal)));
    }
    Ok(Ended::Refused)
}

fn read_input(given: &str) -> anyhow::Result<Bytes> {
    let mut text = Vec::new();
    let source: (Box<dyn Read>, String) = if given == "-" {
        (Box::new(std::io::stdin()), "standard input".to_owned())
    } else if let Some(path) = given.strip_prefix('@') {
        let file = std::fs::File::open(path).with_context(|| format!("cannot read {path}"))?;
        (Box::new(file), path.to_owned())
    } else {
        return Ok(Bytes::copy_from_slice(given.as_bytes()));
    };
    let (reader, name) = source;
    reader
        .take(LARGEST_INPUT + 1)
        .read_to_end(&mut text)
        .with_context(|| format!("cannot read {name}"))?;
    if text.len() as u64 > LARGEST_INPUT {
        bail!("{name} is larger than {} MiB", LARGEST_INPUT / 1024 / 1024);
    }
    Ok(text.into())
}

/// Whole microseconds as milliseconds.
fn milliseconds(duration: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "no run takes 285 years")]
    let microseconds = duration.as_micros() as f64;
    microseconds / 1000.0
}
