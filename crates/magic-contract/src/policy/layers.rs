//! The layers of the sandbox, as far as a policy speaks of them: a name and a requirement each.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// How much a policy insists on a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Requirement {
    /// Without it the runtime does not start.
    #[default]
    Required,
    /// Used where the host has it; its absence is reported loudly.
    BestEffort,
    /// Not used. For tests of the other layers.
    Off,
}

impl Requirement {
    /// Every requirement.
    pub const ALL: &'static [Self] = &[Self::Required, Self::BestEffort, Self::Off];

    /// The spelling used in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::BestEffort => "best_effort",
            Self::Off => "off",
        }
    }
}

impl Serialize for Requirement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

macro_rules! layers {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// One layer of the sandbox.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum SandboxLayer { $($(#[$doc])* $variant,)+ }

        impl SandboxLayer {
            /// Every layer.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The spelling used in policies and reports.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

layers! {
    /// User namespace.
    User = "user",
    /// Process namespace.
    Pid = "pid",
    /// Mount namespace with a private, read-only root.
    Mount = "mount",
    /// Network namespace without an interface that is up.
    Network = "network",
    /// Namespace of System V and POSIX IPC.
    Ipc = "ipc",
    /// Namespace of the host name.
    Uts = "uts",
    /// Namespace of control group paths.
    CgroupNamespace = "cgroup_namespace",
    /// Landlock rules for files, and scopes for signals and abstract sockets.
    Landlock = "landlock",
    /// The allow list of system calls.
    Seccomp = "seccomp",
    /// All capabilities of the kernel dropped.
    Capabilities = "capabilities",
    /// Resource limits of the process.
    ResourceLimits = "resource_limits",
    /// Memory, processor and process limits of a control group.
    CgroupLimits = "cgroup_limits",
}

/// The requirement of every layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layers {
    requirements: Vec<(SandboxLayer, Requirement)>,
}

impl Default for Layers {
    /// Everything is required.
    fn default() -> Self {
        let requirements = SandboxLayer::ALL
            .iter()
            .map(|layer| (*layer, Requirement::Required))
            .collect();
        Self { requirements }
    }
}

impl Layers {
    /// What is required of this layer.
    #[must_use]
    pub fn requirement(&self, layer: SandboxLayer) -> Requirement {
        self.requirements
            .iter()
            .find(|(one, _)| *one == layer)
            .map_or(Requirement::Required, |(_, requirement)| *requirement)
    }

    /// Changes the requirement of one layer.
    pub fn set(&mut self, layer: SandboxLayer, requirement: Requirement) {
        for (one, current) in &mut self.requirements {
            if *one == layer {
                *current = requirement;
            }
        }
    }

    /// Goes through all layers.
    pub fn iter(&self) -> impl Iterator<Item = (SandboxLayer, Requirement)> + '_ {
        self.requirements.iter().copied()
    }

    pub(super) fn to_json(&self) -> Value {
        let member = |(layer, requirement): (SandboxLayer, Requirement)| {
            (layer.as_str().to_owned(), Value::from(requirement.as_str()))
        };
        Value::Object(self.iter().map(member).collect::<Map<_, _>>())
    }
}
