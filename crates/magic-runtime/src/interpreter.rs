//! Which Python runs the controllers, and what of the host it needs to see.
//!
//! The interpreter itself is asked: it names its prefix and its standard
//! library, and after it has loaded its extension modules the memory map shows
//! which shared libraries they came from. So pyenv builds, Debian's python3
//! and virtual environments work without a table of layouts. Only the
//! operator's own interpreter is run here, isolated and without its `site`
//! module, and never a line of a controller.

use crate::packages::{CLibrary, WheelSupport};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest minor version of Python 3 that the SDK supports.
const OLDEST_MINOR: u32 = 11;

/// What the interpreter says of itself. Extension modules that a build lacks
/// are passed over: what cannot be imported needs no library.
const QUESTIONS: &str = r#"
import sys
for name in ("_ctypes", "_ssl", "_sqlite3", "zlib", "_bz2", "_lzma", "_decimal", "_hashlib", "_uuid", "_asyncio", "pyexpat"):
    try:
        __import__(name)
    except ImportError:
        pass
import os, json, importlib.util
with open("/proc/self/maps") as maps:
    mapped = sorted({line.split(None, 5)[5].rstrip("\n") for line in maps if line.count("/") and len(line.split(None, 5)) == 6})
dynload = [path for path in sys.path if path.endswith("lib-dynload")]
print(json.dumps({
    "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "version": list(sys.version_info[:3]),
    "stdlib": os.path.dirname(os.__file__),
    "dynload": dynload,
    "mapped": mapped,
    "abi": sys.abiflags,
    "machine": os.uname().machine,
    "libc": os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None,
    "ctypes": importlib.util.find_spec("_ctypes") is not None,
}))
"#;

/// A Python interpreter and the parts of the host that it needs.
#[derive(Debug, Clone, Serialize)]
pub struct Interpreter {
    /// The program to execute, without symbolic links.
    pub executable: PathBuf,
    /// Major, minor and patch version.
    pub version: (u32, u32, u32),
    /// Files and folders of the host that must be visible, none inside another.
    pub visible: Vec<PathBuf>,
    /// Symbolic links at the root, such as `/lib64`, as (path, target).
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Packages of a virtual environment, to be put on the import path.
    pub packages: Option<PathBuf>,
    /// Which wheels it can use.
    #[serde(skip)]
    pub wheels: WheelSupport,
}

/// Why no interpreter can be used.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    /// None of the usual names leads to one.
    #[error(
        "no Python 3.{OLDEST_MINOR} or newer was found; install one (on Debian: apt-get install python3) or name it with --python"
    )]
    NotFound,
    /// The named program does not answer.
    #[error("`{}` does not work as a Python interpreter: {detail}", path.display())]
    DoesNotAnswer {
        /// The program.
        path: PathBuf,
        /// What happened instead.
        detail: String,
    },
    /// The interpreter is too old.
    #[error("`{}` is Python {major}.{minor}; 3.{OLDEST_MINOR} or newer is needed, name one with --python", path.display())]
    TooOld {
        /// The program.
        path: PathBuf,
        /// Its major version.
        major: u32,
        /// Its minor version.
        minor: u32,
    },
    /// The build has no `ctypes`, by which a worker enters its Landlock domain.
    #[error(
        "`{}` was built without ctypes; build it with libffi's headers installed (on Debian: libffi-dev) or name another with --python",
        .0.display()
    )]
    WithoutCtypes(PathBuf),
}

#[derive(Deserialize)]
struct Answers {
    executable: PathBuf,
    version: (u32, u32, u32),
    stdlib: PathBuf,
    dynload: Vec<PathBuf>,
    mapped: Vec<PathBuf>,
    abi: String,
    machine: String,
    /// As `glibc 2.36`; musl names none.
    libc: Option<String>,
    ctypes: bool,
}

impl Interpreter {
    /// Asks the named interpreter, or the first usable one of the usual names.
    ///
    /// # Errors
    ///
    /// [`InterpreterError`], each of which says what to type.
    pub fn find(named: Option<&Path>) -> Result<Self, InterpreterError> {
        if let Some(path) = named {
            return Self::ask(path);
        }
        let mut refused = None;
        for name in [
            "python3",
            "python3.13",
            "python3.12",
            "python3.11",
            "/usr/bin/python3",
            "/usr/local/bin/python3",
        ] {
            match Self::ask(Path::new(name)) {
                Ok(interpreter) => return Ok(interpreter),
                Err(
                    error @ (InterpreterError::TooOld { .. } | InterpreterError::WithoutCtypes(_)),
                ) => {
                    refused.get_or_insert(error);
                }
                Err(_) => {}
            }
        }
        Err(refused.unwrap_or(InterpreterError::NotFound))
    }

