//! A program of our own, in the sandbox that controllers get, that tries to
//! leave it.
//!
//! A layer that was asked for is not a layer that stands. The jail reports what
//! the kernel accepted, and this test shows what it is worth: each attempt is
//! something that works on any host outside, so a runtime whose sandbox lets
//! one through refuses to start.

use crate::confinement::Shown;
use crate::launcher::Launcher;
use crate::process::Process;
use crate::template::output_pipe;
use magic_sandbox::{Descriptors, Enforcement, Layer, Level, Limits, Report, probe};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

/// The program. It prints one JSON object from the name of an attempt to what
/// became of it.
const ATTEMPTS: &str = include_str!("self_test/attempts.py");
/// How long it may take, on a host that emulates its processor too.
const PATIENCE: Duration = Duration::from_secs(30);
/// Its limits: small, since it does little.
const LIMITS: Limits = Limits {
    memory_bytes: Some(128 << 20),
    cpu_millicores: Some(1_000),
    pids: Some(16),
};

/// What stands on this host.
#[derive(Debug, Clone, Serialize)]
pub struct SelfTest {
    /// Whether everything that the policy requires stands and nothing got out.
    pub passed: bool,
    /// Every layer.
    pub layers: Vec<LayerState>,
    /// Every attempt to get out.
    pub attempts: Vec<Attempt>,
    /// Why the test failed, with what to type.
    pub failure: Option<String>,
}

/// One layer: what the policy wants, what was enforced.
#[derive(Debug, Clone, Serialize)]
pub struct LayerState {
    /// The layer's name.
    pub layer: &'static str,
    /// `required`, `best_effort` or `off`.
    pub wanted: &'static str,
    /// Whether this host offers it.
    pub available: bool,
    /// `full`, `partial: why`, `absent: why` or `off`.
    pub enforced: String,
    /// What was found.
    pub detail: String,
    /// What to type where it is missing.
    pub remedy: Option<String>,
}

/// One attempt to get out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attempt {
    /// What was tried.
    pub name: String,
    /// Whether it was refused.
    pub refused: bool,
    /// How.
    pub detail: String,
}

/// Runs the test.
pub(crate) async fn run(launcher: &Arc<Launcher>) -> SelfTest {
    let outcome = execute(launcher).await;
    let (report, attempts, mut failure) = match outcome {
        Ok((report, attempts)) => (report, attempts, None),
        Err(failure) => (Report::default(), Vec::new(), Some(failure)),
    };
    let escaped: Vec<&str> = attempts
        .iter()
        .filter(|attempt| !attempt.refused)
        .map(|attempt| attempt.name.as_str())
        .collect();
    if !escaped.is_empty() && every_layer_wanted(launcher) {
        failure.get_or_insert(format!("the sandbox let through: {}", escaped.join(", ")));
    }
    SelfTest {
        passed: failure.is_none(),
        layers: layers(launcher, &report),
        attempts,
        failure,
    }
}

/// With a layer off by policy, what gets through is what was asked for.
fn every_layer_wanted(launcher: &Launcher) -> bool {
    Layer::ALL
        .iter()
        .all(|layer| launcher.layers.level(*layer) != Level::Off)
}

fn layers(launcher: &Launcher, report: &Report) -> Vec<LayerState> {
    let probes = probe();
    Layer::ALL
        .iter()
        .map(|layer| {
            let found = probes.iter().find(|probe| probe.layer == *layer);
            LayerState {
                layer: layer.name(),
                wanted: match launcher.layers.level(*layer) {
                    Level::Required => "required",
                    Level::BestEffort => "best_effort",
                    Level::Off => "off",
                },
                available: found.is_some_and(|found| found.available),
                enforced: match report.enforcement(*layer) {
                    Enforcement::Off if launcher.layers.level(*layer) != Level::Off => {
                        "not tested".to_owned()
                    }
                    enforcement => enforcement.to_string(),
                },
                detail: found.map(|found| found.detail.clone()).unwrap_or_default(),
                remedy: found.and_then(|found| found.remedy.clone()),
            }
        })
        .collect()
}

async fn execute(launcher: &Arc<Launcher>) -> Result<(Report, Vec<Attempt>), String> {
    let text = |error: std::io::Error| error.to_string();
    let (mut stdout, stdout_end) = output_pipe().map_err(text)?;
    let (mut stderr, stderr_end) = output_pipe().map_err(text)?;
    let mut plan = launcher.plan(
        Shown {
            bundle: &launcher.sdk,
            packages: None,
        },
        None,
    );
    plan.arguments = vec![
        "-I".to_owned(),
        "-S".to_owned(),
        "-B".to_owned(),
        "-c".to_owned(),
        ATTEMPTS.to_owned(),
    ];
    let spawning = launcher.clone();
    let (leaf, confined) = tokio::task::spawn_blocking(move || {
        let leaf = spawning
            .leaves
            .take(&LIMITS)
            .map_err(|error| error.explanation())?;
        let null = std::fs::File::open("/dev/null").map_err(|error| error.to_string())?;
        let descriptors = Descriptors::new(null.into(), stdout_end, stderr_end);
        match spawning.spawner.spawn(&plan, descriptors, leaf.as_ref()) {
            Ok(confined) => Ok((leaf, confined)),
            Err(error) => {
                leaf.into_iter()
                    .for_each(|leaf| spawning.leaves.give_back(leaf));
                Err(error.explanation())
            }
        }
    })
    .await
    .map_err(|error| error.to_string())??;

    let report = confined.report;
    let process = Arc::new(Process::new(confined.pidfd).map_err(text)?);
    let mut output = Vec::new();
    let mut errors = Vec::new();
    let read = timeout(PATIENCE, async {
        tokio::join!(
            stdout.read_to_end(&mut output),
            stderr.read_to_end(&mut errors)
        )
    });
    let ended = match read.await {
        Ok(_) => process.ended_within(PATIENCE).await,
        Err(_) => false,
    };
    if ended {
        // The supervisor is the parent: the exit information of a kernel that
        // keeps any appears once it has reaped.
        let _ = process.pidfd().wait();
        let kept = matches!(process.pidfd().exit_information(), Ok(Some(_)));
        launcher.exit_information.store(kept, Ordering::Release);
    }
    if ended {
        launcher.cleaner.worker(process, leaf, None, None);
    } else {
        launcher.cleaner.template(process, leaf);
    }
    let attempts: Vec<Attempt> = serde_json::from_slice(&output).map_err(|_| {
        let talk = String::from_utf8_lossy(&errors);
        format!(
            "the self-test's program did not finish: {}",
            talk.lines().last().unwrap_or("it printed nothing")
        )
    })?;
    Ok((report, attempts))
}
