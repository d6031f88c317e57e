//! What this host could enforce, without running anything untrusted.

pub(crate) mod remedies;

use crate::layers::Layer;

/// One layer as this host would give it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerProbe {
    /// Which layer.
    pub layer: Layer,
    /// Whether it would stand in full.
    pub available: bool,
    /// What was found.
    pub detail: String,
    /// What to type if it would not.
    pub remedy: Option<String>,
}

/// Looks at every layer. Takes a few milliseconds.
#[must_use]
pub fn probe() -> Vec<LayerProbe> {
    Vec::new()
}
