//! Graph.
#[derive(Default)]
pub(super) struct Graph {}
