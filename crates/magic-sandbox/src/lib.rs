//! magic-sandbox
