//! Unix sockets with what travels beside the bytes: descriptors, and the sender's identity.
//!
//! A confined process can write any number it likes into a message. What it cannot forge is what the
//! kernel attaches: its credentials, translated into our pid namespace, and a descriptor of itself.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::pidfd::PidFd;
use crate::sys;

/// The most descriptors that one message carries here; the kernel's own limit is 253.
const DESCRIPTORS: usize = 64;

/// One byte and the process that sent it.
#[derive(Debug)]
pub struct Identified {
    /// The byte.
    pub byte: u8,
    /// The sender's number in our pid namespace.
    pub pid: i32,
    /// The sender.
    pub process: PidFd,
    /// Whether the kernel itself attached the process descriptor (Linux 6.5). If not, it was opened
    /// by number after the fact, and the caller must challenge the process once more before it
    /// believes that the number was not reused.
    pub attested: bool,
}

/// Makes the kernel attach the sender's identity to what arrives at `socket` from now on.
///
/// To be called before the other end is given away: bytes sent earlier carry no identity.
///
/// # Errors
/// The socket is not a unix socket.
pub fn identify_peers(socket: impl AsFd) -> io::Result<()> {
    rustix::net::sockopt::set_socket_passcred(&socket, true)?;
    match sys::identity::pass_process_descriptors(&socket) {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        other => other,
    }
}

/// Receives one byte and who sent it, without ever blocking. See [`identify_peers`].
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if nothing is there, [`io::ErrorKind::UnexpectedEof`] at the end of
/// the stream, [`io::ErrorKind::InvalidData`] if the byte carries no identity, and `ESRCH` if the
/// sender is gone.
pub fn receive_with_identity(socket: impl AsFd) -> io::Result<Identified> {
    let received = sys::identity::receive_byte(socket)?;
    let byte = received.byte.ok_or(io::ErrorKind::UnexpectedEof)?;
    // Number 0 stands for a process outside our namespace, or for no identity at all.
    let pid = received
        .pid
        .filter(|pid| *pid > 0)
        .ok_or(io::ErrorKind::InvalidData)?;
    let attested = received.pidfd.is_some();
    let process = match received.pidfd {
        Some(descriptor) => PidFd::from_descriptor(descriptor, pid),
        None => PidFd::open(pid)?,
    };
    Ok(Identified {
        byte,
        pid,
        process,
        attested,
    })
}

/// Sends `bytes` with copies of `descriptors`. On a packet socket this is one message.
///
/// # Errors
/// `EPIPE` if the other end is closed, `EMSGSIZE` for more than 64 descriptors or too many bytes,
/// [`io::ErrorKind::WouldBlock`] on a non-blocking socket that is full.
pub fn send_with_descriptors(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    if descriptors.len() > DESCRIPTORS {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    loop {
        match rustix::net::sendmsg(
            &socket,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Receives bytes into `buffer` and the descriptors that came with them (close-on-exec). Zero bytes
/// mean the end. A packet longer than the buffer is cut, and reported as `EMSGSIZE`.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] on a non-blocking socket with nothing to read, and `EMSGSIZE`.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        match rustix::net::recvmsg(
            &socket,
            &mut [IoSliceMut::new(buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    let cut = rustix::net::ReturnFlags::TRUNC | rustix::net::ReturnFlags::CTRUNC;
    if message.flags.intersects(cut) {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    Ok((message.bytes, descriptors))
}
