//! One byte from a unix socket, with the sender's identity as the kernel attests it.
//!
//! rustix reads `SCM_CREDENTIALS` but drops `SCM_PIDFD` (Linux 6.5), which is the one handle on the
//! sender that no number can replace. So the control messages are walked here.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::checked;

/// `SCM_PIDFD` and `SO_PASSPIDFD` of `include/linux/socket.h` and `asm-generic/socket.h`, Linux 6.5.
const SCM_PIDFD: libc::c_int = 0x04;
const SO_PASSPIDFD: libc::c_int = 76;

/// What came with the byte.
pub(crate) struct Received {
    /// The byte, or `None` at the end of the stream.
    pub(crate) byte: Option<u8>,
    /// The sender's process id in our pid namespace.
    pub(crate) pid: Option<i32>,
    /// The sender's process descriptor, where the kernel makes one.
    pub(crate) pidfd: Option<OwnedFd>,
}

/// Asks the kernel to attach a process descriptor of the sender to each message.
pub(crate) fn pass_process_descriptors(socket: impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option value is one int that outlives the call, and its true size is passed.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSPIDFD,
            (&raw const on).cast(),
            4,
        )
    };
    checked(answer.into()).map(drop)
}

/// Receives one byte without blocking.
pub(crate) fn receive_byte(socket: impl AsFd) -> io::Result<Received> {
    #[repr(align(8))]
    struct Control([MaybeUninit<u8>; 512]);
    let mut control = Control([MaybeUninit::uninit(); 512]);
    let mut byte = 0_u8;
    let mut slice = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    // SAFETY: `msghdr` is plain data for which all zeroes is a valid value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut slice;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len();
    // SAFETY: `header` points at the one byte and the control buffer above, with their true lengths,
    // and all of them outlive the call.
    let answer = unsafe {
        libc::recvmsg(
            socket.as_fd().as_raw_fd(),
            &raw mut header,
            libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC,
        )
    };
    let length = checked(answer as libc::c_long)?;
    let mut received = Received {
        byte: (length == 1).then_some(byte),
        pid: None,
        pidfd: None,
    };
    // SAFETY: the kernel filled `header`, so the first control message, if any, lies in the buffer.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    while !next.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return headers that lie wholly in the buffer.
        let message = unsafe { next.read_unaligned() };
        // SAFETY: as above; the data of a message begins at a fixed offset behind its header.
        let data = unsafe { libc::CMSG_DATA(next) };
        // SAFETY: computes a length, touches no memory.
        let head = unsafe { libc::CMSG_LEN(0) } as usize;
        let size = (message.cmsg_len as usize).saturating_sub(head);
        if message.cmsg_level == libc::SOL_SOCKET {
            match message.cmsg_type {
                libc::SCM_CREDENTIALS if size >= size_of::<libc::ucred>() => {
                    // SAFETY: the size was just checked; ucred is plain data.
                    let credentials = unsafe { data.cast::<libc::ucred>().read_unaligned() };
                    received.pid = Some(credentials.pid);
                }
                SCM_PIDFD if size >= size_of::<libc::c_int>() => {
                    // SAFETY: the size was just checked; the data is one int.
                    let number = unsafe { data.cast::<libc::c_int>().read_unaligned() };
                    if number >= 0 {
                        // SAFETY: the kernel installed this descriptor for us with this message.
                        received.pidfd = Some(unsafe { OwnedFd::from_raw_fd(number) });
                    }
                }
                libc::SCM_RIGHTS => close_all(data, size),
                _ => {}
            }
        }
        // SAFETY: `next` is a header inside the buffer that `header` describes.
        next = unsafe { libc::CMSG_NXTHDR(&raw const header, next) };
    }
    Ok(received)
}

/// Closes descriptors that a peer sent uninvited, so that it cannot fill our table.
fn close_all(data: *const u8, size: usize) {
    for index in 0..size / size_of::<libc::c_int>() {
        // SAFETY: `index` stays inside the `size` bytes of this message's data.
        let place = unsafe { data.cast::<libc::c_int>().add(index) };
        // SAFETY: `place` lies inside the message's data; an int is plain data.
        let number = unsafe { place.read_unaligned() };
        // SAFETY: the kernel installed this descriptor for us with this message; dropping closes it.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }
}
