//! magic-api
