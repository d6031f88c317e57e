//! Calls that a CPython interpreter and its usual extension modules need, on every architecture.
//!
//! Found by tracing a broad workout of the standard library and numpy under 3.11, 3.12 and 3.13, and
//! then argued one by one. A call is here because something named needs it, not because it looks
//! harmless. Some are narrowed by their arguments, see `arguments.rs`.

mod descriptors;
mod processes;

use super::Allowed;

pub(super) const ALLOWED: [&[Allowed]; 2] = [descriptors::DESCRIPTORS, processes::PROCESSES];
