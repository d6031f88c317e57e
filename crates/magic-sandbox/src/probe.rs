//! What this host could enforce, found by asking the kernel and without running anything untrusted.
//!
//! The questions are cheap and change nothing: files under `/proc`, the version query of Landlock,
//! and which answers a filter may give. The answer is a forecast. The proof is the [`crate::Report`]
//! of a real start.

mod namespaces;
pub(crate) mod remedies;

use std::path::Path;

use crate::cgroup;
use crate::layers::{Enforcement, Layer};
use crate::sys;

/// One layer as this host would give it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerProbe {
    /// Which layer.
    pub layer: Layer,
    /// Whether it would stand in full.
    pub available: bool,
    /// What was found.
    pub detail: String,
    /// What to type if it would not.
    pub remedy: Option<String>,
}

/// Looks at every layer, in the order of [`Layer::ALL`]. Takes a few milliseconds.
#[must_use]
pub fn probe() -> Vec<LayerProbe> {
    Layer::ALL.into_iter().map(look).collect()
}

fn look(layer: Layer) -> LayerProbe {
    let (available, detail, remedy) = match layer {
        Layer::User
        | Layer::Pid
        | Layer::Mount
        | Layer::Network
        | Layer::Ipc
        | Layer::Uts
        | Layer::CgroupNamespace => namespaces::look(layer),
        Layer::Landlock => landlock(),
        Layer::Seccomp => seccomp(),
        Layer::Capabilities => (true, "always available".to_owned(), None),
        Layer::ResourceLimits => (true, resource_limits(), None),
        Layer::CgroupLimits => control_groups(),
    };
    LayerProbe {
        layer,
        available,
        detail,
        remedy: remedy.filter(|_| !available),
    }
}

/// The one limit that a host can make meaningless (`core(5)`).
fn resource_limits() -> String {
    match std::fs::read_to_string("/proc/sys/kernel/core_pattern") {
        Ok(pattern) if pattern.starts_with('@') => {
            "available; core dumps of dumpable programs go to a socket, which heeds no limit"
                .to_owned()
        }
        _ => "always available".to_owned(),
    }
}

fn landlock() -> (bool, String, Option<String>) {
    let (available, detail) = match sys::landlock::abi_version() {
        Ok(version) => (version >= 6, format!("ABI {version}")),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            (false, "built in, and not enabled at boot".to_owned())
        }
        Err(error) => (false, format!("not in this kernel: {error}")),
    };
    (available, detail, Some(remedies::landlock()))
}

/// The call is asked and not the list under `/proc/sys`, which a hardened unit hides.
fn seccomp() -> (bool, String, Option<String>) {
    let wanted = [
        ("kill_process", libc::SECCOMP_RET_KILL_PROCESS),
        ("errno", libc::SECCOMP_RET_ERRNO),
        ("allow", libc::SECCOMP_RET_ALLOW),
    ];
    let refused = wanted.into_iter().find_map(|(name, action)| {
        let error = sys::filter::action_is_available(action).err()?;
        Some(format!("no filter may answer {name}: {error}"))
    });
    let available = refused.is_none();
    let detail = refused.unwrap_or_else(|| "the kernel takes filters".to_owned());
    (available, detail, Some(remedies::seccomp()))
}

fn control_groups() -> (bool, String, Option<String>) {
    let remedy = Some(remedies::control_groups());
    match cgroup::forecast() {
        Ok((kind, Enforcement::Full)) => (true, format!("{kind}: memory, cpu, pids"), remedy),
        Ok((kind, less)) => (false, format!("{kind}: {less}"), remedy),
        Err(error) => (false, error.to_string(), error.advice().or(remedy)),
    }
}

/// Whether a file under `/proc/self/ns` says that the kernel has this namespace.
fn has_namespace(name: &str) -> bool {
    Path::new("/proc/self/ns").join(name).exists()
}
