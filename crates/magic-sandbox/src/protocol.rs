//! What the supervisor and the jail say to each other, over the jail's standard input.
//!
//! A message is a length of four bytes (little-endian) and that many bytes of JSON. Descriptors travel
//! with the length. The supervisor says one thing, the order; the jail answers twice at most: that the
//! program's process is born, and what stands or which step failed. After that the end of the stream
//! says that the exec succeeded, since the socket is close-on-exec.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::layers::{Enforcement, Report};
use crate::peer;
use crate::plan::Plan;

/// No order or answer comes near this; more means that the other side is not ours.
const LONGEST: usize = 4 << 20;

/// The supervisor's one message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) plan: Plan,
    /// How many of the descriptors are the program's own; the rest are `cgroup.procs` files.
    pub(crate) program_descriptors: usize,
    /// What joining the group means, if every join succeeds.
    pub(crate) cgroup_limits: Enforcement,
}

/// The jail's messages.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The program's process exists; its descriptor comes with this message.
    Born { pid: i32 },
    /// Everything stands; the next thing is the exec.
    Confined { report: Report },
    /// A step failed; the process is gone or about to go.
    Failed(JailFailure),
}

/// One step of the jail, in the order of `docs/sandbox.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// Reading the order of the supervisor.
    ReadOrder,
    /// Joining the control group.
    JoinGroup,
    /// Checking and dropping identities.
    Identity,
    /// Opening the sources of the binds.
    OpenSources,
    /// Making the process in its namespaces.
    Namespaces,
    /// Writing the id maps of the user namespace.
    IdMaps,
    /// Following the death of the supervisor.
    ParentDeath,
    /// Leaving the session and the terminal.
    Session,
    /// Setting the host name.
    HostName,
    /// Building the private root.
    Root,
    /// Checking that the root is what was asked for.
    RootCheck,
    /// Arranging descriptors and closing all others.
    Descriptors,
    /// Setting resource limits.
    ResourceLimits,
    /// Dropping capabilities.
    Capabilities,
    /// Setting `no_new_privs`.
    NoNewPrivileges,
    /// Entering the Landlock domain.
    Landlock,
    /// Preparing or installing the system call filter.
    Seccomp,
    /// Becoming the program.
    Execute,
}

/// A step that failed, with the kernel's reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailFailure {
    /// Which step.
    pub step: Step,
    /// The error number, if a system call failed.
    pub errno: Option<i32>,
    /// What the step was busy with.
    pub detail: String,
}

impl JailFailure {
    pub(crate) fn new(step: Step, detail: impl Into<String>, error: &io::Error) -> Self {
        Self {
            step,
            errno: error.raw_os_error(),
            detail: if error.raw_os_error().is_some() {
                detail.into()
            } else {
                format!("{}: {error}", detail.into())
            },
        }
    }

    pub(crate) fn refused(step: Step, detail: impl Into<String>) -> Self {
        Self {
            step,
            errno: None,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for JailFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.detail)?;
        if let Some(errno) = self.errno {
            write!(formatter, ": {}", io::Error::from_raw_os_error(errno))?;
        }
        Ok(())
    }
}

impl std::error::Error for JailFailure {}

/// Sends one message.
pub(crate) fn send<M: Serialize>(
    socket: impl AsFd,
    message: &M,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let body = serde_json::to_vec(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&body);
    let mut sent = peer::send_with_descriptors(&socket, &bytes, descriptors)?;
    while sent < bytes.len() {
        sent += peer::send_with_descriptors(&socket, &bytes[sent..], &[])?;
    }
    Ok(())
}

/// Sends one message by plain `write(2)`, which the program's own filter allows.
pub(crate) fn write<M: Serialize>(socket: impl AsFd, message: &M) -> io::Result<()> {
    let body = serde_json::to_vec(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&body);
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        match rustix::io::write(&socket, rest) {
            Ok(count) => rest = &rest[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Receives one message and its descriptors; `None` at the end of the stream.
pub(crate) fn receive<M: DeserializeOwned>(
    socket: impl AsFd,
) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    let mut head = [0_u8; 4];
    let mut descriptors = Vec::new();
    if !fill(&socket, &mut head, &mut descriptors)? {
        return Ok(None);
    }
    let length = u32::from_le_bytes(head) as usize;
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0_u8; length];
    if !fill(&socket, &mut body, &mut descriptors)? {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let message = serde_json::from_slice(&body).map_err(io::Error::other)?;
    Ok(Some((message, descriptors)))
}

/// Fills `buffer`, or returns false if the stream ended before its first byte.
fn fill(socket: impl AsFd, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        let (count, received) = peer::receive(&socket, &mut buffer[filled..])?;
        descriptors.extend(received);
        match count {
            0 if filled == 0 => return Ok(false),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    Ok(true)
}
