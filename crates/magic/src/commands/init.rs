//! `magic init`: a folder to begin a project in.
//!
//! Nothing that exists is written over. The policy is the built-in one of development, as a file, so that a project can change it.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;

use crate::cli::Ended;
use crate::output::Output;
use crate::terminal::shell_word;

/// Each file, and what it begins with.
const FILES: [(&str, &str); 5] = [
    ("magic.toml", include_str!("init/magic.toml")),
    (
        "policies/development.yaml",
        include_str!("../../../../policies/development.yaml"),
    ),
    // A folder that is empty would not be kept by git.
    ("controllers/.gitkeep", ""),
    (".gitignore", include_str!("init/gitignore")),
    ("README.md", include_str!("init/README.md")),
];

/// The web front end, and the settings that let its pages ask.
const WEB: [(&str, &str); 3] = [
    ("web/index.html", include_str!("init/web/index.html")),
    ("web/app.js", include_str!("init/web/app.js")),
    ("web/style.css", include_str!("init/web/style.css")),
];
const WEB_SETTINGS: &str = include_str!("init/web/magic.toml");

/// The arguments of `magic init`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder of the project; it is made if it is not there
    #[arg(value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
    /// With a small web front end, and the setting that lets its pages ask
    #[arg(long)]
    with_web: bool,
}

pub(crate) fn run(arguments: &Arguments, output: Output) -> anyhow::Result<Ended> {
    let folder = &arguments.folder;
    // The settings make it a project; the other files may be there before, as in a repository with a README.
    let settings = folder.join("magic.toml");
    if std::fs::symlink_metadata(&settings).is_ok() {
        let message = format!(
            "{} is there already; nothing was written",
            settings.display()
        );
        if output.is_json() {
            output.json(&json!({"created": false, "message": message}))?;
        }
        output.talk(&format!("error: {message}"));
        return Ok(Ended::Refused);
    }
    let (mut written, mut kept) = (Vec::new(), Vec::new());
    // The settings come last, so that an attempt that was broken off can be made again.
    let web: &[_] = if arguments.with_web { &WEB } else { &[] };
    let files: Vec<(&str, String)> = FILES
        .iter()
        .chain(web)
        .map(|(name, text)| match *name {
            "magic.toml" if arguments.with_web => (*name, format!("{text}{WEB_SETTINGS}")),
            _ => (*name, (*text).to_owned()),
        })
        .collect();
    for (name, text) in files.iter().rev() {
        let path = folder.join(name);
        if write_new(&path, text)? {
            written.push(path);
        } else {
            kept.push(path);
        }
    }
    written.reverse();
    let enter = (folder != Path::new("."))
        .then(|| format!("cd {}", shell_word(&folder.display().to_string())));
    let pages = "python3 -m http.server --bind 127.0.0.1 --directory web 8000";
    let next: Vec<String> = enter
        .into_iter()
        .chain(["magic doctor", "magic new controller Hello", "magic dev"].map(str::to_owned))
        .chain(
            arguments
                .with_web
                .then(|| format!("{pages}    # in another shell")),
        )
        .collect();
    if output.is_json() {
        output.json(&json!({
            "created": true, "folder": folder, "files": written, "kept": kept, "next": next,
        }))?;
        return Ok(Ended::Done);
    }
    for path in &written {
        output.data(&path.display().to_string())?;
    }
    for path in &kept {
        output.talk(&format!("kept as it is: {}", path.display()));
    }
    output.talk("");
    output.talk("Next, type:");
    for line in next {
        output.talk(&format!("  {line}"));
    }
    Ok(Ended::Done)
}

/// Writes a file with its folders, unless there is one; says whether it was written.
fn write_new(path: &Path, text: &str) -> anyhow::Result<bool> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = match file {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(false),
        opened => opened.with_context(|| format!("cannot write {}", path.display()))?,
    };
    file.write_all(text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}
