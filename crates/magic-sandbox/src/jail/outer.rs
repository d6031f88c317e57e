//! The first half of the jail, in the host's namespaces: it does what needs the supervisor's rights.
//!
//! It reads the order, joins the control group, gives up the groups of the supervisor, opens the
//! sources of the binds while it may still traverse the way to them, makes the program's process,
//! writes its id maps, and ends. It never touches anything that the program could have written.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::PipeFlags;
use rustix::process::Signal;

use super::{identity, inner, namespaces, root};
use crate::layers::{Enforcement, Layer, Level, Report};
use crate::protocol::{self, Answer, JailFailure, Order, Step};
use crate::sys::clone::Cloned;

/// Everything that the second half needs; it inherits the descriptors by being a copy of the process.
pub(super) struct Prepared {
    pub(super) order: Order,
    pub(super) socket: OwnedFd,
    pub(super) program_descriptors: Vec<OwnedFd>,
    pub(super) sources: Option<root::Sources>,
    pub(super) report: Report,
}

/// Runs the jail; the result is the exit status of this process.
pub(super) fn run() -> i32 {
    let Ok(socket) = io::stdin().as_fd().try_clone_to_owned() else {
        return 2;
    };
    let Ok(answers) = socket.try_clone() else {
        return 2;
    };
    match build(socket) {
        Ok(()) => 0,
        Err(failure) => {
            // The supervisor may be gone; then nobody is left to tell.
            let _ = protocol::write(&answers, &Answer::Failed(failure));
            1
        }
    }
}

fn build(socket: OwnedFd) -> Result<(), JailFailure> {
    let at =
        |step, detail: &'static str| move |error: io::Error| JailFailure::new(step, detail, &error);
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| at(Step::ParentDeath, "follow the supervisor's death")(error.into()))?;
    let (order, mut descriptors) = protocol::receive::<Order>(&socket)
        .and_then(|message| message.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()))
        .map_err(at(Step::ReadOrder, "read the order"))?;
    if descriptors.len() < order.program_descriptors {
        return Err(JailFailure::refused(
            Step::ReadOrder,
            "descriptors are missing",
        ));
    }
    let joins = descriptors.split_off(order.program_descriptors);

    let mut report = Report::default();
    join_group(&order, &joins, &mut report)?;
    drop(joins);
    identity::check(&order.plan)?;
    let sources = if order.plan.layers.mount != Level::Off && rustix::process::geteuid().is_root() {
        Some(root::Sources::open(&order.plan.root)?)
    } else {
        None
    };

    let (go_reader, go_writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
        .map_err(|error| at(Step::Namespaces, "make a pipe")(error.into()))?;
    match namespaces::clone_into(&order.plan.layers, &mut report)? {
        Cloned::New => {
            drop(go_writer);
            let prepared = Prepared {
                order,
                socket,
                program_descriptors: descriptors,
                sources,
                report,
            };
            inner::run(prepared, go_reader)
        }
        Cloned::Caller { pid, pidfd } => {
            drop(go_reader);
            protocol::send(&socket, &Answer::Born { pid }, &[pidfd.as_fd()])
                .map_err(at(Step::Namespaces, "hand over the process"))?;
            if *report.enforcement(Layer::User) == Enforcement::Full {
                identity::write_maps(pid, &order.plan)?;
            }
            rustix::io::write(&go_writer, b"g")
                .map_err(|error| at(Step::Namespaces, "start the process")(error.into()))?;
            Ok(())
        }
    }
}

/// Writes "0" (the writing process) into every `cgroup.procs` that the supervisor opened.
fn join_group(order: &Order, joins: &[OwnedFd], report: &mut Report) -> Result<(), JailFailure> {
    let level = order.plan.layers.cgroup_limits;
    let mut enforcement = order.cgroup_limits.clone();
    if level != Level::Off {
        for join in joins {
            match rustix::io::write(join, b"0") {
                Ok(_) => {}
                Err(error) if level == Level::BestEffort => {
                    enforcement = Enforcement::Absent(format!("cannot join the group: {error}"));
                }
                Err(error) => {
                    let detail = "join the control group";
                    return Err(JailFailure::new(Step::JoinGroup, detail, &error.into()));
                }
            }
        }
    }
    report.record(Layer::CgroupLimits, enforcement);
    Ok(())
}
