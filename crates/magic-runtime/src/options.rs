//! What the composition root decides for a runtime, in one value.

use crate::services::Services;
use magic_contract::Policy;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that a [`Runtime`](crate::Runtime) is told at its start.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// Folder of the runtime's own files; made if missing.
    pub data_directory: PathBuf,
    /// The interpreter to run controllers with; `None` looks for one.
    pub interpreter: Option<PathBuf>,
    /// Folder of wheels, the only source of packages that controllers ask for.
    pub wheels: Option<PathBuf>,
    /// Which sandbox layers are required and what controllers may do.
    pub policy: Policy,
    /// Bounds of the runtime itself.
    pub limits: RuntimeLimits,
    /// Back ends and audit log; without them every capability call fails and
    /// nothing is recorded, as suits a self-test.
    pub services: Option<Services>,
}

impl RuntimeOptions {
    /// Options for working on controllers on one's own machine.
    pub fn development(data_directory: PathBuf) -> Self {
        Self {
            data_directory,
            interpreter: None,
            wheels: None,
            policy: Policy::development(),
            limits: RuntimeLimits::default(),
            services: None,
        }
    }

    /// Options for a service that other people reach.
    pub fn production(data_directory: PathBuf) -> Self {
        Self {
            policy: Policy::production(),
            ..Self::development(data_directory)
        }
    }
}

/// Bounds that keep the supervisor's own memory and processes finite, whatever
/// controllers and clients do.
#[derive(Debug, Clone)]
pub struct RuntimeLimits {
    /// Requests of one controller that run at once, unless its contract says less.
    pub concurrency: u32,
    /// Requests of one controller that may wait for a place.
    pub queue: u32,
    /// How long a request waits for a place or a worker at most.
    pub queue_wait: Duration,
    /// Requests of all controllers that run at once.
    pub total_concurrency: u32,
    /// Ready workers kept per controller that is in use.
    pub stock: u32,
    /// How long a template may take from its start until its controller is imported.
    pub load_time: Duration,
    /// A template that served nobody for so long ends; the next request starts another.
    pub idle_template: Duration,
    /// A template older than this is replaced by one with another address layout.
    pub template_age: Duration,
    /// Standard output and error kept of one request, in bytes per stream.
    pub output_bytes: usize,
    /// The first of the host uids that templates get when the supervisor is root.
    pub uid_base: u32,
    /// How many host uids there are from `uid_base` on.
    pub uid_count: u32,
}

impl Default for RuntimeLimits {
    fn default() -> Self {
        Self {
            concurrency: 16,
            queue: 256,
            queue_wait: Duration::from_secs(10),
            total_concurrency: 64,
            stock: 2,
            load_time: Duration::from_secs(20),
            idle_template: Duration::from_secs(300),
            template_age: Duration::from_secs(3600),
            output_bytes: 256 * 1024,
            // Above the ranges that distributions and container managers hand
            // out (systemd's end at 1879048191) and below 2^31.
            uid_base: 2_000_000_000,
            uid_count: 1_000_000,
        }
    }
}
