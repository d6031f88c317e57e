//! The supervisor's side of a start.
//!
//! The kernel sends the parent-death signal when the *thread* that made a child ends, not when its
//! process does (`prctl(2)`, `PR_SET_PDEATHSIG`). A thread of a pool may end at any time. So one thread
//! is made for this, and it lives as long as the process: it starts the jails, and the conversation
//! with each jail then happens on the caller's own thread, so that callers do not wait for each other.

mod error;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::cgroup::Leaf;
use crate::jail;
use crate::layers::{Enforcement, Layer, Level, Report};
use crate::pidfd::PidFd;
use crate::plan::Plan;
use crate::protocol::{self, Answer, Order};

pub use error::SpawnError;

/// The descriptors that the program starts with: 0, 1, 2, and what follows from 3 on.
#[derive(Debug)]
pub struct Descriptors(Vec<OwnedFd>);

impl Descriptors {
    /// The three standard descriptors.
    #[must_use]
    pub fn new(stdin: OwnedFd, stdout: OwnedFd, stderr: OwnedFd) -> Self {
        Self(vec![stdin, stdout, stderr])
    }

    /// `/dev/null` three times.
    ///
    /// # Errors
    /// `/dev/null` cannot be opened.
    pub fn null() -> io::Result<Self> {
        let null: OwnedFd = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")?
            .into();
        Ok(Self::new(null.try_clone()?, null.try_clone()?, null))
    }

    /// Appends the next descriptor, 3 first.
    #[must_use]
    pub fn and(mut self, descriptor: OwnedFd) -> Self {
        self.0.push(descriptor);
        self
    }
}

/// A program that runs confined.
#[derive(Debug)]
pub struct Confined {
    /// The program. The calling process is its parent and must wait for it.
    pub pidfd: PidFd,
    /// Its number in the pid namespace of this process.
    pub pid: i32,
    /// What was really enforced.
    pub report: Report,
}

/// Starts confined programs from a thread that never ends.
#[derive(Debug, Clone)]
pub struct Spawner {
    requests: mpsc::Sender<Request>,
    executable: PathBuf,
    patience: Duration,
}

#[derive(Debug)]
struct Request {
    executable: PathBuf,
    socket: OwnedFd,
    answer: mpsc::SyncSender<io::Result<Child>>,
}

impl Spawner {
    /// Starts the thread. Its jails are this very executable, whose `main` must call
    /// [`crate::enter_if_asked`] first.
    ///
    /// # Errors
    /// The thread cannot be made.
    pub fn start() -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel::<Request>();
        // The thread holds a sender itself: its receiver can never find the channel closed, so the
        // thread outlives every clone of the spawner.
        let forever = requests.clone();
        std::thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || {
                let _forever = forever;
                for request in inbox {
                    let child = start_jail(&request.executable, request.socket);
                    // A caller that has gone away drops its end; the jail then reads the end of its
                    // stream and exits.
                    let _ = request.answer.send(child);
                }
            })?;
        Ok(Self {
            requests,
            executable: PathBuf::from("/proc/self/exe"),
            patience: Duration::from_secs(30),
        })
    }

    /// Uses another executable for the jails, for programs whose own `main` is out of reach.
    #[must_use]
    pub fn with_executable(mut self, executable: impl Into<PathBuf>) -> Self {
        self.executable = executable.into();
        self
    }

    /// How long one step of a jail may take before it is given up and killed. 30 seconds at first.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Runs a program. Blocks for some milliseconds; any thread may call it.
    ///
    /// # Errors
    /// A required layer does not stand, or a step failed. Nothing is left behind then.
    pub fn spawn(
        &self,
        plan: &Plan,
        descriptors: Descriptors,
        group: Option<&Leaf>,
    ) -> Result<Confined, SpawnError> {
        let cgroup_limits = group_enforcement(plan, group)?;
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|error| SpawnError::Socket(error.into()))?;
        for direction in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&ours, direction, Some(self.patience))
                .map_err(|error| SpawnError::Socket(error.into()))?;
        }
        let child = self.start_jail(theirs)?;
        let order = Order {
            plan: plan.clone(),
            program_descriptors: descriptors.0.len(),
            cgroup_limits,
        };
        let mut passed: Vec<BorrowedFd<'_>> = descriptors.0.iter().map(AsFd::as_fd).collect();
        if let Some(group) = group.filter(|_| plan.layers.cgroup_limits != Level::Off) {
            passed.extend(group.join_descriptors());
        }
        Conversation {
            socket: ours,
            child,
            born: None,
        }
        .hold(&order, &passed)
    }

    fn start_jail(&self, socket: OwnedFd) -> Result<Child, SpawnError> {
        let (answer, child) = mpsc::sync_channel(1);
        let request = Request {
            executable: self.executable.clone(),
            socket,
            answer,
        };
        self.requests
            .send(request)
            .map_err(|_| SpawnError::StartJail(io::Error::other("the spawner thread is gone")))?;
        child
            .recv()
            .map_err(|_| SpawnError::StartJail(io::Error::other("the spawner thread is gone")))?
            .map_err(SpawnError::StartJail)
    }
}

fn start_jail(executable: &PathBuf, socket: OwnedFd) -> io::Result<Child> {
    Command::new(executable)
        .arg0("jail")
        .arg(jail::ARGUMENT)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// What joining `group` would enforce, or the refusal if that is less than the plan requires.
fn group_enforcement(plan: &Plan, group: Option<&Leaf>) -> Result<Enforcement, SpawnError> {
    let level = plan.layers.level(Layer::CgroupLimits);
    let enforcement = match (level, group) {
        (Level::Off, _) => Enforcement::Off,
        (_, None) => Enforcement::Absent("no control group was given".to_owned()),
        (_, Some(group)) => group.enforcement(),
    };
    if level == Level::Required && enforcement != Enforcement::Full {
        return Err(SpawnError::Group(enforcement));
    }
    Ok(enforcement)
}

/// One exchange with one jail. Dropping it unfinished kills whatever was started.
struct Conversation {
    socket: OwnedFd,
    child: Child,
    born: Option<PidFd>,
}

impl Conversation {
    fn hold(mut self, order: &Order, passed: &[BorrowedFd<'_>]) -> Result<Confined, SpawnError> {
        // A jail that failed early has closed its end; its reason is in the answer, so that a failed
        // send is reported only if no answer says more.
        let sent = protocol::send(&self.socket, order, passed);
        let mut report = None;
        loop {
            match protocol::receive::<Answer>(&self.socket).map_err(SpawnError::Answer)? {
                Some((Answer::Born { pid }, descriptors)) => {
                    let pidfd = descriptors
                        .into_iter()
                        .next()
                        .ok_or_else(|| SpawnError::Answer(io::ErrorKind::InvalidData.into()))?;
                    self.born = Some(PidFd::from_descriptor(pidfd, pid));
                }
                Some((Answer::Confined { report: stands }, _)) => report = Some(stands),
                Some((Answer::Failed(failure), _)) => return Err(SpawnError::Jail(failure)),
                None => break,
            }
        }
        sent.map_err(SpawnError::Order)?;
        let status = self.child.wait().map_err(SpawnError::Answer)?;
        match (report, self.born.take()) {
            (Some(report), Some(pidfd)) => Ok(Confined {
                pid: pidfd.pid(),
                pidfd,
                report,
            }),
            (_, born) => {
                self.born = born;
                Err(SpawnError::Silent(status))
            }
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if let Some(born) = &self.born {
            // Both may fail only because the process is gone, which is what is wanted.
            let _ = born.kill();
            let _ = born.wait();
        }
        // After a clean end these answer that there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
