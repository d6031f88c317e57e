//! One confined interpreter with a controller imported, waiting for orders.
//!
//! A template is started, told what to import, looked at from outside, and
//! then either forks workers on order or becomes the one worker itself. It is
//! never trusted after the import: what it says fills messages, and what it is
//! asked for is checked on what comes back, not on its word.

use crate::bundle;
use crate::capture::{self, Source};
use crate::confinement;
use crate::control::{Entry, LoadFailure, Notice, Order};
use crate::launcher::Launcher;
use crate::process::Process;
use crate::socket::PacketSocket;
use crate::surroundings::{self, Surroundings};
use crate::version::Version;
use magic_broker::secrets::Redactor;
use magic_sandbox::{Descriptors, Ended, GroupError, Leaf, Limits, PidNamespace, SpawnError};
use magic_store::Stream;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::unix::pipe;
use tokio::time::{Instant, timeout};

/// Memory beyond the contract's limit that a template may use while importing,
/// in bytes: the interpreter itself is not the author's to pay for.
const TEMPLATE_MEMORY: u64 = 64 << 20;
/// Processor share of an importing template, in thousandths of a core.
const TEMPLATE_CPU: u32 = 2_000;
/// Processor share of a template to which nobody gives orders. It has nothing
/// to do then; code that the import left behind (a timer's signal handler, for
/// example) may not use a core for it.
const RESTING_CPU: u32 = 50;
/// Processes and threads of a template with its workers that are not attached yet.
const TEMPLATE_PIDS: u32 = 64;
/// Stands for the number of orders while a template rests.
const RESTING: u64 = u64::MAX;
/// Ends of children remembered until their outcome is asked for.
const REMEMBERED_ENDS: usize = 1024;

/// A loaded template.
#[derive(Debug)]
pub(crate) struct Template {
    ears: Arc<Ears>,
    /// Process 1 of the namespace.
    pub(crate) process: Arc<Process>,
    /// Its number on the host, for reading /proc and for logs.
    pub(crate) pid: i32,
    /// The namespace of which it is process 1; without it no worker is believed.
    pub(crate) namespace: Option<PidNamespace>,
    leaf: Mutex<Option<Leaf>>,
    launcher: Arc<Launcher>,
    /// What it found in the controller's module; none until it is loaded.
    pub(crate) entry: Option<Entry>,
    pub(crate) started: Instant,
    /// What makes forking unsafe, if anything does.
    pub(crate) unforkable: Option<String>,
    orders: AtomicU64,
    /// Orders given when it was last looked at; `u64::MAX` while it rests.
    orders_seen: AtomicU64,
    /// The limits it imports and forks under.
    limits: Limits,
}

