//! magic-broker
