//! What all templates of a supervisor have in common: the spawner, the groups,
//! the interpreter, the SDK.

use crate::cleanup::Cleaner;
use crate::confinement::{self, Shown};
use crate::interpreter::Interpreter;
use crate::leaves::Leaves;
use crate::options::RuntimeLimits;
use magic_sandbox::{Identity, Layers, Plan, Spawner};
use magic_store::RunLogs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Shared by every stock.
#[derive(Debug)]
pub(crate) struct Launcher {
    pub(crate) spawner: Spawner,
    pub(crate) leaves: Arc<Leaves>,
    pub(crate) interpreter: Interpreter,
    pub(crate) sdk: PathBuf,
    pub(crate) layers: Layers,
    pub(crate) limits: RuntimeLimits,
    pub(crate) logs: RunLogs,
    pub(crate) cleaner: Cleaner,
    /// Whether the supervisor can give templates a host uid of their own.
    pub(crate) privileged: bool,
    /// Whether the kernel keeps exit information behind a pidfd.
    pub(crate) exit_information: AtomicBool,
    pub(crate) next_uid: AtomicU32,
}

impl Launcher {
    /// The plan for one more template that is shown this, with a temporary directory of that size if
    /// it is granted one.
    pub(crate) fn plan(&self, shown: Shown<'_>, temporary_bytes: Option<u64>) -> Plan {
        confinement::plan(
            &self.interpreter,
            &self.sdk,
            shown,
            self.identity(),
            self.layers,
            temporary_bytes,
        )
    }

    /// The plan for taking one wheel apart with this program.
    pub(crate) fn wheel_plan(&self, program: &str, wheel: &Path, request: String) -> Plan {
        confinement::wheel_plan(
            &self.interpreter,
            program,
            wheel,
            request,
            self.identity(),
            self.layers,
        )
    }

    /// Whether the kernel keeps exit information behind a pidfd; known once the
    /// self-test has run.
    pub(crate) fn keeps_exit_information(&self) -> bool {
        self.exit_information.load(Ordering::Acquire)
    }

    /// A host identity that no other live template has: the numbers go round
    /// after a million templates.
    fn identity(&self) -> Identity {
        if !self.privileged {
            return Identity::Own;
        }
        let turn = self.next_uid.fetch_add(1, Ordering::Relaxed) % self.limits.uid_count;
        let uid = self.limits.uid_base + turn;
        Identity::Mapped {
            host_uid: uid,
            host_gid: uid,
        }
    }
}