    fn ask(path: &Path) -> Result<Self, InterpreterError> {
        let fails = |detail: String| InterpreterError::DoesNotAnswer {
            path: path.to_owned(),
            detail,
        };
        let output = Command::new(path)
            .args(["-I", "-S", "-B", "-c", QUESTIONS])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| fails(error.to_string()))?;
        if !output.status.success() {
            let talk = String::from_utf8_lossy(&output.stderr);
            return Err(fails(
                talk.lines()
                    .last()
                    .unwrap_or("it failed without a word")
                    .to_owned(),
            ));
        }
        let answers: Answers =
            serde_json::from_slice(&output.stdout).map_err(|error| fails(error.to_string()))?;
        let (major, minor, _) = answers.version;
        if major != 3 || minor < OLDEST_MINOR {
            return Err(InterpreterError::TooOld {
                path: path.to_owned(),
                major,
                minor,
            });
        }
        if !answers.ctypes {
            return Err(InterpreterError::WithoutCtypes(path.to_owned()));
        }
        let packages = virtual_environment(path, minor);
        Ok(Self {
            visible: visible(&answers, packages.as_deref()),
            links: root_links(),
            packages,
            wheels: WheelSupport {
                minor,
                library: c_library(answers.libc.as_deref()),
                abi_flags: answers.abi,
                machine: answers.machine,
            },
            executable: answers.executable,
            version: answers.version,
        })
    }
}

/// The package folder of the virtual environment that `path` belongs to. The
/// marker file stands one level above the program's own folder, see PEP 405.
/// In its canonical place, since that is where the sandbox shows it: a relative
/// path, or one through a link, would name nothing inside.
fn virtual_environment(path: &Path, minor: u32) -> Option<PathBuf> {
    let root = path.parent()?.parent()?;
    if !root.join("pyvenv.cfg").is_file() {
        return None;
    }
    root.join(format!("lib/python3.{minor}/site-packages"))
        .canonicalize()
        .ok()
}

/// The C library by what `confstr` says of it. musl says nothing; wheels for it
/// ask for 1.1 or 1.2, and the latter is what every supported system has.
fn c_library(named: Option<&str>) -> CLibrary {
    named
        .and_then(|text| text.strip_prefix("glibc ")?.split_once('.'))
        .and_then(|(major, minor)| Some(CLibrary::Glibc(major.parse().ok()?, minor.parse().ok()?)))
        .unwrap_or(CLibrary::Musl(1, 2))
}

/// Links of merged-/usr hosts: the path of the program loader runs through them.
fn root_links() -> Vec<(PathBuf, PathBuf)> {
    ["/lib", "/lib32", "/lib64"]
        .iter()
        .filter_map(|link| Some((PathBuf::from(link), std::fs::read_link(link).ok()?)))
        .collect()
}

/// The folders and files to show, each in its canonical place, the outermost
/// only. Folders of shared libraries are shown whole, since an extension
/// module of a package may need a neighbour of what the interpreter loaded.
fn visible(answers: &Answers, packages: Option<&Path>) -> Vec<PathBuf> {
    let mut wanted: BTreeSet<PathBuf> = BTreeSet::new();
    let mut want = |path: &Path| {
        if let Ok(canonical) = path.canonicalize() {
            wanted.insert(canonical);
        }
    };
    want(&answers.executable);
    want(&answers.stdlib);
    answers.dynload.iter().for_each(|path| want(path));
    packages.into_iter().for_each(&mut want);
    for library in &answers.mapped {
        if let Some(folder) = library.parent().filter(|_| is_library(library)) {
            want(folder);
        }
    }
    for known in ["/lib64", "/usr/lib64", "/usr/share/zoneinfo"] {
        want(Path::new(known));
    }
    let all: Vec<PathBuf> = wanted.iter().cloned().collect();
    wanted.retain(|path| {
        !all.iter()
            .any(|other| other != path && path.starts_with(other))
    });
    wanted.into_iter().collect()
}

fn is_library(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.contains(".so"))
}

#[cfg(test)]
mod tests {
    use super::Interpreter;
    use std::path::Path;

    /// What is shown holds the program and no folder twice.
    #[test]
    fn the_usual_interpreter_describes_itself() {
        let interpreter = Interpreter::find(None).expect("a test host has Python");
        let covers = |path: &Path| {
            interpreter
                .visible
                .iter()
                .any(|shown| path.starts_with(shown))
        };
        assert!(covers(&interpreter.executable), "{interpreter:?}");
        for path in &interpreter.visible {
            let inside = interpreter
                .visible
                .iter()
                .filter(|other| path.starts_with(other))
                .count();
            assert_eq!(inside, 1, "{} is shown twice", path.display());
        }
    }

    #[test]
    fn a_program_that_is_no_interpreter_is_named() {
        let error =
            Interpreter::find(Some(Path::new("/bin/false"))).expect_err("/bin/false is no Python");
        assert!(error.to_string().contains("/bin/false"), "{error}");
    }
}
