//! The supervisor's end of a control channel: packets with descriptors, without
//! blocking.

use crate::control::PACKET_LIMIT;
use crate::watched::{Watched, watch};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType,
};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The most descriptors that travel with one packet.
const DESCRIPTORS: usize = 3;

/// A connected packet socket in the event loop.
#[derive(Debug)]
pub(crate) struct PacketSocket {
    socket: AsyncFd<Watched<OwnedFd>>,
}

impl PacketSocket {
    /// A connected pair: the supervisor's end, and the end to hand over.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (own, other) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        // Only this end: the other one is read by a program that waits.
        rustix::io::ioctl_fionbio(&own, true)?;
        let socket = watch(own, Interest::READABLE | Interest::WRITABLE)?;
        Ok((Self { socket }, other))
    }

    /// Sends one packet with its descriptors.
    pub(crate) async fn send(
        &self,
        packet: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        debug_assert!(
            packet.len() <= PACKET_LIMIT && descriptors.len() <= DESCRIPTORS,
            "packets are made by us"
        );
        self.socket
            .async_io(Interest::WRITABLE, |socket| {
                let mut space =
                    [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                if !descriptors.is_empty() {
                    ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
                }
                // NOSIGNAL: a peer that is gone is an error, not a SIGPIPE.
                rustix::net::sendmsg(
                    &socket.0,
                    &[IoSlice::new(packet)],
                    &mut ancillary,
                    SendFlags::NOSIGNAL,
                )?;
                Ok(())
            })
            .await
    }

    /// Receives one packet; an empty one means that the peer is gone. What is
    /// longer than the limit is cut, and is then no JSON.
    pub(crate) async fn receive(&self) -> io::Result<Vec<u8>> {
        self.socket
            .async_io(Interest::READABLE, |socket| {
                let mut packet = vec![0; PACKET_LIMIT];
                // Descriptors that come along are not asked for, so the kernel
                // closes them.
                let (count, _) = rustix::net::recv(&socket.0, &mut packet[..], RecvFlags::empty())?;
                packet.truncate(count);
                Ok(packet)
            })
            .await
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().0.as_fd()
    }
}
