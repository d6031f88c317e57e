//! The Landlock domain of the program.
//!
//! Files: reading below what the plan lists, executing the program and its loader, plain files and folders
//! below the one writable directory if the plan has it, and nothing else.
//! TCP: no bind and no connect. Scopes: no signal to and no abstract socket of a process outside the
//! domain. Every process of one sandbox shares this domain; a worker that must be kept from its
//! siblings enters another one of its own on top.
//!
//! What Landlock is *not* credited with: a pathname unix socket can still be connected to (before ABI 9)
//! and UDP is not covered (before ABI 10). Those are held by the mount and network namespaces and by
//! the system call filter.
//!
//! The rights that are wanted are those of ABI 6, the last one that added any which this kernel family
//! knows; ABI 7 only added flags for the audit log, which stay at their defaults.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::loader;
use crate::layers::{Enforcement, Level};
use crate::plan::Plan;
use crate::protocol::{JailFailure, Step};
use crate::sys;

/// The newest rights that this file knows.
const WANTED: ABI = ABI::V6;

/// Enters the domain. `private_root` says whether the plan's targets exist; without a private root
/// the same files are named by where they lie on the host.
pub(super) fn enter(plan: &Plan, private_root: bool) -> Result<Enforcement, JailFailure> {
    let mut ruleset = create(plan.layers.landlock)?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    for bind in &plan.root.binds {
        let path = if private_root {
            &bind.target
        } else {
            &bind.source
        };
        ruleset = allow(ruleset, path, read)?;
    }
    for device in &plan.root.devices {
        ruleset = allow(ruleset, device, AccessFs::ReadFile | AccessFs::WriteFile)?;
    }
    if private_root {
        for file in &plan.root.files {
            ruleset = allow(ruleset, &file.path, AccessFs::ReadFile.into())?;
        }
        for directory in &plan.root.directories {
            ruleset = allow(ruleset, directory, AccessFs::ReadDir.into())?;
        }
        if let Some(scratch) = &plan.root.scratch {
            ruleset = allow(ruleset, &scratch.path, written())?;
        }
    }
    let execute = AccessFs::Execute | AccessFs::ReadFile;
    ruleset = allow(ruleset, &plan.program, execute)?;
    let named = loader::of(&plan.program).map_err(|error| {
        let detail = format!("read the ELF header of {}", plan.program.display());
        JailFailure::new(Step::Landlock, detail, &error)
    })?;
    for executable in named.iter().chain(&plan.executables) {
        ruleset = allow(ruleset, executable, execute)?;
    }
    let status = ruleset
        .restrict_self()
        .map_err(|error| failure("enter the domain", &error))?;
    Ok(enforcement(status.ruleset))
}

/// What may be done below the writable directory: everything with plain files and folders. Making
/// links, devices, sockets and pipes, and executing, stay refused.
fn written() -> BitFlags<AccessFs> {
    AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer
}

fn create(level: Level) -> Result<RulesetCreated, JailFailure> {
    // The level counts for the calls after it; best effort never fails, so the status is read below.
    let compatibility = if level == Level::Required {
        CompatLevel::HardRequirement
    } else {
        CompatLevel::BestEffort
    };
    Ruleset::default()
        .set_compatibility(compatibility)
        .handle_access(AccessFs::from_all(WANTED))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(WANTED)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(WANTED)))
        .and_then(Ruleset::create)
        .map_err(|error| match sys::landlock::abi_version() {
            // The library names rights by its own constants, which say less than this.
            Ok(version) if version < i64::from(WANTED as i32) => {
                let text = format!("the layer is required, and {}", lacking());
                JailFailure::refused(Step::Landlock, text)
            }
            Err(_) => JailFailure::refused(Step::Landlock, lacking()),
            Ok(_) => failure("make the rule set", &error),
        })
}

/// Opens the path itself: the crate's own helper skips what it cannot open without a word.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, JailFailure> {
    let detail = || format!("open {} for its rule", path.display());
    let metadata = std::fs::metadata(path)
        .map_err(|error| JailFailure::new(Step::Landlock, detail(), &error))?;
    // The kernel refuses rights of directories on anything else.
    let access = if metadata.is_dir() {
        access
    } else {
        access & !BitFlags::from(AccessFs::ReadDir)
    };
    let opened = PathFd::new(path)
        .map_err(|error| JailFailure::refused(Step::Landlock, format!("{}: {error}", detail())))?;
    ruleset
        .add_rule(PathBeneath::new(opened, access))
        .map_err(|error| failure("add a rule", &error))
}

fn enforcement(status: RulesetStatus) -> Enforcement {
    match status {
        RulesetStatus::FullyEnforced => Enforcement::Full,
        RulesetStatus::PartiallyEnforced => Enforcement::Partial(lacking()),
        RulesetStatus::NotEnforced => Enforcement::Absent(lacking()),
    }
}

/// What the running kernel's Landlock is, and what it cannot restrict of what is wanted
/// (landlock(7), the table of ABI versions).
fn lacking() -> String {
    let Ok(version) = sys::landlock::abi_version() else {
        return "the kernel has no Landlock, or it is off".to_owned();
    };
    let later = [
        (2, "moving files between folders"),
        (3, "truncation"),
        (4, "TCP"),
        (5, "controls of devices"),
        (6, "signals and abstract sockets"),
    ];
    let missing: Vec<&str> = later
        .into_iter()
        .filter_map(|(since, what)| (version < since).then_some(what))
        .collect();
    if missing.is_empty() {
        return format!("the kernel's Landlock has ABI {version}");
    }
    format!(
        "the kernel's Landlock has ABI {version} of the 6 wanted, and cannot restrict {}",
        missing.join(", ")
    )
}

fn failure(detail: &str, error: &RulesetError) -> JailFailure {
    JailFailure::refused(Step::Landlock, format!("{detail}: {error}"))
}
