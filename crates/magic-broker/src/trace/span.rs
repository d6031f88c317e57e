//! One span, from its beginning to whoever takes it.
//!
//! A span is a plain value: what it becomes on the wire is for whoever exports it. Its times are told by one clock, read twice: a
//! wall clock that is set meanwhile moves a span, but never makes it longer.

use std::borrow::Cow;
use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The number of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(NonZeroU128);

/// The number of a span.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(NonZeroU64);

impl TraceId {
    /// The trace of that number; zero is none.
    #[must_use]
    pub fn of(number: u128) -> Option<Self> {
        NonZeroU128::new(number).map(Self)
    }

    /// A new trace; `None` if the system gives no random numbers.
    pub(super) fn random() -> Option<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).ok()?;
        Self::of(u128::from_ne_bytes(bytes).max(1))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u128 {
        self.0.get()
    }
}

impl SpanId {
    /// The span of that number; zero is none.
    #[must_use]
    pub fn of(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// A new span; `None` if the system gives no random numbers.
    pub(super) fn random() -> Option<Self> {
        Self::of(getrandom::u64().ok()?.max(1))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Who decides which traces are recorded, and takes their spans.
pub trait SpanSink: fmt::Debug + Send + Sync {
    /// Whether this trace is recorded. `parent` says whether its client records it; `None` is the first span of a trace.
    fn samples(&self, trace: TraceId, parent: Option<bool>) -> bool;
    /// Takes a span that has ended. Must not block: what there is no room for is dropped and counted.
    fn take(&self, span: Span);
    /// What became of the spans so far.
    fn counts(&self) -> SpanCounts;
}

/// How many spans came to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpanCounts {
    /// Handed over to the collector.
    pub exported: u64,
    /// Dropped, because more were waiting than may.
    pub queue_full: u64,
    /// Dropped, because the collector did not take them.
    pub not_taken: u64,
}

/// Which side of what a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Answers a client.
    Server,
    /// Handles a message.
    Consumer,
    /// Asks somebody else.
    Client,
    /// A step within.
    Internal,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum SpanValue {
    /// A text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
}

impl From<&'static str> for SpanValue {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for SpanValue {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for SpanValue {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for SpanValue {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// How what a span tells of came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanEnd {
    /// Well, or in a way that is not this side's fault.
    Fine,
    /// It failed.
    Failed,
}

/// A span.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its own number.
    pub span_id: SpanId,
    /// Below which span it is; `None` for the first of a trace.
    pub parent: Option<SpanId>,
    /// Whether that is a span of somebody else's.
    pub parent_is_remote: bool,
    /// What it tells of.
    pub name: Cow<'static, str>,
    /// Which side.
    pub kind: SpanKind,
    /// Since when.
    pub begun: SystemTime,
    /// Until when.
    pub ended: SystemTime,
    /// What else is known. Never a payload and never a secret.
    pub attributes: Vec<(&'static str, SpanValue)>,
    /// How it came out.
    pub end: SpanEnd,
}

impl Span {
    /// A span that begins now.
    pub(super) fn new(
        trace_id: TraceId,
        span_id: SpanId,
        name: Cow<'static, str>,
        kind: SpanKind,
    ) -> Self {
        let now = SystemTime::now();
        Self {
            trace_id,
            span_id,
            parent: None,
            parent_is_remote: false,
            name,
            kind,
            begun: now,
            ended: now,
            attributes: Vec::new(),
            end: SpanEnd::Fine,
        }
    }
}

/// What a span says whose end was never told.
const CUT_OFF: &str = "magic.cut_off";

#[derive(Debug)]
struct Open {
    sink: Arc<dyn SpanSink>,
    span: Span,
    begun: Instant,
}

impl Open {
    fn end(mut self, end: SpanEnd) {
        self.span.ended = self.span.begun + self.begun.elapsed();
        self.span.end = end;
        self.sink.take(self.span);
    }

    fn cut_off(mut self) {
        self.span.attributes.push((CUT_OFF, true.into()));
        self.end(SpanEnd::Failed);
    }
}

/// A span that is not over, or nothing where nobody records. Dropped before it is ended, it was cut off, and says so.
#[derive(Debug, Default)]
#[must_use]
pub struct OpenSpan(Option<Box<Open>>);

impl OpenSpan {
    /// Begins a span, or tells of one that began some time ago and ends now.
    pub(super) fn begin(sink: Arc<dyn SpanSink>, mut span: Span, ago: Duration) -> Self {
        let now = Instant::now();
        let begun = now.checked_sub(ago);
        if begun.is_some() {
            span.begun = span.begun.checked_sub(ago).unwrap_or(span.begun);
        }
        let begun = begun.unwrap_or(now);
        Self(Some(Box::new(Open { sink, span, begun })))
    }

    /// Whether there is nothing behind it, because nobody records.
    #[cfg(test)]
    pub(super) fn is_nothing(&self) -> bool {
        self.0.is_none()
    }

    /// Notes something about it.
    pub fn note(&mut self, name: &'static str, value: impl Into<SpanValue>) {
        if let Some(open) = &mut self.0 {
            open.span.attributes.push((name, value.into()));
        }
    }

    /// Ends it.
    pub fn end(mut self, end: SpanEnd) {
        if let Some(open) = self.0.take() {
            open.end(end);
        }
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            open.cut_off();
        }
    }
}

/// A request's own span, which several note something about.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) sink: Arc<dyn SpanSink>,
    open: Mutex<OpenSpan>,
}

impl Recording {
    pub(super) fn new(sink: Arc<dyn SpanSink>, span: Span) -> Self {
        let open = OpenSpan::begin(Arc::clone(&sink), span, Duration::ZERO);
        Self {
            sink,
            open: Mutex::new(open),
        }
    }

    pub(super) fn note(&self, name: &'static str, value: SpanValue) {
        self.lock().note(name, value);
    }

    pub(super) fn end(&self, end: SpanEnd) {
        // The sink is not called under the lock.
        let open = std::mem::take(&mut *self.lock());
        open.end(end);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, OpenSpan> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
