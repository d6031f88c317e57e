//! The control channel of a template: one JSON object per packet.
//!
//! The supervisor's side of the conversation is trusted, the template's is
//! not: after the import the code behind it may be anybody's. What arrives
//! here labels outcomes and fills error messages; it never grants anything.

use serde::{Deserialize, Serialize};

/// The longest packet, in bytes, in either direction.
pub(crate) const PACKET_LIMIT: usize = 64 * 1024;

/// What a template is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Order<'a> {
    /// Import the controller.
    Start {
        sys_path: &'a [String],
        module: &'a str,
        controller: &'a str,
        version: &'a str,
        /// Whether to report how children ended; not needed where the kernel
        /// keeps exit information behind a pidfd.
        report_exits: bool,
        /// Whether workers enter a Landlock domain of their own.
        worker_domain: bool,
        /// Bytes of private memory for a worker where no memory group stands.
        heap_limit: Option<u64>,
    },
    /// Fork a worker; three descriptors come with the packet. Templates compare
    /// this packet as a whole, so it has no members.
    Fork,
    /// Become the worker; three descriptors come with the packet.
    Serve,
}

/// What a template says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Notice {
    /// The controller is imported and the template waits for orders.
    Loaded(Entry),
    /// The controller cannot be imported.
    Failed(LoadFailure),
    /// A child ended; a label for an outcome.
    Exited { pid: i32, status: i32 },
}

/// The entry point that a template found.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Class or function.
    #[serde(rename = "entry")]
    pub kind: EntryKind,
    /// Its name in the module.
    pub name: String,
    /// Whether it is a coroutine function.
    pub is_async: bool,
}

/// How the author wrote the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A class that derives from `Controller`.
    Class,
    /// A function.
    Function,
}

/// Why a controller does not load, in the author's terms.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoadFailure {
    /// A closed set of names, `import` for example; untrusted text all the same.
    pub(crate) kind: String,
    /// Type name of the exception, if there was one.
    #[serde(default)]
    pub(crate) exception: Option<String>,
    /// What is wrong.
    pub(crate) message: String,
    /// The author's frames.
    #[serde(default)]
    pub(crate) traceback: Option<String>,
    /// What to type.
    #[serde(default)]
    pub(crate) hint: Option<String>,
}

impl Notice {
    /// Parses one packet; `None` for anything that is no notice, since a
    /// template that talks nonsense is answered by ignoring it: its workers'
    /// outcomes do not depend on what it says.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        serde_json::from_slice(packet).ok()
    }
}
