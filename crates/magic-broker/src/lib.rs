//! One request's capability session: read a call, decide, perform, record, answer.
//!
//! The broker is the only thing that a worker can talk to. It owns the wire
//! format (`frame`, `message`), the budgets of a session (`budget`), the loop
//! that serves one request (`session`), and one file per capability behind the
//! one enum of methods (`capability`). What it needs from the outside is two
//! sinks, so that it knows neither the runtime above it nor the store beside
//! it: where log lines go and where audit records go.
//!
//! Nothing a worker sends chooses its rights. The session is built around one
//! connected socket and one [`Grant`](magic_contract::Grant); a frame can name
//! a method and parameters and nothing else.

mod budget;
pub mod cache;
mod call;
mod capabilities;
mod capability;
mod channel;
pub mod db;
mod delivery;
mod effects;
mod files;
mod frame;
mod grants;
pub mod http;
mod measure;
mod message;
mod problem;
pub mod queue;
mod record;
mod redis_store;
pub mod secrets;
mod session;
mod sqlite_file;
mod store;
#[cfg(test)]
mod test_call;
mod trace;

pub use budget::Budget;
pub use capabilities::{Backends, Capabilities, RequestFacts, Settled};
pub use capability::Method;
pub use channel::{Channel, ChannelError};
pub use delivery::Deliverer;
pub use effects::{DeliverError, Effect, Held, HeldLimits, deliver};
pub use frame::{FRAME_LIMIT, FrameBuffer, FrameError, encode};
pub use grants::GrantSource;
pub use measure::Measurement;
pub use message::{FromWorker, LogLevel, MessageError, WorkerError, WorkerErrorKind};
pub use record::{AuditSink, CallRecord, Durable, Ending, Intent};
pub use redis_store::{RedisStore, RedisUrlError};
pub use session::{End, LogSink, Session, Surroundings};
pub use store::StoreError;
pub use trace::{
    OpenSpan, Span, SpanCounts, SpanEnd, SpanId, SpanKind, SpanSink, SpanValue, TraceContext,
    TraceId,
};
