//! Arguments in, exit status out.
//!
//! Each command is one file in `commands/`, with its arguments beside its code; this file only lists them. Settings that have
//! other sources than flags are merged in [`crate::settings`], so no argument here reads the environment.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::activation;
use crate::commands::{
    audit, backup, canary, completions, delete, deploy, dev, doctor, executions, init, keys, list,
    logs, manual, migrate, new, nodes, policy, restore, rollback, run, schema, secrets, serve,
    validate, versions,
};
use crate::logging;
use crate::output::{Output, is_closed_output};
use crate::settings::Settings;

/// Run Python controllers in a sandbox, each bound by its contract.
#[derive(Debug, Parser)]
#[command(
    name = "magic",
    version,
    arg_required_else_help = true,
    propagate_version = true
)]
struct Cli {
    #[command(flatten)]
    global: GlobalArguments,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Default, Args)]
pub(crate) struct GlobalArguments {
    /// Print data as JSON on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Read settings from this file instead of ./magic.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Keep the runtime's own files here
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The supervisor's unix socket
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// The Python interpreter that controllers run with
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,
    /// The policy file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begin a project: settings, a policy, and a folder for controllers
    Init(init::Arguments),
    /// Write a new controller to start from
    #[command(subcommand)]
    New(NewCommand),
    /// Check contracts and the Python beside them
    Validate(validate::Arguments),
    /// Run a controller once, in the same sandbox, without a server
    Run(run::Arguments),
    /// Serve a folder of controllers on this machine, and redeploy on save
    Dev(dev::Arguments),
    /// Serve a folder of controllers
    Serve(serve::Arguments),
    /// Deploy a controller to the supervisor, for good and on every node
    Deploy(deploy::Arguments),
    /// Make an earlier version the one that serves
    Rollback(rollback::Arguments),
    /// End the trial of a version: for everybody, or for nobody
    Canary(canary::Arguments),
    /// Take a controller out of service
    Delete(delete::Arguments),
    /// List the versions of a controller
    Versions(versions::Arguments),
    /// List what the supervisor has deployed
    List(list::Arguments),
    /// Make, list and revoke API keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Show what a controller wrote
    Logs(logs::Arguments),
    /// Show what became of a request
    Executions(executions::Arguments),
    /// List the nodes that share the state
    Nodes(nodes::Arguments),
    /// Set, list and remove the secrets of controllers
    #[command(subcommand)]
    Secrets(secrets::SecretsCommand),
    /// Bring the controllers' tables up to date
    Migrate(migrate::Arguments),
    /// Explain, search, test and show the policy
    #[command(subcommand)]
    Policy(policy::Command),
    /// Read, verify or export the audit log
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Write what this node must not lose into one archive, while it serves
    Backup(backup::Arguments),
    /// Make a data folder of an archive that backup wrote
    Restore(restore::Arguments),
    /// Check this machine: every layer of the sandbox, and the interpreter
    Doctor(doctor::Arguments),
    /// Print a JSON Schema, for editors
    #[command(subcommand)]
    Schema(schema::Command),
    /// Print what completes this command in a shell
    Completions(completions::Arguments),
    /// Write the manual pages, or print the one for language models
    Manual(manual::Arguments),
}

#[derive(Debug, Subcommand)]
enum NewCommand {
    /// Write a controller, its contract and its test into a folder of its own
    Controller(new::Arguments),
}

/// How a command ended, when nothing broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It did what was asked.
    Done,
    /// It was refused, or what it looked at is invalid; the command has said why.
    Refused,
}

/// Context for errors that are refusals rather than faults: promises that cannot be kept here.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) &'static str);

impl std::fmt::Display for Refused {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0)
    }
}

/// Exit statuses other than 0.
const REFUSED: u8 = 1;
const FAULT: u8 = 2;

/// Parses, runs, and maps the end to an exit status.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors to clap's users, but come this way.
            let status = if error.use_stderr() { FAULT } else { 0 };
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    let output = Output::new(cli.global.json);
    match execute(cli, output) {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::Refused) => ExitCode::from(REFUSED),
        // Whoever read our output has seen enough, as `head` does.
        Err(error) if is_closed_output(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output.talk(&format!("error: {error:#}"));
            let refused = error.downcast_ref::<Refused>().is_some();
            ExitCode::from(if refused { REFUSED } else { FAULT })
        }
    }
}

fn execute(cli: Cli, output: Output) -> anyhow::Result<Ended> {
    let settings = Settings::load(&cli.global)?;
    match cli.command {
        Command::Init(arguments) => init::run(&arguments, output),
        Command::New(NewCommand::Controller(arguments)) => new::run(&arguments, &settings, output),
        Command::Validate(arguments) => validate::run(&arguments, &settings, output),
        Command::Run(arguments) => block_on(&settings, run::run(&arguments, &settings, output)),
        Command::Dev(arguments) => block_on(&settings, dev::run(&arguments, &settings, output)),
        Command::Serve(arguments) => {
            // Before there are threads, or descriptors of our own.
            let passed = activation::take()?;
            block_on(&settings, serve::run(&arguments, passed, &settings, output))
        }
        Command::Deploy(arguments) => {
            block_on(&settings, deploy::run(&arguments, &settings, output))
        }
        Command::Rollback(arguments) => {
            block_on(&settings, rollback::run(&arguments, &settings, output))
        }
        Command::Canary(arguments) => {
            block_on(&settings, canary::run(&arguments, &settings, output))
        }
        Command::Delete(arguments) => {
            block_on(&settings, delete::run(&arguments, &settings, output))
        }
        Command::Versions(arguments) => {
            block_on(&settings, versions::run(&arguments, &settings, output))
        }
        Command::List(arguments) => block_on(&settings, list::run(&arguments, &settings, output)),
        Command::Keys(command) => block_on(&settings, keys::run(&command, &settings, output)),
        Command::Logs(arguments) => block_on(&settings, logs::run(&arguments, &settings, output)),
        Command::Executions(arguments) => {
            block_on(&settings, executions::run(&arguments, &settings, output))
        }
        Command::Nodes(arguments) => block_on(&settings, nodes::run(&arguments, &settings, output)),
        Command::Secrets(command) => secrets::run(&command, &settings, output),
        Command::Migrate(arguments) => {
            block_on(&settings, migrate::run(&arguments, &settings, output))
        }
        Command::Policy(command) => policy::run(&command, &settings, output),
        Command::Audit(command) => audit::run(&command, &settings, output),
        Command::Backup(arguments) => {
            block_on(&settings, backup::run(&arguments, &settings, output))
        }
        Command::Restore(arguments) => {
            block_on(&settings, restore::run(&arguments, &settings, output))
        }
        Command::Doctor(arguments) => {
            block_on(&settings, doctor::run(&arguments, &settings, output))
        }
        Command::Schema(command) => schema::run(&command, output),
        Command::Completions(arguments) => completions::run(&arguments, Cli::command(), output),
        Command::Manual(arguments) => manual::run(&arguments, Cli::command(), output),
    }
}

fn block_on(
    settings: &Settings,
    command: impl Future<Output = anyhow::Result<Ended>>,
) -> anyhow::Result<Ended> {
    logging::start(settings)?;
    // The other half of the cores is for the processes that serve; an event loop that waits for itself on
    // several threads takes time from them.
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads((cores / 2).max(1))
        .enable_all()
        .thread_name("magic")
        .build()?
        .block_on(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// clap's own consistency check of all arguments.
    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
