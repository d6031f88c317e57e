//! The trace that a request belongs to, as the W3C's Trace Context writes it, and the spans that are told of it.
//!
//! A request's place in a trace is known whenever its client says so; spans are made only where somebody records them. So a
//! [`TraceContext`] without a recorder is three numbers, and every method that would make a span gives back one that is nothing.
//! Which traces are recorded, and where spans go, is the recorder's to say. `tracestate` is for vendors and is not passed on.

mod span;

pub use span::{
    OpenSpan, Span, SpanCounts, SpanEnd, SpanId, SpanKind, SpanSink, SpanValue, TraceId,
};

use span::Recording;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// A request's place in a trace. Clones are the same place.
#[derive(Debug, Clone)]
pub struct TraceContext {
    trace_id: TraceId,
    /// Of the request's own span.
    span_id: SpanId,
    /// Whether the trace is recorded, and what later versions put beside that.
    flags: u8,
    /// The request's own span while it is open, where the trace is recorded.
    recording: Option<Arc<Recording>>,
}

/// What a `traceparent` says.
#[derive(Debug, Clone, Copy)]
struct Parent {
    trace_id: TraceId,
    span_id: SpanId,
    flags: u8,
}

/// The flag of traces that their client records.
const SAMPLED: u8 = 1;

/// The length of the four fields that every version begins with.
const LENGTH: usize = 55;

impl Parent {
    fn parse(traceparent: &str) -> Option<Self> {
        let fields = traceparent.get(..LENGTH)?;
        let rest = &traceparent[LENGTH..];
        let mut parts = fields.split('-');
        let mut next = |digits: usize| {
            let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            let part = parts.next()?;
            (part.len() == digits && part.bytes().all(hexadecimal)).then_some(part)
        };
        let (version, trace_id, parent, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        // Later versions may add fields, this one may not.
        let further = if version == "00" {
            rest.is_empty()
        } else {
            rest.is_empty() || rest.starts_with('-')
        };
        if version == "ff" || !further {
            return None;
        }
        Some(Self {
            trace_id: TraceId::of(u128::from_str_radix(trace_id, 16).ok()?)?,
            span_id: SpanId::of(u64::from_str_radix(parent, 16).ok()?)?,
            flags: u8::from_str_radix(flags, 16).ok()?,
        })
    }
}

impl TraceContext {
    /// A child of what `traceparent` names, recorded by nobody; `None` if it is no `traceparent`.
    #[must_use]
    pub fn child_of(traceparent: &str) -> Option<Self> {
        let parent = Parent::parse(traceparent)?;
        Some(Self {
            trace_id: parent.trace_id,
            span_id: SpanId::random()?,
            flags: parent.flags,
            recording: None,
        })
    }

    /// Begins a request's own span: a child of what `traceparent` names, or the first of a new trace. It is told to the sink if
    /// that samples the trace, by [`TraceContext::end`] or when the last clone is gone. `None` if the system gives no random
    /// numbers.
    #[must_use]
    pub fn begin(
        sink: &Arc<dyn SpanSink>,
        traceparent: Option<&str>,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
    ) -> Option<Self> {
        let parent = traceparent.and_then(Parent::parse);
        let trace_id = match parent {
            Some(parent) => parent.trace_id,
            None => TraceId::random()?,
        };
        let span_id = SpanId::random()?;
        let sampled = sink.samples(trace_id, parent.map(|parent| parent.flags & SAMPLED != 0));
        let others = parent.map_or(0, |parent| parent.flags & !SAMPLED);
        let recording = sampled.then(|| {
            let span = Span {
                parent: parent.map(|parent| parent.span_id),
                parent_is_remote: true,
                ..Span::new(trace_id, span_id, name.into(), kind)
            };
            Arc::new(Recording::new(Arc::clone(sink), span))
        });
        Some(Self {
            trace_id,
            span_id,
            flags: others | u8::from(sampled),
            recording,
        })
    }

    /// The trace, as logs and records name it.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// What the request's own requests carry; those of a call that has a span carry that of the call.
    #[must_use]
    pub fn traceparent(&self, call: Option<SpanId>) -> String {
        let span = call.unwrap_or(self.span_id);
        format!("00-{}-{span}-{:02x}", self.trace_id, self.flags)
    }

    /// Whether anybody records it.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.recording.is_some()
    }

    /// Notes something about the request as a whole.
    pub fn note(&self, name: &'static str, value: impl Into<SpanValue>) {
        if let Some(recording) = &self.recording {
            recording.note(name, value.into());
        }
    }

    /// Ends the request's own span. Whoever is later is not heard.
    pub fn end(&self, end: SpanEnd) {
        if let Some(recording) = &self.recording {
            recording.end(end);
        }
    }

    /// A number for a span that is yet to be, where spans are recorded: its children may be told before it is.
    #[must_use]
    pub fn reserve(&self) -> Option<SpanId> {
        self.recording.as_ref().and_then(|_| SpanId::random())
    }

    /// Begins one step of the request.
    pub fn step(&self, name: &'static str) -> OpenSpan {
        self.step_as(self.reserve(), name)
    }

    /// Begins a step under a reserved number; without one it is nothing.
    pub fn step_as(&self, id: Option<SpanId>, name: &'static str) -> OpenSpan {
        self.open(
            id,
            self.span_id,
            name.into(),
            SpanKind::Internal,
            Duration::ZERO,
        )
    }

