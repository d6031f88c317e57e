//! What a template sees and what binds it: from interpreter and bundle to the
//! sandbox's plan. A pure value; nothing here touches the system.

use crate::interpreter::Interpreter;
use magic_sandbox::{Identity, Layers, Plan, ResourceLimits, Root, Scratch};
use std::path::Path;

/// Where the SDK lies inside.
pub(crate) const SDK: &str = "/magic/sdk";
/// Where the controller lies inside.
pub(crate) const CONTROLLER: &str = "/magic/controller";

/// Where the packages of a controller lie inside.
pub(crate) const PACKAGES: &str = "/magic/packages";

/// The temporary directory inside: writable for versions that are granted one, empty for the others.
/// It is where Python's own `tempfile` looks first.
pub(crate) const TEMPORARY: &str = "/tmp";

/// An empty file takes kernel memory too, so their number grows with the size that was granted, from
/// what a small program needs to what no program needs.
fn scratch(size_bytes: u64) -> Scratch {
    Scratch {
        path: TEMPORARY.into(),
        size_bytes,
        inodes: (size_bytes / (16 << 10)).clamp(256, 65_536),
    }
}

/// The first words of the interpreter. They name the runner and nothing of the
/// controller, which is told over the control channel: no argument vector is
/// ever built from data.
const RUNNER: &str =
    "import sys; sys.path[:0]=['/magic/sdk']; from magic._runner import main; main()";

/// The whole environment. Libraries of numbers start a thread for every
/// processor as soon as they are imported, and a process with threads cannot be
/// forked; a request has the share of a processor that its contract says, so
/// more than one thread would only wait for another. The last one has the loader
/// find every function at the start, which each worker would otherwise do again
/// for itself, in pages of its own.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("LANG", "C.UTF-8"),
    ("HOME", "/"),
    ("PATH", "/nonexistent"),
    ("OPENBLAS_NUM_THREADS", "1"),
    ("OMP_NUM_THREADS", "1"),
    ("MKL_NUM_THREADS", "1"),
    ("NUMEXPR_NUM_THREADS", "1"),
    ("LD_BIND_NOW", "1"),
];

/// What of a version its interpreters see.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    /// The kept bundle on the host.
    pub(crate) bundle: &'a Path,
    /// The kept packages on the host.
    pub(crate) packages: Option<&'a Path>,
}

/// The plan for a template.
pub(crate) fn plan(
    interpreter: &Interpreter,
    sdk: &Path,
    shown: Shown<'_>,
    identity: Identity,
    layers: Layers,
    temporary_bytes: Option<u64>,
) -> Plan {
    let mut root = root(interpreter)
        .bind_at(sdk, SDK)
        .bind_at(shown.bundle, CONTROLLER);
    if let Some(packages) = shown.packages {
        root = root.bind_at(packages, PACKAGES);
    }
    root = match temporary_bytes {
        Some(size_bytes) => root.scratch(scratch(size_bytes)),
        None => root.directory(TEMPORARY),
    };
    Plan {
        hostname: "controller".to_owned(),
        ..program(interpreter, RUNNER, root, identity, layers)
    }
}

/// The plan for the program that takes one wheel apart: the wheel and the
/// interpreter are all it sees, and nothing of any controller.
pub(crate) fn wheel_plan(
    interpreter: &Interpreter,
    program_text: &str,
    wheel: &Path,
    request: String,
    identity: Identity,
    layers: Layers,
) -> Plan {
    let root = root(interpreter)
        .bind_at(wheel, "/magic/wheel.whl")
        .file("/magic/request.json", request)
        .directory(TEMPORARY);
    Plan {
        hostname: "wheel".to_owned(),
        ..program(interpreter, program_text, root, identity, layers)
    }
}

/// What every interpreter needs to see.
fn root(interpreter: &Interpreter) -> Root {
    let mut root = Root::default()
        .device("/dev/null")
        .device("/dev/urandom")
        .file("/etc/passwd", "controller:x:1000:1000::/:/nonexistent\n")
        .file("/etc/group", "controller:x:1000:\n");
    for path in &interpreter.visible {
        root = root.bind(path);
    }
    for (path, points_to) in &interpreter.links {
        root = root.link(path, points_to);
    }
    root
}

fn program(
    interpreter: &Interpreter,
    text: &str,
    root: Root,
    identity: Identity,
    layers: Layers,
) -> Plan {
    Plan {
        arguments: [
            "-I",
            "-S",
            "-B",
            "-X",
            "utf8",
            "-X",
            "no_debug_ranges",
            "-c",
            text,
        ]
        .map(str::to_owned)
        .to_vec(),
        environment: ENVIRONMENT
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        root,
        identity,
        limits: ResourceLimits::default(),
        layers,
        ..Plan::new(&interpreter.executable)
    }
}

/// The import path inside. Its folders are plain entries, never site folders:
/// what runs at an interpreter's start elsewhere (`.pth` files,
/// `sitecustomize`) is a file like any other here.
pub(crate) fn import_path(interpreter: &Interpreter, packages: bool) -> Vec<String> {
    let own = packages.then(|| PACKAGES.to_owned());
    let environment = interpreter
        .packages
        .iter()
        .map(|path| path.display().to_string());
    [SDK.to_owned(), CONTROLLER.to_owned()]
        .into_iter()
        .chain(own)
        .chain(environment)
        .collect()
}
