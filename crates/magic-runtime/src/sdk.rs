//! The SDK that templates import, carried inside the program.
//!
//! A controller must never meet an SDK that somebody else brought, and the
//! copy that authors install for their editor lives where the sandbox cannot
//! see it. So the files are embedded at build time and written once per
//! content and interpreter version, with byte code that is never checked
//! against its source: nothing can change below a read-only mount.

use crate::interpreter::Interpreter;
use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../python-sdk/src/magic");

/// Why the SDK could not be laid out.
#[derive(Debug, thiserror::Error)]
pub enum SdkError {
    /// A file could not be written.
    #[error("the SDK cannot be written to `{}`: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The interpreter could not compile the SDK.
    #[error("the SDK cannot be compiled by `{}`: {detail}", interpreter.display())]
    Compile {
        /// The interpreter.
        interpreter: PathBuf,
        /// What it says.
        detail: String,
    },
}

/// Lays the SDK out below `data_directory` unless it is there already, and
/// returns the folder that holds the package `magic`.
///
/// # Errors
///
/// [`SdkError`] when the folder cannot be written or compiled.
pub(crate) fn lay_out(
    data_directory: &Path,
    interpreter: &Interpreter,
) -> Result<PathBuf, SdkError> {
    let (major, minor, patch) = interpreter.version;
    let name = format!("{}-{major}.{minor}.{patch}", digest());
    let finished = data_directory.join("sdk").join(name);
    if finished.is_dir() {
        return Ok(finished);
    }
    // The folder appears under its name only when it is complete, so that a
    // crash or a second supervisor never leaves half an SDK behind that name.
    let staging = finished.with_extension(format!("new-{}", std::process::id()));
    let result =
        fill(&staging, interpreter).and_then(|()| match std::fs::rename(&staging, &finished) {
            // Another supervisor was faster with the same content.
            Err(_) if finished.is_dir() => Ok(()),
            other => other.map_err(|source| SdkError::Write {
                path: finished.clone(),
                source,
            }),
        });
    if staging.exists() {
        // Left over only after a failure, which is the error worth reporting.
        let _ = std::fs::remove_dir_all(&staging);
    }
    result.map(|()| finished)
}

fn fill(staging: &Path, interpreter: &Interpreter) -> Result<(), SdkError> {
    let package = staging.join("magic");
    write(&FILES, &package)?;
    let output = Command::new(&interpreter.executable)
        .args([
            "-I",
            "-S",
            "-X",
            "no_debug_ranges",
            "-m",
            "compileall",
            "-q",
        ])
        .args(["--invalidation-mode", "unchecked-hash"])
        // The path that tracebacks and code objects show is the one inside.
        .arg("-s")
        .arg(staging)
        .args(["-p", "/magic/sdk"])
        .arg(&package)
        .stdin(Stdio::null())
        .output();
    let detail = match output {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => error.to_string(),
    };
    Err(SdkError::Compile {
        interpreter: interpreter.executable.clone(),
        detail,
    })
}

fn write(folder: &Dir<'_>, to: &Path) -> Result<(), SdkError> {
    let fails = |path: &Path| {
        let path = path.to_owned();
        move |source| SdkError::Write { path, source }
    };
    crate::folder::create(to).map_err(fails(to))?;
    for file in folder.files() {
        let path = to.join(
            file.path()
                .file_name()
                .expect("an embedded file has a name"),
        );
        crate::folder::write_file(&path, file.contents()).map_err(fails(&path))?;
    }
    for inner in folder.dirs() {
        let name = inner
            .path()
            .file_name()
            .expect("an embedded folder has a name");
        if name != "__pycache__" {
            write(inner, &to.join(name))?;
        }
    }
    Ok(())
}

/// Names the embedded content, so that a new build never meets an old layout.
fn digest() -> String {
    fn add(folder: &Dir<'_>, hash: &mut Sha256) {
        for file in folder.files() {
            hash.update(file.path().as_os_str().as_encoded_bytes());
            hash.update(file.contents().len().to_be_bytes());
            hash.update(file.contents());
        }
        folder.dirs().for_each(|inner| add(inner, hash));
    }
    let mut hash = Sha256::new();
    add(&FILES, &mut hash);
    crate::bundle::hexadecimal(&hash.finalize())[..16].to_owned()
}
