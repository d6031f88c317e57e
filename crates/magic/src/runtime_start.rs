//! Starting a runtime in this process, and telling failures to people.

use anyhow::Context;
use magic_contract::Failure;
use magic_runtime::{Runtime, RuntimeOptions, Services};
use serde_json::Value;

use crate::cli::Refused;
use crate::output::Output;
use crate::settings::Settings;
use crate::terminal::{color, escaped};

/// Starts a runtime under the settings, with back ends.
///
/// # Errors
/// When the policy cannot be read, a back end cannot be used, or the runtime refuses to start; the message says which layer, why,
/// and what to type.
pub(crate) async fn start(
    settings: &Settings,
    services: impl Future<Output = anyhow::Result<Services>>,
) -> anyhow::Result<Runtime> {
    let options = options(settings)?;
    private_folder(settings)?;
    let services = services
        .await
        .context(Refused("the runtime refuses to start"))?;
    start_with(RuntimeOptions {
        services: Some(services),
        ..options
    })
    .await
}

/// Starts a runtime that imports and runs nothing else, so that it needs no back ends.
///
/// # Errors
/// As [`start`].
pub(crate) async fn start_bare(settings: &Settings) -> anyhow::Result<Runtime> {
    start_with(options(settings)?).await
}

async fn start_with(options: RuntimeOptions) -> anyhow::Result<Runtime> {
    Runtime::start(options)
        .await
        // Its text says everything, causes included.
        .map_err(|error| anyhow::anyhow!("{error}"))
        .context(Refused("the runtime refuses to start"))
}

/// Makes the data folder before anything is opened in it, so that nobody else can have put something there, and makes its name
/// durable.
fn private_folder(settings: &Settings) -> anyhow::Result<()> {
    magic_store::create_directory(&settings.data_dir).with_context(|| {
        format!(
            "cannot make the data folder {}; name another with --data-dir",
            settings.data_dir.display()
        )
    })
}

/// What the settings mean to a runtime.
///
/// # Errors
/// When the policy cannot be read.
pub(crate) fn options(settings: &Settings) -> anyhow::Result<RuntimeOptions> {
    let base = RuntimeOptions::development(settings.data_dir.clone());
    Ok(RuntimeOptions {
        interpreter: settings.python.clone(),
        wheels: settings.wheels.clone(),
        policy: settings.read_policy()?,
        ..base
    })
}

/// Runs a future to its end, for commands that are otherwise synchronous.
///
/// # Errors
/// What the future ends with, or that the machinery cannot start.
pub(crate) fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(future)
}

/// A failure for people: the code, the sentence, what details help, and what to do.
pub(crate) fn talk_failure(failure: &Failure, output: Output) {
    let (bold, plain) = match color() {
        magic_contract::Color::Always => ("\u{1b}[1;31m", "\u{1b}[0m"),
        magic_contract::Color::Never => ("", ""),
    };
    output.talk(&format!(
        "{bold}error[{}]{plain}: {}",
        failure.code.as_str(),
        escaped(&failure.message)
    ));
    for (key, value) in &failure.details {
        match value {
            // What people read line by line is shown line by line.
            Value::String(text) if text.contains('\n') => {
                output.talk(&format!("  {key}:"));
                for line in text.lines() {
                    output.talk(&format!("    {}", escaped(line)));
                }
            }
            Value::String(text) => output.talk(&format!("  {key}: {}", escaped(text))),
            Value::Array(items) if key == "violations" && items.len() < 2 => {}
            other => output.talk(&format!("  {key}: {}", escaped(&other.to_string()))),
        }
    }
    output.talk(&format!("  = help: {}", failure.code.resolution()));
}
