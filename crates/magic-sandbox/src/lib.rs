//! Runs one program confined and tells how it ended.
//!
//! The crate is usable alone: it knows nothing of controllers, contracts or Python, and it has no
//! asynchronous code. A [`Spawner`] takes a [`Plan`] and returns a [`Confined`] program, with a
//! [`Report`] of what was really enforced. The numbered procedure of the jail is in `docs/sandbox.md`.
//!
//! # How a caller uses it
//!
//! 1. The first line of `main` calls [`enter_if_asked`]: the supervisor starts a jail by executing
//!    itself again, and building namespaces needs a process with one thread.
//! 2. [`Spawner::start`] makes the thread that is the parent of everything confined.
//! 3. [`Groups::discover`] finds the control groups that this process may divide.
//! 4. [`Spawner::spawn`] runs the program; the returned [`PidFd`] is pollable.
//!
//! # Limits
//!
//! Linux 5.13 or newer, x86_64 or aarch64. Confinement is identical in debug and release builds.

#![deny(unsafe_code)]

mod cgroup;
mod explanation;
mod jail;
mod layers;
mod peer;
mod pidfd;
mod plan;
mod probe;
mod protocol;
mod seccomp;
mod spawn;
mod sys;

pub use cgroup::{GroupError, Groups, Lap, Leaf, Limits, Usage};
pub use jail::enter_if_asked;
pub use layers::{Enforcement, Layer, Layers, Level, Report};
pub use peer::{Identified, identify_peers, receive, receive_with_identity, send_with_descriptors};
pub use pidfd::{Ended, PidFd, PidNamespace};
pub use plan::{
    Bind, INSIDE_GID, INSIDE_UID, Identity, Link, Plan, ResourceLimits, Root, Scratch, SmallFile,
};
pub use probe::{LayerProbe, probe};
pub use protocol::{JailFailure, Step};
pub use spawn::{Confined, Descriptors, SpawnError, Spawner};
