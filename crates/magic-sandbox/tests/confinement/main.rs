//! The sandbox against the real kernel. Every denial has a twin that succeeds: the same attack outside,
//! or inside with just the layer in question left out.

mod calls;
mod files;
mod groups;
mod layers;
mod lifetime;
mod narrowed;
mod ordinary;
mod peers;
mod probing;
mod support;
