//! How a program ends, and that it ends with its supervisor.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use magic_sandbox::{Descriptors, Ended, PidFd};

use crate::support::{PATIENCE, PYTHON, null, plan, run, sandboxer, spawner, wait};

#[test]
fn ends_are_told_apart() {
    let ended = |code| run(&plan(code), None).ended;
    assert_eq!(ended("pass"), Ended::Exited(0));
    assert_eq!(ended("import os; os._exit(7)"), Ended::Exited(7));
    assert_eq!(
        ended("import ctypes; ctypes.string_at(0)"),
        Ended::Signaled(libc::SIGSEGV)
    );
}

/// The kernel tells a stranger, after the parent has reaped the process.
#[test]
fn exit_information_survives_the_reaping() {
    let mut child = Command::new("/bin/sh")
        .args(["-c", "read x; exit 5"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    let process = PidFd::open(i32::try_from(child.id()).expect("a number")).expect("it lives");
    assert!(process.is_alive().expect("poll works"));
    let supported = match process.exit_information() {
        Ok(early) => {
            assert_eq!(early, None);
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
            false
        }
    };
    drop(child.stdin.take());
    child.wait().expect("the shell is reaped");
    assert!(!process.is_alive().expect("poll works"));
    if supported {
        let late = process.exit_information().expect("the kernel tells");
        assert_eq!(late, Some(Ended::Exited(5)));
    }
}

/// A parent may look before it reaps, and a stranger may not.
#[test]
fn a_look_at_a_child_leaves_it_to_be_reaped() {
    let confined = spawner()
        .spawn(
            &plan("import os; os._exit(5)"),
            Descriptors::null().expect("/dev/null opens"),
            None,
        )
        .expect("it starts");
    let mut entries = [rustix::event::PollFd::new(
        &confined.pidfd,
        rustix::event::PollFlags::IN,
    )];
    let timeout = rustix::event::Timespec {
        tv_sec: 60,
        tv_nsec: 0,
    };
    let ready = rustix::event::poll(&mut entries, Some(&timeout)).expect("poll works");
    assert_eq!(ready, 1, "the program hung");
    for _ in 0..2 {
        let seen = confined.pidfd.peek().expect("it is our child");
        assert_eq!(seen, Some(Ended::Exited(5)));
    }
    assert_eq!(wait(&confined.pidfd), Ended::Exited(5));
    assert!(confined.pidfd.peek().is_err(), "it was reaped");
}

#[test]
fn a_killed_supervisor_takes_the_program_along() {
    let mut supervisor = Command::new(sandboxer())
        .args(["--", PYTHON, "-I", "-S", "-c"])
        .arg("import os; os.fork(); print('up', flush=True); os.read(0, 1)")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the example was built");
    let stdout = supervisor.stdout.take().expect("its output");
    let mut stdout = BufReader::new(stdout);
    for _ in 0..2 {
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        assert_eq!(line, "up\n");
    }
    // The writing end of the program's input stays open here: only a kill can end the program.
    let input = supervisor.stdin.take();
    supervisor.kill().expect("it can be killed");
    supervisor.wait().expect("it is reaped");
    // The program and its child hold the other end of this pipe; its end is their end.
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        let ended = stdout.read_to_end(&mut rest);
        let _ = sender.send(ended.map(|_| rest));
    });
    let rest = receiver
        .recv_timeout(PATIENCE)
        .expect("the program ended")
        .expect("a pipe can be read");
    assert_eq!(rest, b"");
    drop(input);
}

/// Process 1 of the namespace takes all others with it.
#[test]
fn the_end_of_the_program_is_the_end_of_its_children() {
    let (silence, never) = std::io::pipe().expect("a pipe");
    let (output, writer) = std::io::pipe().expect("a pipe");
    let plan = plan("import os\nif os.fork():\n    os._exit(0)\nos.setpgid\nos.read(0, 1)");
    let descriptors = Descriptors::new(silence.into(), writer.into(), null());
    let confined = spawner()
        .spawn(&plan, descriptors, None)
        .expect("the program starts");
    assert_eq!(wait(&confined.pidfd), Ended::Exited(0));
    let output = crate::support::read_all(output);
    assert_eq!(output.recv_timeout(PATIENCE).expect("the child ended"), "");
    drop(never);
}

/// A thread that spawned may end without taking the program along.
#[test]
fn the_program_outlives_the_thread_that_asked_for_it() {
    let (silence, go) = std::io::pipe().expect("a pipe");
    let spawner = spawner();
    let confined = std::thread::spawn(move || {
        let descriptors = Descriptors::new(silence.into(), null(), null());
        spawner
            .spawn(&plan("import os; os.read(0, 1)"), descriptors, None)
            .expect("the program starts")
    })
    .join()
    .expect("the thread ends");
    assert!(confined.pidfd.is_alive().expect("poll works"));
    drop(go);
    assert_eq!(wait(&confined.pidfd), Ended::Exited(0));
}

#[test]
fn many_threads_spawn_at_once() {
    let spawner = spawner();
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let spawner = spawner.clone();
            std::thread::spawn(move || {
                let code = format!("import os; os._exit({number})");
                let descriptors = Descriptors::null().expect("/dev/null opens");
                let confined = spawner
                    .spawn(&plan(&code), descriptors, None)
                    .expect("the program starts");
                wait(&confined.pidfd)
            })
        })
        .collect();
    for (number, thread) in (0..).zip(threads) {
        assert_eq!(
            thread.join().expect("the thread ends"),
            Ended::Exited(number)
        );
    }
}
