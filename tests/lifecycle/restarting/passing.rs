//! Starting a server the way a service manager does: with sockets from descriptor 3 on, and variables that announce them.

use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::process::{Command, Stdio};

/// Moves the descriptors of its first argument to 3 and up, sets the variables, and becomes the program of the others. `LISTEN_PID` is the
/// number of the process that executes it, which is why nobody before can set it.
const EXECUTE: &str = "
import fcntl, os, sys
passed = [fcntl.fcntl(int(one), fcntl.F_DUPFD_CLOEXEC, 100) for one in sys.argv[1].split(',')]
for number, one in enumerate(passed):
    os.dup2(one, 3 + number)
if sys.argv[2] == 'here':
    os.environ['LISTEN_PID'] = str(os.getpid())
os.execv(sys.argv[3], sys.argv[3:])
";

/// The command with these sockets passed to it, announced as they should be.
pub(super) fn pass(command: &Command, sockets: &[BorrowedFd<'_>]) -> Command {
    pass_as(command, sockets, &[], true)
}

/// The same with further variables, which win over the right ones, and perhaps without the number of the process.
pub(super) fn pass_as(
    command: &Command,
    sockets: &[BorrowedFd<'_>],
    variables: &[(&str, &str)],
    to_this_process: bool,
) -> Command {
    let mut numbers = Vec::new();
    for socket in sockets {
        // The child inherits it; each test is a process of its own.
        rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::empty()).expect("a descriptor");
        numbers.push(socket.as_raw_fd().to_string());
    }
    let names = vec!["magic.socket"; sockets.len()].join(":");
    let mut passing = Command::new("python3");
    passing
        .args(["-c", EXECUTE, &numbers.join(",")])
        .arg(if to_this_process { "here" } else { "elsewhere" })
        .arg(command.get_program())
        .args(command.get_args())
        .env("LISTEN_FDS", sockets.len().to_string())
        .env("LISTEN_FDNAMES", names)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in command.get_envs() {
        passing.env(name, value.expect("nothing is removed"));
    }
    if let Some(folder) = command.get_current_dir() {
        passing.current_dir(folder);
    }
    passing.envs(variables.iter().copied());
    passing
}
