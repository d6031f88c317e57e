//! What a scrape sees: families of samples, read from the runtime's state at that moment, and their text.
//!
//! Nothing is registered and nothing is kept up to date between scrapes. Only versions in service are looked at, so the number of
//! series is bounded by what is deployed, and what was deleted is gone.

use crate::deployment::Deployment;
use crate::meters::Distribution;
use crate::runtime::Shared;
use magic_broker::SpanCounts;
use magic_broker::queue::QueueKey;
use magic_contract::{Capability, CapabilityKind, Trigger};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The content type of [`encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How long a back end may take to say how much waits in it.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long its answer is good for: whoever scrapes often must not keep a database busy.
const FRESH: Duration = Duration::from_secs(1);

/// One metric with all its samples.
#[derive(Debug, Clone)]
pub struct Family {
    /// Its name, for a counter without `_total`.
    pub name: String,
    /// What it tells.
    pub help: &'static str,
    /// All of one kind.
    pub samples: Vec<(Labels, Sample)>,
}

/// Names and values of labels; both are from closed sets.
pub type Labels = Vec<(&'static str, String)>;

/// One value.
#[derive(Debug, Clone)]
pub enum Sample {
    /// Only rises.
    Counter(f64),
    /// Is what it is now.
    Gauge(f64),
    /// The sum, and how many values lie in each bucket.
    Histogram(f64, Vec<(f64, u64)>),
}

impl Family {
    /// A family without samples.
    pub fn new(name: impl Into<String>, help: &'static str) -> Self {
        Self {
            name: name.into(),
            help,
            samples: Vec::new(),
        }
    }

    /// With one more sample.
    #[must_use]
    pub fn with(mut self, labels: Labels, sample: Sample) -> Self {
        self.samples.push((labels, sample));
        self
    }
}

#[derive(Debug)]
struct Written(Vec<Family>);

impl Collector for Written {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for family in &self.0 {
            let kind = match family.samples.first() {
                None => continue,
                Some((_, Sample::Counter(_))) => MetricType::Counter,
                Some((_, Sample::Gauge(_))) => MetricType::Gauge,
                Some((_, Sample::Histogram(..))) => MetricType::Histogram,
            };
            let mut written = encoder.encode_descriptor(&family.name, family.help, None, kind)?;
            for (labels, sample) in &family.samples {
                let mut one = written.encode_family(labels)?;
                match sample {
                    Sample::Counter(value) => {
                        one.encode_counter::<NoLabelSet, _, f64>(value, None)?
                    }
                    Sample::Gauge(value) => one.encode_gauge(value)?,
                    Sample::Histogram(sum, buckets) => {
                        let count = buckets.iter().map(|(_, count)| count).sum();
                        one.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The text of these families.
pub fn encode(families: Vec<Family>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Written(families)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)
        .expect("strings take everything");
    text
}

/// What takes a question to a back end, and when it was asked.
#[derive(Debug, Default)]
pub(crate) struct Asked(tokio::sync::Mutex<Option<(Instant, Vec<Family>)>>);

#[expect(clippy::cast_precision_loss, reason = "no count here nears 2^53")]
fn number(value: u64) -> f64 {
    value as f64
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// Everything that the runtime tells.
pub(crate) async fn families(shared: &Shared) -> Vec<Family> {
    let deployments = shared.deployments();
    let mut families = of_versions(&deployments);
    families.extend(of_runtime(shared));
    families.extend(of_back_ends(shared, &deployments).await);
    families.extend(of_controllers(&deployments));
    families
}

fn of(deployment: &Deployment) -> Labels {
    let contract = deployment.contract();
    vec![
        ("controller", contract.name.to_string()),
        ("version", contract.version.to_string()),
    ]
}

fn of_versions(deployments: &[Arc<Deployment>]) -> Vec<Family> {
    let mut requests = Family::new("magic_requests", "Requests by how they ended");
    let mut durations = Family::new(
        "magic_request_duration_seconds",
        "From a request's arrival to its outcome",
    );
    let mut cold = Family::new(
        "magic_cold_starts",
        "Requests for which no worker was ready",
    );
    let mut kills = Family::new(
        "magic_worker_kills",
        "Workers that were ended before they answered, or found dead",
    );
    let mut calls = Family::new(
        "magic_capability_calls",
        "Capability calls by how they ended",
    );
    let mut ready = Family::new("magic_workers_ready", "Workers that wait for a request");
    let mut templates = Family::new(
        "magic_templates",
        "Interpreters that workers are forked from",
    );
    let mut running = Family::new("magic_requests_running", "Requests that run");
    let mut waiting = Family::new(
        "magic_requests_waiting",
        "Requests that wait for a place or a worker",
    );
    for deployment in deployments {
        let labels = of(deployment);
        let and = |name: &'static str, value: &str| {
            let mut labels = labels.clone();
            labels.push((name, value.to_owned()));
            labels
        };
        let meters = &deployment.version.meters;
        for (code, count) in meters.requests() {
            requests = requests.with(and("code", code), Sample::Counter(number(count)));
        }
        for (cause, count) in meters.kills() {
            kills = kills.with(and("cause", cause), Sample::Counter(number(count)));
        }
        for (capability, code, count) in meters.calls() {
            let mut labels = and("capability", capability);
            labels.push(("code", code.to_owned()));
            calls = calls.with(labels, Sample::Counter(number(count)));
        }
        durations = durations.with(labels.clone(), histogram(&meters.duration));
        let started = meters.cold_starts.load(Ordering::Relaxed);
        cold = cold.with(labels.clone(), Sample::Counter(number(started)));
        let stock = deployment.stock.levels();
        ready = ready.with(labels.clone(), Sample::Gauge(number(stock.ready)));
        templates = templates.with(labels.clone(), Sample::Gauge(number(stock.templates)));
        let wait = stock.waiting + u64::from(deployment.admission.waiting());
        waiting = waiting.with(labels.clone(), Sample::Gauge(number(wait)));
        let run = u64::from(deployment.concurrency).saturating_sub(deployment.admission.free());
        running = running.with(labels.clone(), Sample::Gauge(number(run)));
    }
    vec![
        requests, durations, cold, kills, calls, ready, templates, running, waiting,
    ]
}

fn histogram(distribution: &Distribution) -> Sample {
    let (sum, buckets) = distribution.read();
    Sample::Histogram(sum, buckets)
}

fn of_runtime(shared: &Shared) -> Vec<Family> {
    let mut families = Vec::new();
    let mut gauge = |name: &str, help, value| {
        families.push(Family::new(name, help).with(Vec::new(), Sample::Gauge(value)));
    };
    gauge(
        "magic_draining",
        "Whether the runtime is shutting down",
        flag(shared.is_leaving()),
    );
    if let Some(services) = &shared.services {
        gauge(
            "magic_audit_unwritten_records",
            "Audit records that are not on stable storage yet",
            number(services.audit.unwritten()),
        );
        gauge(
            "magic_audit_healthy",
            "Whether the audit log takes records",
            flag(services.audit.is_healthy()),
        );
        gauge(
            "magic_database_sound",
            "Whether commits of the controllers' database can be relied on",
            flag(services.backends.database.is_sound()),
        );
        gauge(
            "magic_queues_sound",
            "Whether the queues can be relied on",
            flag(services.backends.queues.is_sound()),
        );
    }
    if let Some(lifecycle) = &shared.lifecycle {
        let link = *lifecycle.state.link().borrow();
        gauge(
            "magic_state_link_up",
            "Whether changes by other nodes are heard of",
            flag(matches!(link, magic_store::state::Link::Connected { .. })),
        );
        gauge(
            "magic_controllers_troubled",
            "Controllers that are not served as deployed",
            number(lifecycle.unserved().len() as u64),
        );
    }
    let mut layers = Family::new(
        "magic_sandbox_layer",
        "Whether a layer of the sandbox stood fully at the last self-test",
    );
    for layer in shared.tested_layers() {
        let labels = vec![
            ("layer", layer.layer.to_owned()),
            ("wanted", layer.wanted.to_owned()),
        ];
        layers = layers.with(labels, Sample::Gauge(flag(layer.enforced == "full")));
    }
    families.push(layers);
    let services = shared.services.as_ref();
    if let Some(spans) = services.and_then(|services| services.spans.as_ref()) {
        families.extend(of_spans(spans.counts()));
    }
    families
}

/// What became of spans, where traces are recorded.
fn of_spans(counts: SpanCounts) -> [Family; 2] {
    let exported = Sample::Counter(number(counts.exported));
    let mut dropped = Family::new(
        "magic_spans_dropped",
        "Spans that the collector did not get",
    );
    for (reason, count) in [
        ("queue_full", counts.queue_full),
        ("not_taken", counts.not_taken),
    ] {
        let labels = vec![("reason", reason.to_owned())];
        dropped = dropped.with(labels, Sample::Counter(number(count)));
    }
    [
        Family::new("magic_spans_exported", "Spans that the collector took")
            .with(Vec::new(), exported),
        dropped,
    ]
}

/// What lies in back ends. One question at a time, and no oftener than it makes sense; a back end that does not answer in time
/// has no samples.
async fn of_back_ends(shared: &Shared, deployments: &[Arc<Deployment>]) -> Vec<Family> {
    let Some(services) = &shared.services else {
        return Vec::new();
    };
    let mut asked = shared.asked.0.lock().await;
    if let Some((at, families)) = &*asked
        && at.elapsed() < FRESH
    {
        return families.clone();
    }
    let mut outbox = Family::new(
        "magic_outbox_effects",
        "Committed effects that are not delivered yet",
    );
    let waiting = services.backends.database.outbox();
    let depth = tokio::time::timeout(PATIENCE, waiting.depth()).await;
    if let Ok(Ok(depth)) = depth {
        outbox = outbox.with(Vec::new(), Sample::Gauge(number(depth)));
    }
    let mut queues = Family::new(
        "magic_trigger_queue_messages",
        "Messages that wait for a controller",
    );
    let questions = async {
        for deployment in deployments {
            for (queue, key) in triggers(deployment) {
                if let Ok(depth) = services.backends.queues.depth(&key).await {
                    let mut labels = of(deployment);
                    labels.push(("queue", queue));
                    queues.samples.push((labels, Sample::Gauge(number(depth))));
                }
            }
        }
    };
    // Those that were asked in time stay.
    let _ = tokio::time::timeout(PATIENCE, questions).await;
    let families = vec![outbox, queues];
    *asked = Some((Instant::now(), families.clone()));
    families
}

/// The queues that start a version.
fn triggers(deployment: &Deployment) -> Vec<(String, QueueKey)> {
    let contract = deployment.contract();
    let bare = contract
        .capability(CapabilityKind::QueueSubscribe)
        .is_none_or(Capability::is_bare);
    let queues = contract.triggers.iter().filter_map(|trigger| {
        let Trigger::Queue(name) = trigger else {
            return None;
        };
        let key = if bare {
            QueueKey::private(&contract.name, name)
        } else {
            QueueKey::shared(name)
        };
        Some((name.to_string(), key))
    });
    queues.collect()
}

/// The metrics that contracts declare, under the names that they declare. A name may mean a counter here and a histogram there; the
/// text format has one meaning per name, so whoever comes second, in the order of names and histograms first, gets a name with its
/// kind behind it. Names of the runtime's own come first.
fn of_controllers(deployments: &[Arc<Deployment>]) -> Vec<Family> {
    let mut histograms: BTreeMap<&str, Family> = BTreeMap::new();
    let mut counters: BTreeMap<&str, Family> = BTreeMap::new();
    for deployment in deployments {
        for own in deployment.version.meters.own() {
            let (sum, buckets) = own.observed.read();
            if buckets.iter().any(|(_, count)| *count > 0) {
                let family = histograms
                    .entry(&own.name)
                    .or_insert_with(|| Family::new(&*own.name, "Observed by controllers"));
                let sample = Sample::Histogram(sum, buckets);
                family.samples.push((of(deployment), sample));
            }
            if let Some(count) = own.counter() {
                let name = own.name.strip_suffix("_total").unwrap_or(&own.name);
                let family = counters
                    .entry(name)
                    .or_insert_with(|| Family::new(name, "Counted by controllers"));
                family
                    .samples
                    .push((of(deployment), Sample::Counter(count)));
            }
        }
    }
    let mut taken = HashSet::new();
    let histograms = histograms
        .into_values()
        .map(|family| (family, "_histogram"));
    let counters = counters.into_values().map(|family| (family, "_counter"));
    let all = histograms.chain(counters).map(|(mut family, kind)| {
        while family.name.starts_with("magic_") || !free(&taken, &family.name) {
            family.name = format!("controller_{}{kind}", family.name);
        }
        taken.extend(names(&family.name));
        // Two versions that use a name once with `_total` and once without are one family.
        let mut seen = HashSet::new();
        family
            .samples
            .retain(|(labels, _)| seen.insert(labels.clone()));
        family
    });
    all.collect()
}

/// All names that a family may write, whatever its kind.
fn names(name: &str) -> impl Iterator<Item = String> + '_ {
    let endings = [
        "", "_total", "_created", "_bucket", "_sum", "_count", "_info", "_gsum", "_gcount",
    ];
    endings
        .into_iter()
        .map(move |ending| format!("{name}{ending}"))
}

fn free(taken: &HashSet<String>, name: &str) -> bool {
    names(name).all(|name| !taken.contains(&name))
}
