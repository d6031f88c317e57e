//! Spans to a collector, over OTLP (HTTP with protobuf).
//!
//! The one crate that knows OpenTelemetry, whose crates change their interface several times a year and move together. What is
//! taken from there: sampling, the description of this program, the encoding, the transport. The queue is our own, since the
//! library's keeps its thread in a blocking executor, where this transport cannot run, and does not tell how many spans it drops.
//!
//! Nothing here is waited for by a request. A span that finds the queue full is dropped and counted; a batch that the collector
//! does not take is dropped and counted, and the log says once that it began and once that it is over.

mod convert;
mod queue;
mod transport;

use magic_broker::{Span, SpanCounts, SpanSink, TraceId};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use opentelemetry_otlp::{RetryPolicy, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample, SpanExporter as _};
use queue::{Counters, Queue};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Which traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampling {
    /// All.
    Always,
    /// None.
    Never,
    /// So many of all, by the number of the trace, so that all who see it decide alike.
    Ratio(f64),
}

/// Where spans go, and how.
#[derive(Debug, Clone)]
pub struct OtlpOptions {
    /// The collector's URL for traces, `http` or `https`.
    pub endpoint: String,
    /// How long it may take to take a batch.
    pub timeout: Duration,
    /// The certificate authorities that it is believed by, as PEM; the public ones, if none are named.
    pub authorities: Option<String>,
    /// Which traces are recorded.
    pub sampling: Sampling,
    /// Whether a client that says whether it records decides.
    pub follows_parent: bool,
    /// What is said of this program: names and values.
    pub resource: Vec<(String, String)>,
    /// How many spans may wait.
    pub queue: usize,
    /// How many go out at once.
    pub batch: usize,
    /// How long the first of a batch waits for others.
    pub delay: Duration,
}

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OtlpError {
    /// The certificate authorities cannot be read.
    #[error("the certificate authorities cannot be read: {0}")]
    Authorities(String),
    /// The exporter does not take what it is told.
    #[error(transparent)]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// An exporter at work.
#[derive(Debug)]
pub struct Otlp {
    /// Decides about the first span of a trace.
    root: Sampler,
    /// Whether the client decides about the others, or it is asked about them as well.
    follows_parent: bool,
    spans: tokio::sync::mpsc::Sender<Span>,
    counters: Arc<Counters>,
    stopping: CancellationToken,
    working: Mutex<Option<JoinHandle<()>>>,
}

impl Otlp {
    /// Begins to export. Nothing is asked of the collector before there is a span.
    ///
    /// # Errors
    ///
    /// [`OtlpError`] for what the options say; a collector that is not there is none.
    pub fn start(options: OtlpOptions) -> Result<Self, OtlpError> {
        let client = transport::client(options.authorities.as_deref(), options.timeout)?;
        let mut exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(options.endpoint)
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .with_timeout(options.timeout)
            // Later spans are worth more than earlier ones, for which the queue would fill up meanwhile.
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        let attributes = options.resource.into_iter();
        let attributes = attributes.map(|(name, value)| KeyValue::new(name, value));
        let resource = Resource::builder_empty()
            .with_attributes(attributes)
            .build();
        exporter.set_resource(&resource);
        let root = match options.sampling {
            Sampling::Always => Sampler::AlwaysOn,
            Sampling::Never => Sampler::AlwaysOff,
            Sampling::Ratio(ratio) => Sampler::TraceIdRatioBased(ratio),
        };
        let (spans, waiting) = tokio::sync::mpsc::channel(options.queue.max(1));
        let counters = Arc::new(Counters::default());
        let stopping = CancellationToken::new();
        let queue = Queue {
            waiting,
            exporter,
            counters: Arc::clone(&counters),
            batch: options.batch.clamp(1, options.queue.max(1)),
            delay: options.delay,
            stopping: stopping.clone(),
        };
        Ok(Self {
            root,
            follows_parent: options.follows_parent,
            spans,
            counters,
            stopping,
            working: Mutex::new(Some(tokio::spawn(queue.run()))),
        })
    }

    /// Hands over what waits, and ends; what has not been taken in that time is dropped.
    pub async fn stop(&self, patience: Duration) {
        self.stopping.cancel();
        let working = self
            .working
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut working) = working else {
            return;
        };
        if tokio::time::timeout(patience, &mut working).await.is_err() {
            working.abort();
            tracing::warn!("the collector did not take the last spans within {patience:?}");
        }
    }
}

impl SpanSink for Otlp {
    fn samples(&self, trace: TraceId, parent: Option<bool>) -> bool {
        if let Some(sampled) = parent.filter(|_| self.follows_parent) {
            return sampled;
        }
        let trace_id = convert::trace_id(trace);
        let sampled = self
            .root
            .should_sample(None, trace_id, "", &SpanKind::Server, &[], &[]);
        sampled.decision == SamplingDecision::RecordAndSample
    }

    fn take(&self, span: Span) {
        match self.spans.try_send(span) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.counters.queue_full(),
            Err(TrySendError::Closed(_)) => self.counters.not_taken(1),
        }
    }

    fn counts(&self) -> SpanCounts {
        self.counters.read()
    }
}

#[cfg(test)]
mod tests;
