//! `magic new controller NAME`: a controller that works, to be changed into the one that is wanted.
//!
//! Three files: the contract, the program, and a test. They pass `magic validate` and `magic run` as they are. Nothing is ever
//! overwritten, and a name that is not acceptable is answered with the one that probably was meant.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use magic_contract::ControllerName;
use serde_json::json;

use crate::cli::Ended;
use crate::output::Output;
use crate::settings::Settings;
use crate::terminal::shell_word;

const CONTRACT: &str = include_str!("new/contract.yaml");
const PROGRAM: &str = include_str!("new/controller.py");
const TEST: &str = include_str!("new/test.py");

/// What the new controller's example sends.
const EXAMPLE_INPUT: &str = r#"{"name": "Ada"}"#;

/// The arguments of `magic new controller`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The controller's name in PascalCase, such as InvoiceSync
    name: String,
    /// The folder of controllers that it is put into
    #[arg(long, value_name = "FOLDER")]
    controllers: Option<PathBuf>,
}

pub(crate) fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let name: ControllerName = match arguments.name.parse() {
        Ok(name) => name,
        Err(problem) => return refuse_name(&arguments.name, &problem, output),
    };
    let snake = name.to_snake_case();
    let controllers = arguments
        .controllers
        .as_ref()
        .unwrap_or(&settings.controllers);
    let folder = controllers.join(&snake);
    let files = [
        (format!("{snake}.contract.yaml"), CONTRACT),
        ("controller.py".to_owned(), PROGRAM),
        (format!("test_{snake}.py"), TEST),
    ];
    if let Some(taken) = taken(&folder, &files) {
        let message = format!("{} is there already; nothing was written", taken.display());
        if output.is_json() {
            output.json(&json!({"created": false, "message": message}))?;
        }
        output.talk(&format!("error: {message}"));
        return Ok(Ended::Refused);
    }
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let mut written = Vec::new();
    for (file, template) in &files {
        let path = folder.join(file);
        let text = template
            .replace("{{Name}}", name.as_str())
            .replace("{{snake}}", &snake);
        write_new(&path, &text)?;
        written.push(path);
    }
    report(&name, &folder, controllers, &written, output)?;
    Ok(Ended::Done)
}

fn refuse_name(
    given: &str,
    problem: &magic_contract::NameProblem,
    output: Output,
) -> anyhow::Result<Ended> {
    let suggestion = ControllerName::suggestion(given);
    let meant = suggestion
        .as_ref()
        .map(|name| format!("; did you mean: magic new controller {name}"))
        .unwrap_or_default();
    if output.is_json() {
        output.json(&json!({
            "created": false,
            "message": format!("{given}: {problem}"),
            "suggestion": suggestion,
        }))?;
    }
    output.talk(&format!(
        "error: {}: {problem}{meant}",
        crate::terminal::escaped(given)
    ));
    Ok(Ended::Refused)
}

/// What of the new controller exists already: a controller of any shape in its folder, or one of the files.
fn taken(folder: &Path, files: &[(String, &str)]) -> Option<PathBuf> {
    if folder.is_dir() && crate::controller_folder::holds_controller(folder) {
        return Some(folder.to_owned());
    }
    if folder.exists() && !folder.is_dir() {
        return Some(folder.to_owned());
    }
    files
        .iter()
        .map(|(name, _)| folder.join(name))
        .find(|path| std::fs::symlink_metadata(path).is_ok())
}

/// Writes a file that must not exist: between the look and this, somebody else may have made it.
fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn report(
    name: &ControllerName,
    folder: &Path,
    controllers: &Path,
    written: &[PathBuf],
    output: Output,
) -> anyhow::Result<()> {
    let place = shell_word(&folder.display().to_string());
    // The name is enough for `run` only where it looks by itself.
    let target = if controllers == Path::new("controllers") {
        name.to_string()
    } else {
        place.clone()
    };
    let next = [
        format!("magic validate {place}"),
        format!("magic run {target} --input {}", shell_word(EXAMPLE_INPUT)),
        format!(
            "magic dev {}",
            shell_word(&controllers.display().to_string())
        ),
    ];
    if output.is_json() {
        return output.json(&json!({
            "created": true, "controller": name, "folder": folder, "files": written, "next": next,
        }));
    }
    for path in written {
        output.data(&path.display().to_string())?;
    }
    output.talk("");
    output.talk("Next, type:");
    for line in next {
        output.talk(&format!("  {line}"));
    }
    Ok(())
}
