//! The header by which any client names its trace: what is read can be written and read again, and stays in its trace.

#![no_main]

use libfuzzer_sys::fuzz_target;
use magic_broker::TraceContext;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(trace) = TraceContext::child_of(text) {
        let again = TraceContext::child_of(&trace.traceparent(None)).expect("its own text");
        assert_eq!(again.trace_id(), trace.trace_id());
        assert!(text.contains(&trace.trace_id().to_string()));
    }
});
