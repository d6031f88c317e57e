//! The system call filter: reviewed tables, and the four small programs made from them.
//!
//! A kernel filter compiled by seccompiler has one answer for what it lists and one for the rest. Four
//! answers are wanted, so filters are stacked, and the order is part of the design. The kernel runs
//! all of them and takes the strictest answer; among equally strict errors the *newest* filter's
//! number wins (`seccomp(2)`). So, oldest first:
//!
//! 1. `killed`: calls that no program of ours makes by accident end the process with SIGSYS.
//! 2. `sealed`: `execve` from three secret addresses, and from no others.
//! 3. `allowed`: what is listed passes; all else is "no such call", so that C libraries fall back
//!    when a newer kernel has a call which this list has not heard of. An allow-list also needs no test
//!    for the x32 numbers, which a list of refusals would miss.
//! 4. `denied`: calls that exist and are refused, wholly or by their arguments, answer "not
//!    permitted", which is what people who read an error expect. It is newer than `allowed`, so its
//!    error wins over "no such call". It also refuses `seccomp(2)` itself, so it must come last.
//!
//! Calls from another architecture kill the process in the prologue that seccompiler puts first.

mod allowed;
mod arguments;
mod denied;
mod sealed;
#[cfg(test)]
mod tests;

#[cfg_attr(target_arch = "x86_64", path = "seccomp/x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "seccomp/aarch64.rs")]
mod architecture;

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule};

/// One allowed call and why the program needs it.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "people and tests read the names and reasons")
)]
pub(crate) struct Allowed {
    pub(crate) name: &'static str,
    pub(crate) number: libc::c_long,
    pub(crate) reason: &'static str,
}

/// Calls refused for one reason.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "people and tests read the names and reasons")
)]
pub(crate) struct Refused {
    pub(crate) reason: &'static str,
    pub(crate) calls: &'static [(&'static str, libc::c_long)],
}

/// The programs, in the order of installation.
pub(crate) struct Filters([BpfProgram; 4]);

/// Compiles the tables. `exec` holds the three addresses that `execve` may be called with.
pub(crate) fn compile(exec: [u64; 3]) -> Result<Filters, seccompiler::BackendError> {
    let architecture = std::env::consts::ARCH.try_into()?;
    let unconditional = |numbers: Vec<libc::c_long>| -> BTreeMap<i64, Vec<SeccompRule>> {
        numbers.into_iter().map(|number| (number, vec![])).collect()
    };
    let program = |rules, otherwise, listed| -> Result<BpfProgram, seccompiler::BackendError> {
        SeccompFilter::new(rules, otherwise, listed, architecture)?.try_into()
    };
    let permission = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let unknown = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());

    let killed = program(
        unconditional(numbers(denied::KILLED, &[])),
        SeccompAction::Allow,
        SeccompAction::KillProcess,
    )?;
    let allowed = program(
        unconditional(allowed_calls().map(|call| call.number).collect()),
        unknown,
        SeccompAction::Allow,
    )?;
    let mut refusals = unconditional(numbers(denied::DENIED, architecture::DENIED));
    refusals.extend(arguments::refusals()?);
    let denied = program(refusals, SeccompAction::Allow, permission)?;
    Ok(Filters([killed, sealed::program(exec), allowed, denied]))
}

/// Installs the programs for this process and all that it will fork.
pub(crate) fn install(filters: &Filters) -> Result<(), seccompiler::Error> {
    filters
        .0
        .iter()
        .try_for_each(|program| seccompiler::apply_filter(program))
}

fn allowed_calls() -> impl Iterator<Item = &'static Allowed> {
    allowed::ALLOWED
        .into_iter()
        .flatten()
        .chain(architecture::ALLOWED)
}

fn numbers(everywhere: &[Refused], here: &[Refused]) -> Vec<libc::c_long> {
    everywhere
        .iter()
        .chain(here)
        .flat_map(|group| group.calls.iter().map(|(_, number)| *number))
        .collect()
}

/// A row of the tables of allowed calls.
const fn call(name: &'static str, number: libc::c_long, reason: &'static str) -> Allowed {
    Allowed {
        name,
        number,
        reason,
    }
}
