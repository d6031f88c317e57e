//! Versions that arrive, change places and go: a real `magic serve` from outside, alone and as several nodes, while it is used,
//! interrupted and attacked.

#[path = "../support/support.rs"]
mod support;

mod bundles;
mod canaries;
mod deploying;
mod described;
mod executing;
mod killed;
mod moving;
mod nodes;
mod outside;
mod restarting;
mod service;
mod switching;
mod uploads;
