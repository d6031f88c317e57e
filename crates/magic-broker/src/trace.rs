//! The trace that a request belongs to, as the W3C's Trace Context writes it.
//!
//! The runtime adds one span, that of the request: what the client sent is its parent, and what outbound HTTP requests carry is its
//! children's. It decides nothing, and a text that does not fit is as good as none. `tracestate` is for vendors and is not passed on.

/// A request's place in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// 32 hexadecimal digits.
    trace_id: String,
    /// 16 hexadecimal digits, of the request's own span.
    span_id: String,
    /// Two hexadecimal digits: whether the client records it.
    flags: String,
}

/// The length of the four fields that every version begins with.
const LENGTH: usize = 55;

impl TraceContext {
    /// A child of what `traceparent` names; `None` if it is no `traceparent`.
    #[must_use]
    pub fn child_of(traceparent: &str) -> Option<Self> {
        let fields = traceparent.get(..LENGTH)?;
        let rest = &traceparent[LENGTH..];
        let mut parts = fields.split('-');
        let mut next = |digits: usize| {
            let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            let part = parts.next()?;
            (part.len() == digits && part.bytes().all(hexadecimal)).then_some(part)
        };
        let (version, trace_id, parent, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
        // Later versions may add fields, this one may not.
        let further = if version == "00" {
            rest.is_empty()
        } else {
            rest.is_empty() || rest.starts_with('-')
        };
        if version == "ff" || is_zero(trace_id) || is_zero(parent) || !further {
            return None;
        }
        Some(Self {
            trace_id: trace_id.to_owned(),
            span_id: format!("{:016x}", getrandom::u64().ok()?.max(1)),
            flags: flags.to_owned(),
        })
    }

    /// The trace, as logs and records name it.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }

    /// What the request's own requests carry.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{}", self.trace_id, self.span_id, self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// The child has the trace and the flags, and a span of its own.
    #[test]
    fn a_child_stays_in_its_trace() {
        let one = TraceContext::child_of(PARENT).unwrap();
        let other = TraceContext::child_of(PARENT).unwrap();
        assert_eq!(one.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        let written = one.traceparent();
        assert!(written.starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
        assert!(written.ends_with("-01") && !written.contains("b7ad6b7169203331"));
        assert_ne!(written, other.traceparent());
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
            assert_eq!(TraceContext::child_of(text), None, "{text}");
        }
    }

    proptest! {
        /// No text breaks it, and what it takes it can write again.
        #[test]
        fn any_text(text in "\\PC*|[0-9a-f-]{50,60}") {
            if let Some(trace) = TraceContext::child_of(&text) {
                prop_assert!(TraceContext::child_of(&trace.traceparent()).is_some());
            }
        }
    }
}
