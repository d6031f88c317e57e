//! The second half of the jail, in the program's own process.
//!
//! From here on the order of things matters more than anywhere else: files are opened before the
//! root that hides them, identities are taken before the capabilities that allow it are gone, and the
//! system call filter comes last because it refuses what all the others need.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::Mode;
use rustix::process::Signal;

use super::outer::Prepared;
use super::{capabilities, identity, landlock, limits, root};
use crate::layers::{Enforcement, Layer, Level, Report};
use crate::plan::Plan;
use crate::protocol::{self, Answer, JailFailure, Step};
use crate::seccomp;
use crate::sys::sealed_exec::SealedExec;
use crate::sys::{credentials, descriptors, signals};

/// Builds the rest and becomes the program, or tells why it could not and ends.
pub(super) fn run(prepared: Prepared, go: OwnedFd) -> ! {
    let mut channel = None;
    let Err(failure) = build(prepared, go, &mut channel);
    if let Some(socket) = channel {
        // The supervisor may be gone; then nobody is left to tell.
        let _ = protocol::write(&socket, &Answer::Failed(failure));
    }
    descriptors::exit_now(1)
}

/// Returns only with a failure. `channel` holds the socket to the supervisor under its present number.
fn build(
    prepared: Prepared,
    go: OwnedFd,
    channel: &mut Option<OwnedFd>,
) -> Result<Infallible, JailFailure> {
    let Prepared {
        order,
        socket,
        program_descriptors,
        sources,
        mut report,
    } = prepared;
    let socket = channel.insert(socket);
    let plan = &order.plan;
    let program_descriptor_count = program_descriptors.len();

    wait_for_go(go)?;
    if *report.enforcement(Layer::User) == Enforcement::Full {
        identity::take_inside()?;
    }
    follow_supervisor(socket)?;
    leave_session()?;
    if *report.enforcement(Layer::Uts) == Enforcement::Full {
        let standing = layer(plan.layers.uts, Step::HostName, || set_host_name(plan))?;
        report.record(Layer::Uts, standing);
    }
    if *report.enforcement(Layer::Mount) == Enforcement::Full {
        let standing = layer(plan.layers.mount, Step::Root, || {
            root::enter(&plan.root, sources).map(|()| Enforcement::Full)
        })?;
        report.record(Layer::Mount, standing);
    } else {
        drop(sources);
    }
    let private_root = *report.enforcement(Layer::Mount) == Enforcement::Full;
    rustix::process::chdir(&plan.working_directory)
        .map_err(|error| failed(Step::Root, "enter the working directory")(error.into()))?;

    rustix::process::umask(Mode::RWXG | Mode::RWXO);

    // A kernel without keyrings has nothing to leave; a full quota of keys leaves the old one, which
    // the filter keeps out of reach.
    let _ = credentials::new_session_keyring();
    let copy = socket
        .try_clone()
        .map_err(failed(Step::Descriptors, "copy the socket"))?;
    let arranged = descriptors::arrange(program_descriptors, copy)
        .map_err(failed(Step::Descriptors, "arrange descriptors"))?;
    // The socket's former number was closed by that, and may be somebody else's by now.
    std::mem::forget(std::mem::replace(socket, arranged));
    check_descriptors(program_descriptor_count)?;

    let exec = prepare_exec(plan)?;
    let filters = match plan.layers.seccomp {
        Level::Off => None,
        _ => Some(seccomp::compile(exec.addresses()).map_err(|error| {
            JailFailure::refused(Step::Seccomp, format!("compile the filter: {error}"))
        })?),
    };
    lose_privileges(plan, &mut report, private_root)?;
    // Identities and capabilities have changed, and the kernel forgets the signal then (prctl(2)).
    follow_supervisor(socket)?;
    signals::reset_all().map_err(failed(Step::Execute, "reset signals"))?;

    if let Some(filters) = filters {
        let standing = layer(plan.layers.seccomp, Step::Seccomp, || {
            seccomp::install(&filters).map_err(|error| {
                JailFailure::refused(Step::Seccomp, format!("install the filter: {error}"))
            })?;
            Ok(Enforcement::Full)
        })?;
        report.record(Layer::Seccomp, standing);
    }
    protocol::write(&*socket, &Answer::Confined { report })
        .map_err(failed(Step::Execute, "report"))?;
    let error = exec.execute();
    let detail = format!("execute {}", plan.program.display());
    Err(JailFailure::new(Step::Execute, detail, &error))
}

/// Runs one layer at its level: what fails is an error if required, and a remark if not.
fn layer(
    level: Level,
    step: Step,
    build: impl FnOnce() -> Result<Enforcement, JailFailure>,
) -> Result<Enforcement, JailFailure> {
    match (level, build()) {
        (Level::Required, Ok(Enforcement::Full)) => Ok(Enforcement::Full),
        (Level::Required, Ok(less)) => Err(JailFailure::refused(
            step,
            format!("the layer is required and stands only in part: {less}"),
        )),
        (Level::Required, Err(failure)) => Err(failure),
        (_, Ok(standing)) => Ok(standing),
        (_, Err(failure)) => Ok(Enforcement::Absent(failure.to_string())),
    }
}

