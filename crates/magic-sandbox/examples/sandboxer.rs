//! Confines any command: `sandboxer [--off LAYER]... [--bind PATH]... [--env NAME=VALUE]... -- PROGRAM [ARGUMENT]...`
//!
//! The command sees the host's `/usr`, `/lib`, `/lib64` and `/bin` read-only, plus what `--bind` adds,
//! and nothing else. Its standard streams are those of the sandboxer. The exit status is the
//! command's own, 128 plus the number of the signal that killed it, or 2 if it could not be started.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use magic_sandbox::{Descriptors, Ended, Identity, Layer, Level, Plan, Spawner, enter_if_asked};

/// Host identity for the command when the sandboxer runs as root; nothing else should run as it.
const HOST_ID: u32 = 64_321;

fn main() -> ExitCode {
    enter_if_asked();
    match run() {
        Ok(Ended::Exited(status)) => ExitCode::from(u8::try_from(status).unwrap_or(1)),
        Ok(Ended::Signaled(signal)) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(1)),
        Err(message) => {
            complain(&message);
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<Ended, String> {
    let (plan, verbose) = read_arguments()?;
    let stream = |descriptor: std::os::fd::BorrowedFd<'_>| -> Result<OwnedFd, String> {
        descriptor
            .try_clone_to_owned()
            .map_err(|error| error.to_string())
    };
    let descriptors = Descriptors::new(
        stream(std::io::stdin().as_fd())?,
        stream(std::io::stdout().as_fd())?,
        stream(std::io::stderr().as_fd())?,
    );
    let spawner = Spawner::start().map_err(|error| error.to_string())?;
    let confined = spawner
        .spawn(&plan, descriptors, None)
        .map_err(|error| error.explanation())?;
    if verbose {
        for (layer, enforcement) in confined.report.iter() {
            complain(&format!("{layer}: {enforcement}"));
        }
    }
    confined.pidfd.wait().map_err(|error| error.to_string())
}

fn read_arguments() -> Result<(Plan, bool), String> {
    let mut arguments = std::env::args().skip(1);
    let mut plan = Plan::new("");
    plan.layers = plan.layers.with(Layer::CgroupLimits, Level::Off);
    plan.environment = vec![("LANG".to_owned(), "C.UTF-8".to_owned())];
    plan.identity = if rustix::process::geteuid().is_root() {
        Identity::Mapped {
            host_uid: HOST_ID,
            host_gid: HOST_ID,
        }
    } else {
        Identity::Own
    };
    for system in ["/usr", "/lib", "/lib64", "/bin"] {
        if Path::new(system).exists() {
            plan.root = plan.root.bind(system);
        }
    }
    plan.root = plan.root.device("/dev/null").device("/dev/urandom");
    let mut verbose = false;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--off" => {
                let name = value()?;
                let layer = Layer::from_name(&name).ok_or(format!("no layer is called {name}"))?;
                plan.layers = plan.layers.with(layer, Level::Off);
            }
            "--bind" => plan.root = plan.root.bind(value()?),
            "--env" => {
                let pair = value()?;
                let (name, content) = pair.split_once('=').ok_or("--env takes NAME=VALUE")?;
                plan.environment.push((name.to_owned(), content.to_owned()));
            }
            "--verbose" => verbose = true,
            "--" => break,
            other => {
                return Err(format!(
                    "unknown option {other}; put `--` before the command"
                ));
            }
        }
    }
    plan.program = arguments.next().ok_or("no command after `--`")?.into();
    plan.arguments = arguments.collect();
    Ok((plan, verbose))
}

#[expect(clippy::print_stderr, reason = "an example talks to its user")]
fn complain(message: &str) {
    eprintln!("sandboxer: {message}");
}
