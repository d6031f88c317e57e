//! The HTTP interface of the runtime, and nothing else.
//!
//! This is the only crate that knows status codes, headers and routes; what a request *means* is decided below, by
//! `magic-runtime`, which knows nothing of HTTP. A request passes five stations:
//!
//! 1. `server`: connections, their limits and their end. hyper does the protocol, the accept loop is our own, because a server
//!    without timers on heads, idle time and stalled writes is held up by a handful of slow clients.
//! 2. `request_scope`: what is the same for every request. It finds or makes the request id, checks size of the head and origin,
//!    catches panics, and writes every error body.
//! 3. `auth`: who asks, and whether they may use the route that was matched.
//! 4. `routes`: one table of (method, path, role), one file per route.
//! 5. `body`: reading a JSON body within its bounds.
//!
//! Dropping a request's future cancels its execution and kills its worker; hyper drops it when the client goes away. Nothing
//! here spawns a task that outlives the connection it belongs to.

mod answered;
mod auth;
mod body;
mod cors;
mod openapi;
mod options;
mod origin;
mod refusal;
mod request_id;
mod request_scope;
mod routes;
mod server;
mod state;
mod status;
mod trace;

pub use auth::allowlist::{ControllerAllowlist, NotAnAllowlist};
pub use auth::authenticator::{Authentication, Authenticator};
pub use auth::caller::{Caller, Scope};
pub use auth::failure::AuthFailure;
pub use auth::key_ring::StoredKeys;
pub use auth::key_set::{BadKeySet, IssuerKeys, KEY_SET_LIMIT, KeySet, KeySetSource};
pub use auth::rate::Rate;
pub use auth::role::{Role, Roles};
pub use auth::token::{LEEWAY, TokenRules, TokenVerifier};
pub use cors::{AllowedOrigins, NotAnOrigin};
pub use options::ApiOptions;
pub use routes::{ROUTES, Route};
pub use server::{BindError, InheritError, Keeper, Listener, ServeError, SocketGroup, serve};
