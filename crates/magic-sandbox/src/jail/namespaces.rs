//! Which namespaces the program's process is made in.
//!
//! All of them come from one clone, so there is no moment in which the process is in some and not in
//! others. A namespace that is wanted at best effort and refused is left out one at a time, to keep
//! as many of the others as the kernel grants.

use std::io;

use crate::layers::{Enforcement, Layer, Layers, Level, Report};
use crate::protocol::{JailFailure, Step};
use crate::sys::clone::{Cloned, clone_sibling};

/// The layers that are namespaces. The user namespace comes last among those to give up, since for
/// an ordinary user it is what permits the others.
const NAMESPACES: [(Layer, libc::c_int); 7] = [
    (Layer::CgroupNamespace, libc::CLONE_NEWCGROUP),
    (Layer::Uts, libc::CLONE_NEWUTS),
    (Layer::Ipc, libc::CLONE_NEWIPC),
    (Layer::Network, libc::CLONE_NEWNET),
    (Layer::Pid, libc::CLONE_NEWPID),
    (Layer::Mount, libc::CLONE_NEWNS),
    (Layer::User, libc::CLONE_NEWUSER),
];

/// Makes the program's process in as many of the wanted namespaces as the levels allow.
pub(super) fn clone_into(layers: &Layers, report: &mut Report) -> Result<Cloned, JailFailure> {
    let wanted: libc::c_int = flags(|layer| layers.level(layer) != Level::Off);
    let required: libc::c_int = flags(|layer| layers.level(layer) == Level::Required);
    let mut attempts = vec![wanted];
    for (layer, flag) in NAMESPACES {
        if layers.level(layer) == Level::BestEffort {
            attempts.push(wanted & !flag);
        }
    }
    attempts.push(required);
    attempts.dedup();

    let mut refusal: Option<io::Error> = None;
    for attempt in attempts {
        record(report, wanted, attempt, refusal.as_ref());
        match clone_sibling(attempt) {
            Ok(cloned) => return Ok(cloned),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    let error = refusal.unwrap_or_else(|| io::ErrorKind::Other.into());
    Err(JailFailure::new(
        Step::Namespaces,
        "make a process in new namespaces",
        &error,
    ))
}

fn flags(chosen: impl Fn(Layer) -> bool) -> libc::c_int {
    NAMESPACES
        .into_iter()
        .filter(|(layer, _)| chosen(*layer))
        .fold(0, |flags, (_, flag)| flags | flag)
}

/// Recorded before the clone, so that both processes hold the same report.
fn record(report: &mut Report, wanted: libc::c_int, got: libc::c_int, why: Option<&io::Error>) {
    for (layer, flag) in NAMESPACES {
        let enforcement = match (wanted & flag != 0, got & flag != 0) {
            (false, _) => Enforcement::Off,
            (true, true) => Enforcement::Full,
            (true, false) => {
                Enforcement::Absent(why.map_or_else(|| "refused".to_owned(), ToString::to_string))
            }
        };
        report.record(layer, enforcement);
    }
}
