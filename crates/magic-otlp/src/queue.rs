//! The spans that wait, and the task that hands them over.

use crate::convert;
use magic_broker::{Span, SpanCounts};
use opentelemetry_sdk::trace::SpanExporter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What became of spans.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    exported: AtomicU64,
    queue_full: AtomicU64,
    not_taken: AtomicU64,
}

impl Counters {
    pub(crate) fn queue_full(&self) {
        self.queue_full.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn not_taken(&self, spans: usize) {
        self.not_taken.fetch_add(spans as u64, Ordering::Relaxed);
    }

    fn exported(&self, spans: usize) {
        self.exported.fetch_add(spans as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> SpanCounts {
        SpanCounts {
            exported: self.exported.load(Ordering::Relaxed),
            queue_full: self.queue_full.load(Ordering::Relaxed),
            not_taken: self.not_taken.load(Ordering::Relaxed),
        }
    }
}

/// What the task works with.
pub(crate) struct Queue<E> {
    pub(crate) waiting: mpsc::Receiver<Span>,
    pub(crate) exporter: E,
    pub(crate) counters: Arc<Counters>,
    /// The most spans of a batch.
    pub(crate) batch: usize,
    /// How long the first of a batch waits for others.
    pub(crate) delay: Duration,
    /// Told when no more spans will come that matter.
    pub(crate) stopping: CancellationToken,
}

impl<E: SpanExporter> Queue<E> {
    /// Hands spans over until it is told to stop and everything is gone.
    pub(crate) async fn run(mut self) {
        let mut taken = true;
        loop {
            let batch = self.next().await;
            if batch.is_empty() {
                return;
            }
            let spans = batch.len();
            let converted = batch.into_iter().map(convert::span).collect();
            match self.exporter.export(converted).await {
                Ok(()) => {
                    self.counters.exported(spans);
                    if !taken {
                        tracing::info!("the collector takes spans again");
                    }
                    taken = true;
                }
                Err(error) => {
                    if taken {
                        tracing::warn!(%error, "the collector does not take spans; they are dropped until it does");
                    }
                    taken = false;
                    self.counters.not_taken(spans);
                }
            }
        }
    }

    /// The next spans; none when it is told to stop and none wait.
    async fn next(&mut self) -> Vec<Span> {
        let mut batch = Vec::new();
        let first = tokio::select! {
            biased;
            () = self.stopping.cancelled() => None,
            first = self.waiting.recv() => first,
        };
        batch.extend(first);
        if !batch.is_empty() {
            let until = tokio::time::sleep(self.delay);
            tokio::pin!(until);
            while batch.len() < self.batch {
                tokio::select! {
                    () = self.stopping.cancelled() => break,
                    () = &mut until => break,
                    more = self.waiting.recv() => match more {
                        Some(span) => batch.push(span),
                        None => break,
                    },
                }
            }
        }
        if self.stopping.is_cancelled() {
            self.waiting.close();
            while batch.len() < self.batch
                && let Ok(span) = self.waiting.try_recv()
            {
                batch.push(span);
            }
        }
        batch
    }
}
