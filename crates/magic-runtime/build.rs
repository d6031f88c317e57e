//! Rebuilds this crate when a file of the embedded SDK changes or appears,
//! which the embedding macro alone cannot notice.

fn main() {
    println!("cargo::rerun-if-changed=../../python-sdk/src/magic");
}
