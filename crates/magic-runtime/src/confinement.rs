//! What a template sees and what binds it: from interpreter and bundle to the
//! sandbox's plan. A pure value; nothing here touches the system.

use crate::interpreter::Interpreter;
use magic_sandbox::{Identity, Layers, Plan, ResourceLimits, Root, Scratch};
use std::path::Path;

/// Where the SDK lies inside.
pub(crate) const SDK: &str = "/magic/sdk";
/// Where the controller lies inside.
pub(crate) const CONTROLLER: &str = "/magic/controller";

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

/// The plan for a template.
pub(crate) fn plan(
    interpreter: &Interpreter,
    sdk: &Path,
    bundle: &Path,
    identity: Identity,
    layers: Layers,
    temporary_bytes: Option<u64>,
) -> Plan {
    let mut root = Root::default()
        .bind_at(sdk, SDK)
        .bind_at(bundle, CONTROLLER)
        .device("/dev/null")
        .device("/dev/urandom")
        .file("/etc/passwd", "controller:x:1000:1000::/:/nonexistent\n")
        .file("/etc/group", "controller:x:1000:\n");
    root = match temporary_bytes {
        Some(size_bytes) => root.scratch(scratch(size_bytes)),
        None => root.directory(TEMPORARY),
    };
    for path in &interpreter.visible {
        root = root.bind(path);
    }
    for (path, points_to) in &interpreter.links {
        root = root.link(path, points_to);
    }
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
            RUNNER,
        ]
        .map(str::to_owned)
        .to_vec(),
        environment: [("LANG", "C.UTF-8"), ("HOME", "/"), ("PATH", "/nonexistent")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        hostname: "controller".to_owned(),
        root,
        identity,
        limits: ResourceLimits::default(),
        layers,
        ..Plan::new(&interpreter.executable)
    }
}

/// The import path inside.
pub(crate) fn import_path(interpreter: &Interpreter) -> Vec<String> {
    let packages = interpreter
        .packages
        .iter()
        .map(|path| path.display().to_string());
    [SDK.to_owned(), CONTROLLER.to_owned()]
        .into_iter()
        .chain(packages)
        .collect()
}
