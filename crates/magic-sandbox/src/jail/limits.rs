//! Resource limits of the process (`setrlimit(2)`).
//!
//! Most of these only lower what was inherited. The core limit is 1 and not 0: a core pattern that
//! begins with a pipe ignores the limit, except for the value 1, at which the kernel gives up the dump
//! (`fs/coredump.c`: the value marks its own helper processes, and stops their recursion). So no
//! helper program of the host reads a dump of the confined one, and the filter refuses to change the value,
//! since lowering it to 0 would bring the helper back. A core pattern that names a socket (`@`, Linux
//! 6.16) heeds no limit; against that a program makes itself undumpable.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::plan::ResourceLimits;
use crate::protocol::{JailFailure, Step};

/// Sets all limits. Hard limits are only ever lowered, so no privilege is needed.
pub(super) fn set(limits: &ResourceLimits) -> Result<(), JailFailure> {
    let fixed = [
        (Resource::Core, Some(1)),
        (Resource::Nofile, Some(limits.open_files)),
        (Resource::Msgqueue, Some(0)),
        (Resource::Memlock, Some(limits.locked_bytes)),
        (Resource::Nice, Some(0)),
        (Resource::Rtprio, Some(0)),
        (Resource::Sigpending, Some(limits.pending_signals)),
        (Resource::Stack, Some(limits.stack_bytes)),
        (Resource::As, limits.address_space_bytes),
        (Resource::Data, limits.data_bytes),
        (Resource::Nproc, limits.processes),
        (Resource::Fsize, limits.file_size_bytes),
        (Resource::Cpu, limits.cpu_seconds),
    ];
    for (resource, wanted) in fixed {
        if let Some(wanted) = wanted {
            lower(resource, wanted)?;
        }
    }
    Ok(())
}

fn lower(resource: Resource, wanted: u64) -> Result<(), JailFailure> {
    let hard = getrlimit(resource)
        .maximum
        .map_or(wanted, |hard| hard.min(wanted));
    let limit = Rlimit {
        current: Some(hard),
        maximum: Some(hard),
    };
    let failed = |error: rustix::io::Errno| {
        JailFailure::new(
            Step::ResourceLimits,
            format!("set the limit {resource:?}"),
            &error.into(),
        )
    };
    setrlimit(resource, limit).map_err(failed)?;
    if getrlimit(resource) == limit {
        Ok(())
    } else {
        Err(JailFailure::refused(
            Step::ResourceLimits,
            format!("the limit {resource:?} was not taken"),
        ))
    }
}
