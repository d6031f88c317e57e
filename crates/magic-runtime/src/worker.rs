//! A process that serves one request: from the order to fork until it is ready.
//!
//! Who sits at the other end of a worker's channel is decided by the kernel.
//! The first byte comes with the sender's process descriptor; that process must
//! lie in the template's process namespace, is moved into a group with the
//! contract's limits, and only then told to go on. Until that moment it has
//! done nothing but block.

use crate::admission::Permit;
use crate::history::Draft;
use crate::launcher::Launcher;
use crate::leaves::Leaves;
use crate::process::Process;
use crate::template::{Template, output_pipe};
use crate::version::Version;
use magic_broker::{Channel, ChannelError, FromWorker};
use magic_sandbox::{Ended, GroupError, Identified, Leaf, Limits};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::time::timeout;

/// A worker that is not ready so long after its order never will be.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// The byte by which a worker shows itself.
const HELLO: u8 = 0x01;
/// The byte that lets it go on, rehearse and report that it is ready.
const GO: &[u8] = b"g";
/// The byte that lets it go on to its request, which waits already.
const GO_NOW: &[u8] = b"n";

/// A process that waits for, or serves, its one request. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) channel: Channel<UnixStream>,
    pub(crate) process: Arc<Process>,
    /// Standard output and error; taken when the request begins.
    pub(crate) outputs: Option<(pipe::Receiver, pipe::Receiver)>,
    pub(crate) template: Arc<Template>,
    /// Held until the process is gone.
    pub(crate) permit: Option<Arc<Permit>>,
    /// Told what was used when it is.
    pub(crate) draft: Option<Arc<Draft>>,
    leaf: Option<Leaf>,
    memory_kills_before: u64,
    /// Its number inside the namespace, where the template's word is needed.
    inner_pid: Option<i32>,
    launcher: Arc<Launcher>,
}