/// A fresh namespace begins with a copy of the host's name. Without the right to change it the namespace
/// still keeps the host's own name from being changed, and hides nothing.
fn set_host_name(plan: &Plan) -> Result<Enforcement, JailFailure> {
    match nix::unistd::sethostname(&plan.hostname) {
        Ok(()) => Ok(Enforcement::Full),
        Err(error) if plan.layers.uts == Level::Required => {
            Err(failed(Step::HostName, "set the host name")(error.into()))
        }
        Err(error) => Ok(Enforcement::Partial(format!(
            "the host's name stays visible: {error}"
        ))),
    }
}

/// Limits, identity, capabilities, `no_new_privs`, Landlock.
fn lose_privileges(
    plan: &Plan,
    report: &mut Report,
    private_root: bool,
) -> Result<(), JailFailure> {
    let layers = &plan.layers;
    if layers.resource_limits != Level::Off {
        let standing = layer(layers.resource_limits, Step::ResourceLimits, || {
            limits::set(&plan.limits).map(|()| Enforcement::Full)
        })?;
        report.record(Layer::ResourceLimits, standing);
    }
    if *report.enforcement(Layer::User) != Enforcement::Full {
        identity::take_host(plan, true)?;
    }
    if layers.capabilities != Level::Off {
        let standing = layer(
            layers.capabilities,
            Step::Capabilities,
            capabilities::drop_all,
        )?;
        report.record(Layer::Capabilities, standing);
    }
    rustix::thread::set_no_new_privs(true)
        .map_err(|error| failed(Step::NoNewPrivileges, "set no_new_privs")(error.into()))?;
    if layers.landlock != Level::Off {
        let standing = layer(layers.landlock, Step::Landlock, || {
            landlock::enter(plan, private_root)
        })?;
        report.record(Layer::Landlock, standing);
    }
    Ok(())
}

fn failed(step: Step, detail: &'static str) -> impl Fn(io::Error) -> JailFailure {
    move |error| JailFailure::new(step, detail, &error)
}

/// Waits until the first half has written the id maps. If it died, so do we.
fn wait_for_go(go: OwnedFd) -> Result<(), JailFailure> {
    let mut byte = [0_u8; 1];
    match rustix::io::read(&go, &mut byte) {
        Ok(1) => Ok(()),
        Ok(_) => Err(JailFailure::refused(
            Step::IdMaps,
            "the first half of the jail has ended",
        )),
        Err(error) => Err(failed(Step::IdMaps, "wait for the id maps")(error.into())),
    }
}

/// Asks to be killed with the supervisor, then checks that it was still there to ask for.
///
/// The parent's number is useless for that: seen from a new pid namespace it is 0. The supervisor's
/// end of the socket closes when it dies, and that can be polled.
fn follow_supervisor(socket: &OwnedFd) -> Result<(), JailFailure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| {
        failed(Step::ParentDeath, "follow the supervisor's death")(error.into())
    })?;
    let mut entries = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut entries, Some(&now))
        .map_err(|error| failed(Step::ParentDeath, "look for the supervisor")(error.into()))?;
    if entries[0].revents().contains(PollFlags::HUP) {
        return Err(JailFailure::refused(
            Step::ParentDeath,
            "the supervisor is gone",
        ));
    }
    Ok(())
}

/// A session of its own has no controlling terminal to push characters into.
fn leave_session() -> Result<(), JailFailure> {
    rustix::process::setsid()
        .map_err(|error| failed(Step::Session, "make a session")(error.into()))?;
    // Everyone inside may walk the directories of the root; the program's own mask comes later.
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    Ok(())
}

/// `close_range` is trusted, and asked all the same: a leaked directory descriptor is a way out.
fn check_descriptors(program_descriptors: usize) -> Result<(), JailFailure> {
    let report = i32::try_from(program_descriptors).unwrap_or(i32::MAX);
    let leaked = (0..4096).find(|number| descriptors::is_open(*number) != (*number <= report));
    match leaked {
        None => Ok(()),
        Some(number) => Err(JailFailure::refused(
            Step::Descriptors,
            format!("descriptor {number} is not as it should be"),
        )),
    }
}

fn prepare_exec(plan: &Plan) -> Result<SealedExec, JailFailure> {
    let text = |bytes: &[u8]| {
        CString::new(bytes).map_err(|_| {
            JailFailure::refused(Step::Execute, "a NUL byte in the program's arguments")
        })
    };
    let path = text(plan.program.as_os_str().as_bytes())?;
    let mut arguments = vec![path.clone()];
    for argument in &plan.arguments {
        arguments.push(text(argument.as_bytes())?);
    }
    let mut environment = Vec::with_capacity(plan.environment.len());
    for (name, value) in &plan.environment {
        environment.push(text(format!("{name}={value}").as_bytes())?);
    }
    SealedExec::prepare(&path, &arguments, &environment)
        .map_err(failed(Step::Execute, "lay out the arguments"))
}
