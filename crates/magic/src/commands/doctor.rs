//! `magic doctor`: what this machine can enforce, tried for real, and what to type where it cannot.
//!
//! The interpreter is looked for and a program is run in the sandbox that tries to get out. If the runtime refuses to start, the
//! refusal is shown, and the layers as far as the kernel can be asked without running anything.

use comfy_table::{Table, presets};
use magic_contract::Environment;
use magic_runtime::{Interpreter, Runtime, SelfTest};
use serde_json::{Value, json};

use crate::cli::Ended;
use crate::output::Output;
use crate::runtime_start;
use crate::settings::Settings;

/// The arguments of `magic doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// What was found.
#[derive(Debug)]
struct Examination {
    interpreter: Result<Interpreter, String>,
    self_test: Result<SelfTest, String>,
}

pub(crate) async fn run(
    _arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let options = runtime_start::options(settings)?;
    let named = settings.python.clone();
    let interpreter =
        tokio::task::spawn_blocking(move || Interpreter::find(named.as_deref())).await?;
    let self_test = match Runtime::start(options).await {
        Ok(runtime) => {
            let found = runtime.self_test().await;
            runtime.stop().await;
            Ok(found)
        }
        Err(error) => Err(error.to_string()),
    };
    let examination = Examination {
        interpreter: interpreter.map_err(|error| error.to_string()),
        self_test,
    };
    if output.is_json() {
        output.json(&examination.to_json(settings))?;
    } else {
        examination.report(settings, output)?;
    }
    Ok(if examination.is_healthy() {
        Ended::Done
    } else {
        Ended::Refused
    })
}

impl Examination {
    fn is_healthy(&self) -> bool {
        self.interpreter.is_ok() && self.self_test.as_ref().is_ok_and(|found| found.passed)
    }

    fn to_json(&self, settings: &Settings) -> Value {
        let interpreter = match &self.interpreter {
            Ok(found) => json!({
                "found": true, "path": found.executable, "version": shown_version(found),
            }),
            Err(problem) => json!({ "found": false, "problem": problem }),
        };
        let mut report = json!({
            "healthy": self.is_healthy(),
            "environment": settings.environment.as_str(),
            "interpreter": interpreter,
        });
        let sandbox = match &self.self_test {
            Ok(found) => json!({ "started": true, "self_test": found }),
            Err(problem) => json!({
                "started": false,
                "problem": problem,
                "layers": magic_sandbox::probe()
                    .iter()
                    .map(|probe| json!({
                        "layer": probe.layer.name(), "available": probe.available,
                        "detail": probe.detail, "remedy": probe.remedy,
                    }))
                    .collect::<Vec<_>>(),
            }),
        };
        report["sandbox"] = sandbox;
        report
    }

    fn report(&self, settings: &Settings, output: Output) -> anyhow::Result<()> {
        let policy = match settings.environment {
            Environment::Development => "development",
            Environment::Production => "production",
        };
        output.data(&format!("environment  {policy}"))?;
        match &self.interpreter {
            Ok(found) => output.data(&format!(
                "interpreter  {} (Python {})",
                found.executable.display(),
                shown_version(found)
            ))?,
            Err(problem) => output.data(&format!("interpreter  none: {problem}"))?,
        }
        output.data("")?;
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let mut remedies = Vec::new();
        match &self.self_test {
            Ok(found) => {
                table.set_header(["LAYER", "WANTED", "AVAILABLE", "ENFORCED"]);
                for layer in &found.layers {
                    let available = if layer.available { "yes" } else { "no" };
                    table.add_row([layer.layer, layer.wanted, available, &layer.enforced]);
                    remedies.extend(remedy(layer.layer, &layer.detail, layer.remedy.as_deref()));
                }
            }
            Err(_) => {
                table.set_header(["LAYER", "AVAILABLE"]);
                for probe in magic_sandbox::probe() {
                    let available = if probe.available { "yes" } else { "no" };
                    table.add_row([probe.layer.name(), available]);
                    remedies.extend(remedy(
                        probe.layer.name(),
                        &probe.detail,
                        probe.remedy.as_deref(),
                    ));
                }
            }
        }
        output.data(&table.trim_fmt())?;
        for line in remedies {
            output.data(&line)?;
        }
        output.data("")?;
        match &self.self_test {
            Ok(found) => {
                let refused = found
                    .attempts
                    .iter()
                    .filter(|attempt| attempt.refused)
                    .count();
                output.data(&format!(
                    "self-test    {refused} of {} attempts to get out were refused",
                    found.attempts.len()
                ))?;
                for attempt in found.attempts.iter().filter(|attempt| !attempt.refused) {
                    output.data(&format!(
                        "  NOT REFUSED  {}: {}",
                        attempt.name, attempt.detail
                    ))?;
                }
                if let Some(failure) = &found.failure {
                    output.data(&format!("  {failure}"))?;
                }
            }
            Err(problem) => output.data(&format!("self-test    not possible: {problem}"))?,
        }
        output.data(if self.is_healthy() {
            "healthy: controllers can be run here"
        } else {
            "not healthy: see above for what to type"
        })
    }
}

/// What to type for a layer that does not stand in full.
fn remedy(layer: &str, detail: &str, remedy: Option<&str>) -> Option<String> {
    remedy.map(|remedy| format!("\n{layer}: {detail}\n  type: {remedy}"))
}

fn shown_version(found: &Interpreter) -> String {
    let (major, minor, patch) = found.version;
    format!("{major}.{minor}.{patch}")
}
