//! Who sent a byte, and which descriptors came with a message.

use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use magic_sandbox::{
    Descriptors, Ended, Identified, PidFd, identify_peers, receive, receive_with_identity,
    send_with_descriptors,
};
use rustix::event::{PollFd, PollFlags};

use crate::support::{null, plan, spawner, wait};

fn wait_readable(socket: &UnixStream) {
    let mut entries = [PollFd::new(socket, PollFlags::IN)];
    let timeout = rustix::event::Timespec {
        tv_sec: 60,
        tv_nsec: 0,
    };
    let ready = rustix::event::poll(&mut entries, Some(&timeout)).expect("poll works");
    assert_eq!(ready, 1, "nothing came");
}

/// The sender is a child of the program, as a worker is of its template.
#[test]
fn the_kernel_names_the_sender() {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    identify_peers(&ours).expect("identities");
    let empty = receive_with_identity(&ours).expect_err("nothing is there");
    assert_eq!(empty.kind(), ErrorKind::WouldBlock);
    let code = "import os\nchild = os.fork()\nif child == 0:\n    os.write(3, b'\\x01')\n    os.read(3, 1)\n    os._exit(0)\nos.wait()";
    let descriptors = Descriptors::new(null(), null(), null()).and(theirs.into());
    let confined = spawner()
        .spawn(&plan(code), descriptors, None)
        .expect("the program starts");
    wait_readable(&ours);
    let Identified {
        byte,
        pid,
        process,
        attested,
    } = receive_with_identity(&ours).expect("a byte with its sender");
    assert_eq!(byte, 1);
    assert_ne!(pid, confined.pid);
    assert!(attested, "this kernel attaches process descriptors");
    let namespace = process.pid_namespace().expect("it lives");
    assert_eq!(namespace, confined.pidfd.pid_namespace().expect("it lives"));
    let own = i32::try_from(std::process::id()).expect("a number");
    let own = PidFd::open(own).expect("this process lives");
    assert_ne!(namespace, own.pid_namespace().expect("it lives"));
    (&ours).write_all(b"g").expect("the child reads");
    assert_eq!(wait(&confined.pidfd), Ended::Exited(0));
    let end = receive_with_identity(&ours).expect_err("nobody is left");
    assert_eq!(end.kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn descriptors_travel_with_a_message() {
    let (one, two) = UnixStream::pair().expect("a pair");
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    send_with_descriptors(&one, b"take", &[reader.as_fd()]).expect("it is sent");
    drop(reader);
    let mut buffer = [0_u8; 16];
    let (count, mut descriptors) = receive(&two, &mut buffer).expect("it is received");
    assert_eq!(&buffer[..count], b"take");
    assert_eq!(descriptors.len(), 1);
    writer.write_all(b"x").expect("the pipe is whole");
    let reader = descriptors.pop().expect("one descriptor");
    let mut byte = [0_u8; 1];
    assert_eq!(rustix::io::read(&reader, &mut byte).expect("a byte"), 1);
}

/// Descriptors that nobody asked for are closed, not kept.
#[test]
fn uninvited_descriptors_are_closed() {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    identify_peers(&ours).expect("identities");
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    send_with_descriptors(&theirs, b"x", &[reader.as_fd()]).expect("it is sent");
    drop(reader);
    let received = receive_with_identity(&ours).expect("a byte");
    assert_eq!(received.byte, b'x');
    // With the last reading end closed, the pipe is broken.
    let error = writer.write_all(b"x").expect_err("nobody reads");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}
