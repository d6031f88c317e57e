//! magic-runtime
