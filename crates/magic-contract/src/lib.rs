//! magic-contract