/// Why there is no template.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error("no control group for the template: {}", .0.explanation())]
    Group(#[from] GroupError),
    #[error("no descriptors for the template: {0}")]
    Descriptors(#[source] io::Error),
    #[error("the sandbox was not built: {}", .0.explanation())]
    Spawn(#[from] SpawnError),
    #[error("the template could not be told what to import: {0}")]
    Order(#[source] io::Error),
    #[error("the controller does not load: {}", .0.message)]
    Load(LoadFailure),
    #[error("the template ended while it was importing ({0:?})")]
    Ended(Option<Ended>),
    #[error("the template needed more memory than the contract allows while it was importing")]
    Memory,
    #[error("the import did not end within {0:?}")]
    Timeout(std::time::Duration),
    #[error("the files in `{}` are not those that were deployed", .0.display())]
    Changed(PathBuf),
    #[error("the launching task was cancelled")]
    Cancelled,
}

impl Template {
    /// Starts a template and waits until its controller is imported.
    pub(crate) async fn launch(
        launcher: &Arc<Launcher>,
        version: &Version,
    ) -> Result<Arc<Self>, LaunchError> {
        let resources = &version.contract.resources;
        let limits = Limits {
            memory_bytes: Some(resources.memory_bytes + TEMPLATE_MEMORY),
            cpu_millicores: Some(TEMPLATE_CPU),
            pids: Some(TEMPLATE_PIDS + resources.pids),
        };
        let (control, other_end) = PacketSocket::pair().map_err(LaunchError::Descriptors)?;
        let (stdout, stdout_end) = output_pipe().map_err(LaunchError::Descriptors)?;
        let (stderr, stderr_end) = output_pipe().map_err(LaunchError::Descriptors)?;
        let mut plan = launcher.plan(version.shown(), version.temporary_bytes);
        if !launcher.leaves.enforced() {
            // Such a template serves one request, and the kernel counts the processes
            // of each user namespace apart, so this is the request's own limit.
            plan.limits.processes = Some(resources.pids.into());
        }
        let started = Instant::now();
        let spawning = launcher.clone();
        let (folder, digest) = (version.bundle.path().to_owned(), version.digest.clone());
        let (leaf, confined) = tokio::task::spawn_blocking(move || {
            if !bundle::is_unchanged(&folder, &digest) {
                return Err(LaunchError::Changed(folder));
            }
            let leaf = spawning.leaves.take(&limits)?;
            let null = std::fs::File::open("/dev/null").map_err(LaunchError::Descriptors)?;
            let descriptors = Descriptors::new(null.into(), stdout_end, stderr_end).and(other_end);
            match spawning.spawner.spawn(&plan, descriptors, leaf.as_ref()) {
                Ok(confined) => Ok((leaf, confined)),
                Err(error) => {
                    leaf.into_iter()
                        .for_each(|leaf| spawning.leaves.give_back(leaf));
                    Err(LaunchError::Spawn(error))
                }
            }
        })
        .await
        .map_err(|_| LaunchError::Cancelled)??;

        let source = Source {
            request_id: None,
            ..version.source()
        };
        for (pipe, stream) in [(stdout, Stream::Stdout), (stderr, Stream::Stderr)] {
            let limit = launcher.limits.output_bytes;
            launcher.cleaner.track(capture::drain(
                pipe,
                stream,
                source.clone(),
                launcher.logs.clone(),
                // A template holds no request, and so no secret of one.
                Redactor::new(),
                limit,
            ));
        }
        let baseline = leaf
            .as_ref()
            .and_then(|leaf| leaf.oom_kills().ok())
            .unwrap_or(0);
        let mut template = Self {
            ears: Arc::new(Ears {
                control,
                ended: AtomicBool::new(false),
                serves: AtomicBool::new(false),
                ends: Mutex::default(),
            }),
            pid: confined.pid,
            namespace: confined.pidfd.pid_namespace().ok(),
            process: Arc::new(Process::new(confined.pidfd).map_err(LaunchError::Descriptors)?),
            leaf: Mutex::new(leaf),
            launcher: launcher.clone(),
            entry: None,
            started,
            unforkable: None,
            orders: AtomicU64::new(0),
            orders_seen: AtomicU64::new(0),
            limits,
        };
        // From here on dropping the template cleans everything up.
        template.load(version, baseline).await?;
        let (ears, process) = (template.ears.clone(), template.process.clone());
        tokio::spawn(async move { ears.listen(&process).await });
        Ok(Arc::new(template))
    }

    async fn load(&mut self, version: &Version, baseline: u64) -> Result<(), LaunchError> {
        let launcher = &self.launcher;
        let sys_path = confinement::import_path(&launcher.interpreter, version.packages.is_some());
        let start = Order::Start {
            sys_path: &sys_path,
            module: "/magic/controller/controller.py",
            controller: version.contract.name.as_str(),
            version: &version.contract.version.to_string(),
            report_exits: !launcher.keeps_exit_information(),
            // It keeps siblings apart and takes every right to write; who is
            // lent a directory has no siblings, and the jail's own domain leaves
            // that directory and nothing else to write in.
            worker_domain: launcher.layers.landlock != magic_sandbox::Level::Off
                && version.temporary_bytes.is_none(),
            heap_limit: (!launcher.leaves.enforced())
                .then_some(version.contract.resources.memory_bytes),
        };
        self.order(&start, &[]).await.map_err(LaunchError::Order)?;
        let patience = launcher.limits.load_time;
        let notice = async {
            loop {
                match self.ears.control.receive().await {
                    Ok(packet) if !packet.is_empty() => {
                        if let Some(notice) = Notice::parse(&packet) {
                            return Some(notice);
                        }
                    }
                    _ => return None,
                }
            }
        };
        match timeout(patience, notice).await {
            Err(_) => Err(LaunchError::Timeout(patience)),
            Ok(Some(Notice::Loaded(entry))) => {
                self.entry = Some(entry);
                self.unforkable = self.look();
                if self.unforkable.is_none() && !self.is_alone() {
                    self.unforkable = Some("the import left processes running".to_owned());
                }
                Ok(())
            }
            Ok(Some(Notice::Failed(failure))) => Err(LaunchError::Load(failure)),
            Ok(Some(Notice::Exited { .. }) | None) => {
                if self.memory_kills() > baseline {
                    return Err(LaunchError::Memory);
                }
                self.process
                    .ended_within(std::time::Duration::from_millis(100))
                    .await;
                Err(LaunchError::Ended(self.process.exit().await))
            }
        }
    }

    /// Looks at the template from the host's side, now that the author's code
    /// has run in it. A thread, a descriptor or shared writable memory would be
    /// common to all forks; such a version is served by fresh interpreters. So is
    /// one whose surroundings are hidden from this process (`hidepid`), where
    /// none of that could be seen.
    fn look(&self) -> Option<String> {
        match surroundings::of(self.pid) {
            // The numbers are of the process behind the pidfd only if that
            // process still lives after they were read.
            Ok(found) if self.process.is_alive() => found.unforkable(),
            Ok(Surroundings { .. }) => None,
            Err(error) if self.process.is_alive() => {
                tracing::warn!(%error, pid = self.pid, "a template's entries in /proc cannot be read, so it is not forked");
                Some("its entries in /proc cannot be read".to_owned())
            }
            // It has ended, which is told elsewhere.
            Err(_) => None,
        }
    }

    fn memory_kills(&self) -> u64 {
        let leaf = self.leaf.lock().unwrap_or_else(PoisonError::into_inner);
        leaf.as_ref()
            .and_then(|leaf| leaf.oom_kills().ok())
            .unwrap_or(0)
    }

    async fn order(&self, order: &Order<'_>, descriptors: &[&OwnedFd]) -> io::Result<()> {
        let packet = serde_json::to_vec(order).map_err(io::Error::other)?;
        let borrowed: Vec<_> = descriptors
            .iter()
            .map(|descriptor| descriptor.as_fd())
            .collect();
        self.ears.control.send(&packet, &borrowed).await
    }

    /// Orders a worker with these three descriptors: channel, output, errors.
    pub(crate) async fn order_worker(
        &self,
        fork: bool,
        descriptors: [&OwnedFd; 3],
    ) -> io::Result<()> {
        self.orders.fetch_add(1, Ordering::Relaxed);
        let order = if fork {
            Order::Fork
        } else {
            self.ears.serves.store(true, Ordering::Release);
            Order::Serve
        };
        self.order(&order, &descriptors).await
    }

    /// Whether the template's process has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ears.ended.load(Ordering::Acquire)
    }

    /// How the child with this number inside the namespace ended, as far as the
    /// template has told. Only asked where the kernel does not tell.
    pub(crate) async fn told_end_of(&self, inner_pid: i32) -> Option<Ended> {
        for _ in 0..2_000 {
            let told = self
                .ears
                .ends
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&inner_pid);
            if let Some(status) = told {
                return Some(Ended::from_wait_status(status));
            }
            if self.has_ended() {
                return None;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        None
    }

    /// Whether the template's own group holds only the template. Must not be
    /// asked while a worker is between its fork and its attachment.
    pub(crate) fn is_alone(&self) -> bool {
        let leaf = self.leaf.lock().unwrap_or_else(PoisonError::into_inner);
        leaf.as_ref().is_none_or(|leaf| {
            leaf.pids()
                .is_ok_and(|pids| pids.iter().all(|pid| *pid == self.pid))
        })
    }

    /// Lowers the processor share of a template that got no order since the
    /// last look. Writes a file: not for a task of the event loop.
    pub(crate) fn rest_if_idle(&self) {
        if self.rests() {
            return;
        }
        let orders = self.orders.load(Ordering::Relaxed);
        if self.orders_seen.swap(orders, Ordering::Relaxed) == orders {
            self.share(RESTING_CPU);
            self.orders_seen.store(RESTING, Ordering::Relaxed);
        }
    }

    /// Whether its processor share is lowered.
    pub(crate) fn rests(&self) -> bool {
        self.orders_seen.load(Ordering::Relaxed) == RESTING
    }

    /// Gives a resting template its processor share back.
    pub(crate) fn rise(&self) {
        self.share(TEMPLATE_CPU);
        self.orders_seen
            .store(self.orders.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    fn share(&self, cpu_millicores: u32) {
        let leaf = self.leaf.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = Limits {
            cpu_millicores: Some(cpu_millicores),
            ..self.limits
        };
        if let Some(Err(error)) = leaf.as_ref().map(|leaf| leaf.set_limits(&limits)) {
            tracing::warn!(%error, "the processor share of a template could not be changed");
        }
    }

    /// Gives the template's group to the one worker that it became, so that the
    /// contract's limits hold for it.
    pub(crate) fn hand_over_leaf(&self) -> Option<Leaf> {
        self.leaf
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Ends the template and with it every process of its namespace.
    pub(crate) fn kill(&self) {
        self.process.kill();
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        self.kill();
        let leaf = self
            .leaf
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.launcher.cleaner.template(self.process.clone(), leaf);
    }
}

/// What a template says after its import. Apart from [`Template`], so that the
/// task that listens does not keep the template alive.
#[derive(Debug)]
struct Ears {
    control: PacketSocket,
    ended: AtomicBool,
    /// Set before the order to serve: a template that became the worker gives
    /// its control channel up, which is then no sign of its end.
    serves: AtomicBool,
    ends: Mutex<HashMap<i32, i32>>,
}

impl Ears {
    /// Listens until the template's process ends or closes its channel.
    async fn listen(&self, process: &Process) {
        loop {
            let packet = tokio::select! {
                packet = self.control.receive() => packet,
                () = process.ended() => break,
            };
            match packet {
                Ok(packet) if !packet.is_empty() => {
                    if let Some(Notice::Exited { pid, status }) = Notice::parse(&packet) {
                        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
                        if ends.len() < REMEMBERED_ENDS {
                            ends.insert(pid, status);
                        }
                    }
                }
                _ if self.serves.load(Ordering::Acquire) => {
                    process.ended().await;
                    break;
                }
                _ => break,
            }
        }
        self.ended.store(true, Ordering::Release);
        process.kill();
    }
}

/// A pipe for a process's output: our end in the event loop, the other for it.
pub(crate) fn output_pipe() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    // Made just now, so it need not be asked what it is.
    let read = pipe::Receiver::from_file_unchecked(std::fs::File::from(read))?;
    Ok((read, write))
}
