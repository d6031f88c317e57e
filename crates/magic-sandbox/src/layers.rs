//! The layers of the sandbox, how much a caller wants each, and what was really enforced.
//!
//! A kernel may lack a feature, an administrator may have switched one off, and a container may hide
//! a third. Code that silently does what it can is code that runs unconfined one day. So every layer
//! carries a [`Level`], and every start of a program returns a [`Report`] that was filled in by the
//! jail itself, after the fact, from what the kernel answered.
//!
//! `Required` is strict on purpose: a layer that stands only in part fails the start. Someone who can
//! live with less writes `BestEffort` and reads the report.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// One mechanism that confines the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Layer {
    /// User namespace: the program's capabilities, if it ever got any, would count for nothing outside.
    User,
    /// Process namespace: no process of the host is visible or addressable.
    Pid,
    /// Private root file system: only the mounts of the plan exist, all of them read-only.
    Mount,
    /// Network namespace without any interface that is up.
    Network,
    /// Namespace of System V and POSIX message queues, semaphores and shared memory.
    Ipc,
    /// Namespace of the host name.
    Uts,
    /// Namespace of control group paths.
    CgroupNamespace,
    /// Landlock domain: files, TCP, and the scopes of signals and abstract sockets.
    Landlock,
    /// System call filter.
    Seccomp,
    /// Empty capability sets, locked secure bits.
    Capabilities,
    /// Resource limits of the process.
    ResourceLimits,
    /// Memory, processor and process count limits of a control group.
    CgroupLimits,
}

impl Layer {
    /// Every layer, in the order in which reports print them.
    pub const ALL: [Self; 12] = [
        Self::User,
        Self::Pid,
        Self::Mount,
        Self::Network,
        Self::Ipc,
        Self::Uts,
        Self::CgroupNamespace,
        Self::Landlock,
        Self::Seccomp,
        Self::Capabilities,
        Self::ResourceLimits,
        Self::CgroupLimits,
    ];

    /// The layer's name in settings, policies and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Pid => "pid",
            Self::Mount => "mount",
            Self::Network => "network",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::CgroupNamespace => "cgroup_namespace",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::Capabilities => "capabilities",
            Self::ResourceLimits => "resource_limits",
            Self::CgroupLimits => "cgroup_limits",
        }
    }

    /// The layer called `name`, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layer| layer.name() == name)
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// How much a caller wants a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The layer stands in full, or the program does not start.
    #[default]
    Required,
    /// As much of the layer as this host gives; the report says how much.
    BestEffort,
    /// The layer is left out. Meant for tests of the other layers.
    Off,
}

/// The level of every layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Layers {
    /// See [`Layer::User`].
    pub user: Level,
    /// See [`Layer::Pid`].
    pub pid: Level,
    /// See [`Layer::Mount`].
    pub mount: Level,
    /// See [`Layer::Network`].
    pub network: Level,
    /// See [`Layer::Ipc`].
    pub ipc: Level,
    /// See [`Layer::Uts`].
    pub uts: Level,
    /// See [`Layer::CgroupNamespace`].
    pub cgroup_namespace: Level,
    /// See [`Layer::Landlock`].
    pub landlock: Level,
    /// See [`Layer::Seccomp`].
    pub seccomp: Level,
    /// See [`Layer::Capabilities`].
    pub capabilities: Level,
    /// See [`Layer::ResourceLimits`].
    pub resource_limits: Level,
    /// See [`Layer::CgroupLimits`].
    pub cgroup_limits: Level,
}

impl Default for Layers {
    fn default() -> Self {
        Self::all(Level::Required)
    }
}

impl Layers {
    /// Every layer at the same level.
    #[must_use]
    pub const fn all(level: Level) -> Self {
        Self {
            user: level,
            pid: level,
            mount: level,
            network: level,
            ipc: level,
            uts: level,
            cgroup_namespace: level,
            landlock: level,
            seccomp: level,
            capabilities: level,
            resource_limits: level,
            cgroup_limits: level,
        }
    }

    /// The level of one layer.
    #[must_use]
    pub const fn level(&self, layer: Layer) -> Level {
        match layer {
            Layer::User => self.user,
            Layer::Pid => self.pid,
            Layer::Mount => self.mount,
            Layer::Network => self.network,
            Layer::Ipc => self.ipc,
            Layer::Uts => self.uts,
            Layer::CgroupNamespace => self.cgroup_namespace,
            Layer::Landlock => self.landlock,
            Layer::Seccomp => self.seccomp,
            Layer::Capabilities => self.capabilities,
            Layer::ResourceLimits => self.resource_limits,
            Layer::CgroupLimits => self.cgroup_limits,
        }
    }

    /// The same levels with `layer` at `level`.
    #[must_use]
    pub const fn with(mut self, layer: Layer, level: Level) -> Self {
        match layer {
            Layer::User => self.user = level,
            Layer::Pid => self.pid = level,
            Layer::Mount => self.mount = level,
            Layer::Network => self.network = level,
            Layer::Ipc => self.ipc = level,
            Layer::Uts => self.uts = level,
            Layer::CgroupNamespace => self.cgroup_namespace = level,
            Layer::Landlock => self.landlock = level,
            Layer::Seccomp => self.seccomp = level,
            Layer::Capabilities => self.capabilities = level,
            Layer::ResourceLimits => self.resource_limits = level,
            Layer::CgroupLimits => self.cgroup_limits = level,
        }
        self
    }
}

/// How much of a layer was really enforced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "why")]
pub enum Enforcement {
    /// All that this crate knows of the layer stands.
    Full,
    /// The layer stands, with the named part missing.
    Partial(String),
    /// The layer was wanted and is not there, for the named reason.
    Absent(String),
    /// Nobody asked for the layer.
    Off,
}

impl fmt::Display for Enforcement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => formatter.write_str("full"),
            Self::Partial(why) => write!(formatter, "partial: {why}"),
            Self::Absent(why) => write!(formatter, "absent: {why}"),
            Self::Off => formatter.write_str("off"),
        }
    }
}

/// What the jail found standing, layer by layer, just before it became the program.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Report {
    layers: BTreeMap<Layer, Enforcement>,
}

impl Report {
    /// What was enforced of `layer`. A layer that no one recorded counts as off.
    #[must_use]
    pub fn enforcement(&self, layer: Layer) -> &Enforcement {
        self.layers.get(&layer).unwrap_or(&Enforcement::Off)
    }

    /// Every layer with what was enforced of it, in the order of [`Layer::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Layer, &Enforcement)> {
        Layer::ALL
            .into_iter()
            .map(|layer| (layer, self.enforcement(layer)))
    }

    /// Whether every layer stands in full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.iter()
            .all(|(_, enforcement)| *enforcement == Enforcement::Full)
    }

    pub(crate) fn record(&mut self, layer: Layer, enforcement: Enforcement) {
        self.layers.insert(layer, enforcement);
    }
}
