//! From the policy's words on layers to the sandbox's.
//!
//! The two crates do not know each other: one speaks of what an operator
//! demands, the other of what a kernel does. The names are the same, and a
//! test says so.

use magic_contract::{Policy, Requirement, SandboxLayer};
use magic_sandbox::{Layer, Layers, Level};

/// The level of every layer under this policy.
pub(crate) fn of(policy: &Policy) -> Layers {
    let mut layers = Layers::default();
    for (layer, requirement) in policy.layers.iter() {
        layers = layers.with(counterpart(layer), level(requirement));
    }
    layers
}

fn level(requirement: Requirement) -> Level {
    match requirement {
        Requirement::Required => Level::Required,
        Requirement::BestEffort => Level::BestEffort,
        Requirement::Off => Level::Off,
    }
}

fn counterpart(layer: SandboxLayer) -> Layer {
    match layer {
        SandboxLayer::User => Layer::User,
        SandboxLayer::Pid => Layer::Pid,
        SandboxLayer::Mount => Layer::Mount,
        SandboxLayer::Network => Layer::Network,
        SandboxLayer::Ipc => Layer::Ipc,
        SandboxLayer::Uts => Layer::Uts,
        SandboxLayer::CgroupNamespace => Layer::CgroupNamespace,
        SandboxLayer::Landlock => Layer::Landlock,
        SandboxLayer::Seccomp => Layer::Seccomp,
        SandboxLayer::Capabilities => Layer::Capabilities,
        SandboxLayer::ResourceLimits => Layer::ResourceLimits,
        SandboxLayer::CgroupLimits => Layer::CgroupLimits,
    }
}

#[cfg(test)]
mod tests {
    use super::{counterpart, of};
    use magic_contract::{Policy, SandboxLayer};
    use magic_sandbox::{Layer, Level};

    #[test]
    fn both_crates_know_the_same_layers_by_the_same_names() {
        let names: Vec<_> = SandboxLayer::ALL
            .iter()
            .map(|layer| layer.as_str())
            .collect();
        assert_eq!(
            names,
            Layer::ALL
                .iter()
                .map(|layer| layer.name())
                .collect::<Vec<_>>()
        );
        for layer in SandboxLayer::ALL {
            assert_eq!(layer.as_str(), counterpart(*layer).name());
        }
    }

    /// Production weakens nothing.
    #[test]
    fn production_requires_every_layer() {
        let layers = of(&Policy::production());
        for layer in Layer::ALL {
            assert_eq!(layers.level(layer), Level::Required, "{layer}");
        }
    }
}
