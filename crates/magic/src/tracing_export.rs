//! The exporter of spans, as the settings say.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use magic_otlp::{Otlp, OtlpOptions};

use crate::settings::Settings;

/// How long the last spans may take at the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// The exporter of a server, if anybody wants spans.
#[derive(Debug, Default)]
pub(crate) struct TracingExport(Option<Arc<Otlp>>);

impl TracingExport {
    /// Begins to export.
    ///
    /// # Errors
    /// When a setting cannot be used. A collector that is not there yet is no reason.
    pub(crate) fn start(settings: &Settings) -> anyhow::Result<Self> {
        let Some(traces) = settings.traces.clone() else {
            return Ok(Self::default());
        };
        let authorities = traces.certificate.map(|path| {
            std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read the authorities of {}", path.display()))
        });
        let said = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        // What comes later wins, so that a deployment's own words do, but for the name that has a variable of its own.
        let mut resource = vec![
            said("service.version", env!("CARGO_PKG_VERSION")),
            said("service.instance.id", &settings.node),
        ];
        resource.extend(traces.attributes);
        resource.push(said("service.name", &traces.service_name));
        let options = OtlpOptions {
            endpoint: traces.endpoint,
            timeout: traces.timeout,
            authorities: authorities.transpose()?,
            sampling: traces.sampling,
            follows_parent: traces.follows_parent,
            resource,
            queue: traces.queue,
            batch: traces.batch,
            delay: traces.delay,
        };
        let started = Otlp::start(options).context("spans cannot be exported")?;
        Ok(Self(Some(Arc::new(started))))
    }

    /// Who takes spans, if anybody does.
    pub(crate) fn sink(&self) -> Option<Arc<dyn magic_broker::SpanSink>> {
        let otlp = self.0.clone()?;
        Some(otlp)
    }

    /// Hands over what waits. After the last request.
    pub(crate) async fn stop(&self) {
        if let Some(otlp) = &self.0 {
            otlp.stop(PATIENCE).await;
        }
    }
}
