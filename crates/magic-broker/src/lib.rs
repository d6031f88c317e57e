//! One request's capability session: read a call, decide, perform, record, answer.
//!
//! The broker is the only thing that a worker can talk to. It owns the wire
//! format (`frame`, `message`), the budgets of a session (`budget`) and the
//! loop that serves one request (`session`). What it needs from the outside is
//! two sinks, so that it knows neither the runtime above it nor the store
//! beside it: where log lines go and where audit records go.
//!
//! Nothing a worker sends chooses its rights. The session is built around one
//! connected socket and one [`Grant`](magic_contract::Grant); a frame can name
//! a method and parameters and nothing else.

mod budget;
mod capability;
mod channel;
mod frame;
mod message;
mod session;

pub use budget::Budget;
pub use capability::Method;
pub use channel::{Channel, ChannelError};
pub use frame::{FRAME_LIMIT, FrameBuffer, FrameError, encode};
pub use message::{FromWorker, LogLevel, MessageError, WorkerError, WorkerErrorKind};
pub use session::{AuditSink, CallRecord, End, LogSink, Session};
