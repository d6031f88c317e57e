//! `magic migrate`: bring the controllers' tables up to date.

use std::path::PathBuf;

use magic_broker::db::{MigrateError, Migration, Migrator, read_migrations};
use serde_json::json;

use crate::cli::Ended;
use crate::output::Output;
use crate::settings::Settings;
use crate::terminal::escaped;

/// The arguments of `magic migrate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder of files named like 0001_create_customers.sql
    #[arg(value_name = "FOLDER", default_value = "migrations")]
    folder: PathBuf,
    /// Say what would be applied, and apply nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let mut applied = Vec::new();
    let result = match read_migrations(&arguments.folder) {
        Ok(migrations) if arguments.dry_run => look(&migrations, settings, output).await,
        Ok(migrations) => apply(&migrations, settings, output, &mut applied).await,
        Err(error) => Err(error.into()),
    };
    let problem = match result {
        Ok(()) => return Ok(Ended::Done),
        Err(error) => error,
    };
    match problem.downcast_ref::<MigrateError>() {
        Some(refusal) if refusal.is_refusal() => {
            let message = refusal.to_string();
            if output.is_json() {
                output.json(&json!({"applied": applied, "message": message}))?;
            }
            output.talk(&format!("error: {}", escaped(&message)));
            Ok(Ended::Refused)
        }
        _ => Err(problem),
    }
}

async fn look(migrations: &[Migration], settings: &Settings, output: Output) -> anyhow::Result<()> {
    let mut migrator = Migrator::look(&settings.database_url).await?;
    let plan = migrator.plan(migrations).await?;
    if output.is_json() {
        return output.json(&json!({"applied": [], "pending": plan.pending}));
    }
    for name in &plan.pending {
        output.data(&format!("would apply {name}"))?;
    }
    output.talk(&format!(
        "{}: {} to apply, {} applied before",
        settings.database_url,
        plan.pending.len(),
        plan.applied
    ));
    Ok(())
}

/// Applies file after file, telling of each as soon as it is kept.
async fn apply(
    migrations: &[Migration],
    settings: &Settings,
    output: Output,
    applied: &mut Vec<String>,
) -> anyhow::Result<()> {
    let mut migrator = Migrator::connect(&settings.database_url).await?;
    let before = migrator.plan(migrations).await?.applied;
    while let Some(step) = migrator.apply_next(migrations).await? {
        if !output.is_json() {
            output.data(&format!(
                "applied {} ({} ms)",
                step.name,
                step.took.as_millis()
            ))?;
        }
        applied.push(step.name);
    }
    if output.is_json() {
        return output.json(&json!({"applied": applied, "pending": []}));
    }
    output.talk(&format!(
        "{}: {} applied, {before} applied before",
        settings.database_url,
        applied.len()
    ));
    Ok(())
}
