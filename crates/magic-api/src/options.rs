//! Every limit of the HTTP side, in one plain struct, with the defaults visible in one place.
//!
//! A limit exists for each thing that a client could otherwise make grow without end: bytes of a header, of a body, of all
//! bodies together, connections, followers, and the time that each of these may take.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use magic_store::state::ApiKeys;

use crate::auth::allowlist::ControllerAllowlist;
use crate::auth::authenticator::Authentication;
use crate::auth::rate::Rate;
use crate::cors::AllowedOrigins;

/// The limits and habits of the HTTP server.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// The largest request body, in bytes.
    pub body_limit: usize,
    /// The largest bundle that can be uploaded, in bytes.
    pub archive_limit: usize,
    /// How long a request body may take from its first to its last byte.
    pub body_timeout: Duration,
    /// What all request bodies in memory may take together, in bytes.
    pub body_memory: usize,
    /// The most header fields that a request may have. hyper itself gives up at 100, with a bare 431.
    pub header_count: usize,
    /// The most bytes that names and values of a request's header fields may have together.
    pub header_bytes: usize,
    /// How long a client may take to send a request's head. hyper starts this clock when it begins to wait for a request, so
    /// for HTTP/1 it is also how long an idle connection is kept.
    pub header_read_timeout: Duration,
    /// How long a connection without a request in flight is kept, whatever it speaks.
    pub idle_timeout: Duration,
    /// How long a client may refuse to take a byte of an answer before its connection is closed.
    pub write_stall_timeout: Duration,
    /// The most connections at once, for each listener. Further ones wait in the kernel's backlog.
    pub connections: usize,
    /// The most HTTP/2 requests in flight on one connection.
    pub streams_per_connection: u32,
    /// The most clients that follow logs at once.
    pub followers: usize,
    /// How long requests in flight may go on after the order to stop.
    pub drain_grace: Duration,
    /// How long a connection without a request is kept after the order to stop, so that what is on its way is still answered.
    pub linger: Duration,
    /// The folder of the audit log, if there is one to show.
    pub audit_directory: Option<PathBuf>,
    /// Whether callers must prove who they are. It also decides which `Host` headers are believed on TCP: without
    /// authentication only loopback names are. The unix socket believes any, since a browser cannot reach it.
    pub authentication: Authentication,
    /// Where the routes below `/api/keys` make and revoke keys.
    pub keys: Option<ApiKeys>,
    /// The controllers that may run here.
    pub controller_allowlist: ControllerAllowlist,
    /// The other origins whose pages may ask.
    pub allowed_origins: AllowedOrigins,
    /// How often one caller may ask; without it, as often as there is room.
    pub rate: Option<Rate>,
    /// How many requests without valid credentials, or without the right to what they ask, are told why and recorded for one
    /// source address at once; one more each second.
    pub failed_attempts: NonZeroU32,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            body_limit: 8 * 1024 * 1024,
            archive_limit: 40 * 1024 * 1024,
            body_timeout: Duration::from_secs(30),
            body_memory: 256 * 1024 * 1024,
            header_count: 64,
            header_bytes: 32 * 1024,
            header_read_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            write_stall_timeout: Duration::from_secs(30),
            connections: 1024,
            streams_per_connection: 64,
            followers: 64,
            drain_grace: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            audit_directory: None,
            authentication: Authentication::Open,
            keys: None,
            controller_allowlist: ControllerAllowlist::default(),
            allowed_origins: AllowedOrigins::default(),
            rate: None,
            failed_attempts: NonZeroU32::new(100).unwrap_or(NonZeroU32::MIN),
        }
    }
}
