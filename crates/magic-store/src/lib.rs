//! magic-store
