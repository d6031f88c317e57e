//! Every limit of the HTTP side, in one plain struct, with the defaults visible in one place.
//!
//! A limit exists for each thing that a client could otherwise make grow without end: bytes of a header, of a body, of all
//! bodies together, connections, followers, and the time that each of these may take.

use std::path::PathBuf;
use std::time::Duration;

/// Which `Host` (and `Origin`) headers are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostCheck {
    /// Only names of this machine's loopback interface. A server without authentication must use this: it is what keeps a
    /// web page that the user happens to visit from reaching the server through the user's own browser, directly or by a
    /// DNS name that suddenly points at 127.0.0.1.
    LoopbackNames,
    /// Any host, for servers whose callers authenticate.
    Any,
}

/// The limits and habits of the HTTP server.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// The largest request body, in bytes.
    pub body_limit: usize,
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
    /// The folder of the audit log, if there is one to show.
    pub audit_directory: Option<PathBuf>,
    /// Which `Host` headers are believed on TCP. The unix socket believes any: a browser cannot reach it.
    pub host_check: HostCheck,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            body_limit: 8 * 1024 * 1024,
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
            audit_directory: None,
            host_check: HostCheck::LoopbackNames,
        }
    }
}
