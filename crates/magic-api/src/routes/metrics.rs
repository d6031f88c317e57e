//! `GET /metrics`: what Prometheus scrapes. The runtime tells its part, and this layer its own.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use magic_runtime::metrics::{self, Family, Labels, Sample};

use crate::auth::authorize::Authorized;
use crate::state::ApiState;

/// Everything, as OpenMetrics text.
pub(super) async fn metrics(State(state): State<ApiState>, authorized: Authorized) -> Response {
    let mut families = state.runtime.metrics().await;
    // Who is bound to some controllers learns nothing of others.
    let may_see = |(labels, _): &(Labels, Sample)| {
        labels
            .iter()
            .all(|(name, value)| *name != "controller" || authorized.check(value).is_ok())
    };
    for family in &mut families {
        family.samples.retain(may_see);
    }
    let (used, total) = state.bodies.memory();
    for (name, help, value) in [
        (
            "magic_body_memory_bytes",
            "Memory that request bodies take",
            used,
        ),
        (
            "magic_body_memory_limit_bytes",
            "Memory that request bodies may take",
            total,
        ),
        (
            "magic_connections",
            "Open connections",
            state.connections.len(),
        ),
    ] {
        #[expect(
            clippy::cast_precision_loss,
            reason = "no machine has that much memory"
        )]
        let sample = Sample::Gauge(value as f64);
        families.push(Family::new(name, help).with(Vec::new(), sample));
    }
    let mut responses = Family::new("magic_http_responses", "Answers by their status");
    for (status, count) in state.answered.read() {
        let labels = vec![("status", status.to_string())];
        #[expect(clippy::cast_precision_loss, reason = "no count here nears 2^53")]
        let sample = Sample::Counter(count as f64);
        responses = responses.with(labels, sample);
    }
    families.push(responses);
    let mut response = metrics::encode(families).into_response();
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static(metrics::CONTENT_TYPE),
    );
    response
}