/// Why a worker did not become ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    #[error("no channel for a worker: {0}")]
    Channel(#[source] io::Error),
    #[error("the template takes no orders: {0}")]
    Order(#[source] io::Error),
    #[error("the worker did not show itself: {0}")]
    Identity(#[source] io::Error),
    #[error("a process outside the template's namespace answered")]
    Stranger,
    #[error("no control group for a worker: {0}")]
    Group(#[from] GroupError),
    #[error("the worker ended before it was ready")]
    Ended,
    #[error("the worker's first message was not its readiness")]
    NotReady,
    #[error(transparent)]
    Broken(#[from] ChannelError),
    #[error("the worker was not ready within {READY_WITHIN:?}")]
    Timeout,
}

impl Worker {
    /// Orders a worker of `template` and waits until it is ready: a fork of
    /// it, or the template itself. If a request waits for it when it is let go on,
    /// it is ready without a rehearsal, which would only be done twice.
    pub(crate) async fn prepare(
        launcher: &Arc<Launcher>,
        template: &Arc<Template>,
        version: &Version,
        fork: bool,
        awaited: impl FnOnce() -> bool,
    ) -> Result<Self, PrepareError> {
        let (stream, stdout, stderr) = order(template, fork).await?;
        let hello = in_time(identify(&stream)).await?;
        if hello.byte != HELLO {
            return Err(PrepareError::NotReady);
        }
        let Identified {
            pid: host_pid,
            process: pidfd,
            attested,
            ..
        } = hello;
        let namespace = pidfd.pid_namespace().map_err(PrepareError::Identity)?;
        // The template's namespace is its own for as long as it lives.
        if Some(namespace) != template.namespace || !template.process.is_alive() {
            return Err(PrepareError::Stranger);
        }
        let limits = version.worker_limits();
        let process = if fork {
            Arc::new(Process::new(pidfd).map_err(PrepareError::Identity)?)
        } else {
            template.process.clone()
        };
        let (leaves, owner) = (launcher.leaves.clone(), template.clone());
        let attached = process.clone();
        let leaf = tokio::task::spawn_blocking(move || {
            if fork {
                attach(&leaves, &limits, host_pid, &attached)
            } else {
                let leaf = owner.hand_over_leaf();
                let limited = leaf
                    .as_ref()
                    .map_or(Ok(()), |leaf| leaf.set_limits(&limits));
                limited.map(|()| leaf).map_err(PrepareError::Group)
            }
        })
        .await
        .map_err(|_| PrepareError::Ended)??;
        let memory_kills_before = oom_kills(leaf.as_ref());
        // A template that became the worker is our own child.
        let inner_pid = if !fork || launcher.keeps_exit_information() {
            None
        } else {
            inner_pid(host_pid)
        };
        let mut worker = Self {
            channel: Channel::new(stream),
            process,
            outputs: Some((stdout, stderr)),
            template: template.clone(),
            permit: None,
            draft: None,
            leaf,
            memory_kills_before,
            inner_pid,
            launcher: launcher.clone(),
        };
        // Who was not attested has to send something more.
        if attested && awaited() {
            worker.channel.send(GO_NOW).await?;
        } else {
            in_time(worker.go(attested, host_pid)).await?;
        }
        Ok(worker)
    }

    /// Lets the worker go on and waits until it says that it is ready.
    async fn go(&mut self, attested: bool, host_pid: i32) -> Result<(), PrepareError> {
        self.channel.send(GO).await?;
        if !attested {
            self.challenge(host_pid).await?;
        }
        match self.channel.receive().await? {
            Some(FromWorker::Ready) => Ok(()),
            Some(_) => Err(PrepareError::NotReady),
            None => Err(PrepareError::Ended),
        }
    }

    /// Asks once more who sends, for kernels that name the sender by number
    /// only (before Linux 6.5). The descriptor was opened by that number; if its
    /// process still lives after a second message came from the same number,
    /// it is the process that sent both.
    async fn challenge(&mut self, host_pid: i32) -> Result<(), PrepareError> {
        let again = identify(self.channel.stream()).await?;
        if again.pid != host_pid || !self.is_alive() {
            return Err(PrepareError::Stranger);
        }
        self.channel.received_before(&[again.byte]);
        Ok(())
    }

    /// Whether the process still lives.
    pub(crate) fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// How many processes of the worker's group the kernel has killed for
    /// memory since the worker was attached.
    pub(crate) fn memory_kills(&self) -> u64 {
        oom_kills(self.leaf.as_ref()).saturating_sub(self.memory_kills_before)
    }

    /// How the process ended; asked after its end.
    pub(crate) async fn exit(&self) -> Option<Ended> {
        match self.inner_pid {
            Some(inner) => self.template.told_end_of(inner).await,
            None => self.process.exit().await,
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.launcher.cleaner.worker(
            self.process.clone(),
            self.leaf.take(),
            self.permit.take(),
            self.draft.take(),
        );
    }
}

fn oom_kills(leaf: Option<&Leaf>) -> u64 {
    leaf.and_then(|leaf| leaf.oom_kills().ok()).unwrap_or(0)
}

async fn order(
    template: &Template,
    fork: bool,
) -> Result<(UnixStream, pipe::Receiver, pipe::Receiver), PrepareError> {
    let (own, other) = std::os::unix::net::UnixStream::pair().map_err(PrepareError::Channel)?;
    own.set_nonblocking(true).map_err(PrepareError::Channel)?;
    magic_sandbox::identify_peers(&own).map_err(PrepareError::Channel)?;
    let stream = UnixStream::from_std(own).map_err(PrepareError::Channel)?;
    let (stdout, stdout_end) = output_pipe().map_err(PrepareError::Channel)?;
    let (stderr, stderr_end) = output_pipe().map_err(PrepareError::Channel)?;
    let other = OwnedFd::from(other);
    template
        .order_worker(fork, [&other, &stdout_end, &stderr_end])
        .await
        .map_err(PrepareError::Order)?;
    // The other ends are closed here, so that their ends are seen when the
    // worker is gone.
    Ok((stream, stdout, stderr))
}

/// Waits for a step that depends on the worker. The steps of the supervisor's
/// own are not cut short: they would leave a group behind.
async fn in_time<T>(
    step: impl Future<Output = Result<T, PrepareError>>,
) -> Result<T, PrepareError> {
    timeout(READY_WITHIN, step)
        .await
        .unwrap_or(Err(PrepareError::Timeout))
}

/// Moves the process with this number into a leaf of its own.
///
/// The number belongs to the process behind the descriptor only if that process
/// lived on through the attaching. If it did not, the number may name a
/// stranger by now, who must not be killed for it: a leaf that is not empty is
/// then left alone.
fn attach(
    leaves: &Leaves,
    limits: &Limits,
    host_pid: i32,
    process: &Process,
) -> Result<Option<Leaf>, PrepareError> {
    let Some(leaf) = leaves.take(limits)? else {
        return Ok(None);
    };
    let attached = leaf.attach(host_pid);
    if attached.is_ok() && process.is_alive() {
        return Ok(Some(leaf));
    }
    if leaf.is_empty().unwrap_or(false) {
        leaves.give_back(leaf);
    } else {
        tracing::error!("a worker ended while it was attached; its control group is left alone");
    }
    attached.map_err(PrepareError::Group)?;
    Err(PrepareError::Ended)
}

/// Receives one byte and who sent it.
async fn identify(stream: &UnixStream) -> Result<Identified, PrepareError> {
    loop {
        stream.readable().await.map_err(PrepareError::Identity)?;
        match stream.try_io(Interest::READABLE, || {
            magic_sandbox::receive_with_identity(stream)
        }) {
            Ok(identified) => return Ok(identified),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(PrepareError::Ended);
            }
            Err(error) => return Err(PrepareError::Identity(error)),
        }
    }
}

/// The number of a process in the innermost namespace: the last of the `NSpid`
/// line, see proc_pid_status(5).
fn inner_pid(host_pid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{host_pid}/status")).ok()?;
    status.lines().find_map(|line| {
        line.strip_prefix("NSpid:")?
            .split_ascii_whitespace()
            .last()?
            .parse()
            .ok()
    })
}