    /// A call that ends now and took that long, below a step or the request itself. Its number is the one that it was given when it
    /// began, if it got that far.
    pub fn call(
        &self,
        id: Option<SpanId>,
        below: Option<SpanId>,
        name: Cow<'static, str>,
        took: Duration,
    ) -> OpenSpan {
        let id = id.or_else(|| self.reserve());
        self.open(
            id,
            below.unwrap_or(self.span_id),
            name,
            SpanKind::Client,
            took,
        )
    }

    fn open(
        &self,
        id: Option<SpanId>,
        parent: SpanId,
        name: Cow<'static, str>,
        kind: SpanKind,
        ago: Duration,
    ) -> OpenSpan {
        let (Some(recording), Some(id)) = (&self.recording, id) else {
            return OpenSpan::default();
        };
        let span = Span {
            parent: Some(parent),
            ..Span::new(self.trace_id, id, name, kind)
        };
        OpenSpan::begin(Arc::clone(&recording.sink), span, ago)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Mutex;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// The child has the trace and the flags, and a span of its own.
    #[test]
    fn a_child_stays_in_its_trace() {
        let one = TraceContext::child_of(PARENT).unwrap();
        let other = TraceContext::child_of(PARENT).unwrap();
        assert_eq!(
            one.trace_id().to_string(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        let written = one.traceparent(None);
        assert!(written.starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
        assert!(written.ends_with("-01") && !written.contains("b7ad6b7169203331"));
        assert_ne!(written, other.traceparent(None));
        assert!(TraceContext::child_of(&written).is_some());
        let later = PARENT.replacen("00", "cc", 1) + "-more";
        assert!(TraceContext::child_of(&later).is_some());
    }

    /// What is not one is none.
    #[test]
    fn others_are_none() {
        for text in [
            "",
            "00",
            &PARENT[..54],
            &PARENT.replacen("00", "ff", 1),
            &PARENT.to_uppercase(),
            &format!("{PARENT}-more"),
            &format!("{PARENT} "),
            &PARENT.replacen("00", "cc", 1).replace("-01", "-01x"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
        ] {
            assert!(TraceContext::child_of(text).is_none(), "{text}");
        }
    }

    /// Keeps spans, of all traces or of none.
    #[derive(Debug)]
    struct Kept {
        samples: bool,
        spans: Mutex<Vec<Span>>,
    }

    impl SpanSink for Kept {
        fn samples(&self, _: TraceId, _: Option<bool>) -> bool {
            self.samples
        }

        fn take(&self, span: Span) {
            self.spans.lock().unwrap().push(span);
        }

        fn counts(&self) -> SpanCounts {
            SpanCounts::default()
        }
    }

    fn begin(samples: bool, parent: &str) -> (Arc<Kept>, TraceContext) {
        let kept = Arc::new(Kept {
            samples,
            spans: Mutex::default(),
        });
        let sink: Arc<dyn SpanSink> = kept.clone();
        let trace = TraceContext::begin(&sink, Some(parent), "request", SpanKind::Server);
        (kept, trace.unwrap())
    }

    /// Without a recorder there is nothing behind a span; the client is told that it is not recorded.
    #[test]
    fn what_nobody_records_is_nothing() {
        let (kept, trace) = begin(false, PARENT);
        assert!(!trace.is_recorded() && trace.reserve().is_none());
        trace.note("a", true);
        let mut step = trace.step("step");
        assert!(step.is_nothing());
        step.note("a", 1_i64);
        step.end(SpanEnd::Fine);
        trace.end(SpanEnd::Fine);
        assert!(trace.traceparent(None).ends_with("-00"));
        drop(trace);
        assert!(kept.spans.lock().unwrap().is_empty());
    }

    /// Steps and calls lie below the request, the request below its client. What is dropped says that it was cut off.
    #[test]
    fn spans_are_one_tree() {
        let (kept, trace) = begin(true, &PARENT.replace("-01", "-00"));
        assert!(trace.traceparent(None).ends_with("-01"));
        let run = trace.reserve();
        let took = Duration::from_millis(5);
        drop(trace.call(None, run, "db.query".into(), took));
        trace.step_as(run, "run").end(SpanEnd::Failed);
        trace.clone().end(SpanEnd::Fine);
        trace.end(SpanEnd::Failed);
        drop(trace);
        let spans = kept.spans.lock().unwrap();
        let [call, step, request] = spans.as_slice() else {
            panic!("{spans:?}");
        };
        assert_eq!((call.parent, Some(step.span_id)), (run, run));
        assert_eq!(step.parent, Some(request.span_id));
        assert_eq!(request.parent, SpanId::of(0xb7ad_6b71_6920_3331));
        assert!(call.ended.duration_since(call.begun).unwrap() >= took);
        let is_cut_off = |span: &Span| span.attributes.contains(&("magic.cut_off", true.into()));
        assert!(is_cut_off(call) && !is_cut_off(step) && !is_cut_off(request));
        assert_eq!((call.end, request.end), (SpanEnd::Failed, SpanEnd::Fine));
    }

    proptest! {
        /// No text breaks it, and what it takes it can write again.
        #[test]
        fn any_text(text in "\\PC*|[0-9a-f-]{50,60}") {
            if let Some(trace) = TraceContext::child_of(&text) {
                prop_assert!(TraceContext::child_of(&trace.traceparent(None)).is_some());
            }
        }
    }
}
