//! Opening what capabilities are performed with, and the log that they are recorded in, as the settings say.
//!
//! With nothing set everything is embedded: SQLite files and a cache in memory, below the data folder. A back end that was named
//! and cannot be used refuses the start, with its reason; one that is lost later fails calls and comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use magic_broker::cache::{Cache, CacheOptions};
use magic_broker::db::{Database, DatabaseOptions};
use magic_broker::http::{Egress, EgressOptions, OwnEndpoints};
use magic_broker::queue::{QueueOptions, Queues};
use magic_broker::secrets::Secrets;
use magic_broker::{Backends, RedisStore};
use magic_runtime::{Services, SpanSink};
use magic_store::state::{State, StateOptions};
use magic_store::{AuditLog, AuditOpenError, AuditOptions};

use crate::settings::Settings;

/// How long a run waits for another run that holds the log of runs, and a server for the one that it takes over from, which has
/// said that it is done.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Opens everything for a server that listens on these addresses, and waits so long for another that still has the audit log.
///
/// # Errors
/// When something cannot be used; the message says what, why, and what to type.
pub(crate) async fn for_server(
    settings: &Settings,
    listeners: Vec<SocketAddr>,
    spans: Option<Arc<dyn SpanSink>>,
    patience: Duration,
) -> anyhow::Result<(Services, State)> {
    let options = AuditOptions::below(&settings.data_dir, &settings.node);
    let audit = open_audit(options, patience).await?;
    let backends = backends(settings, listeners).await?;
    // The audit log of this data folder is locked, so whoever served from it before is gone.
    backends
        .database
        .take_over()
        .await
        .map_err(|failure| anyhow::anyhow!("{failure}"))
        .context("cannot free what an earlier run of this server had claimed in its database")?;
    let state = open_state(settings).await?;
    let services = Services {
        backends,
        audit,
        state: Some(state.clone()),
        node: settings.node.clone(),
        retention: settings.retention.times(),
        spans,
    };
    Ok((services, state))
}

/// Opens everything for one run from the command line, perhaps beside a server: its records go into a log of their own, since a
/// log has one writer.
///
/// # Errors
/// As [`for_server`].
pub(crate) async fn for_run(settings: &Settings) -> anyhow::Result<Services> {
    let options = AuditOptions::below(&settings.data_dir.join("runs"), &settings.node);
    let audit = open_audit(options, PATIENCE).await?;
    Ok(Services {
        backends: backends(settings, Vec::new()).await?,
        audit,
        state: None,
        node: settings.node.clone(),
        retention: settings.retention.times(),
        spans: None,
    })
}

/// Opens the runtime's own state.
///
/// # Errors
/// When it cannot be reached or brought up to date; the message says what to type.
async fn open_state(settings: &Settings) -> anyhow::Result<State> {
    Ok(State::open(state_options(settings)).await?)
}

/// How the runtime's own state is opened.
pub(crate) fn state_options(settings: &Settings) -> StateOptions {
    let defaults = StateOptions::new(settings.store_url.clone());
    StateOptions {
        log_bytes: settings.retention.log_bytes.unwrap_or(defaults.log_bytes),
        ..defaults
    }
}

async fn open_audit(options: AuditOptions, patience: Duration) -> anyhow::Result<AuditLog> {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        let options = options.clone();
        match tokio::task::spawn_blocking(move || AuditLog::open(&options)).await? {
            Err(AuditOpenError::InUse(_)) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            opened => return Ok(opened?),
        }
    }
}

async fn backends(settings: &Settings, listeners: Vec<SocketAddr>) -> anyhow::Result<Backends> {
    let database = DatabaseOptions {
        raw_role: settings.database_raw_role.clone(),
        ..DatabaseOptions::new(settings.database_url.clone(), settings.environment)
    };
    let redis = settings
        .redis_url
        .as_ref()
        .map(|url| RedisStore::connect(url.expose()))
        .transpose()
        .context("REDIS_URL cannot be used")?;
    let (queues, cache) = match &redis {
        Some(redis) => {
            redis.ping().await.context(
                "the Redis of REDIS_URL does not answer; start it, or unset REDIS_URL for the embedded queues",
            )?;
            (
                Queues::redis(redis.clone(), &settings.node, QueueOptions::default()),
                Cache::redis(redis.clone(), CacheOptions::default()),
            )
        }
        None => (
            Queues::open_embedded(&settings.data_dir.join("queue.db"), QueueOptions::default())
                .await
                .context("the embedded queues cannot be opened")?,
            Cache::embedded(CacheOptions::default()),
        ),
    };
    let endpoints = settings
        .database_url
        .endpoint()
        .into_iter()
        .chain(redis.as_ref().and_then(|redis| redis.endpoint()))
        .chain(settings.store_url.endpoint());
    let egress = EgressOptions {
        extra_roots: extra_roots(settings)?,
        own_endpoints: OwnEndpoints {
            listeners,
            endpoints: endpoints.collect(),
        },
        ..EgressOptions::default()
    };
    Ok(Backends {
        database: Database::open(database).await?,
        egress: Arc::new(Egress::new(egress).context("MAGIC_EGRESS_CA cannot be used")?),
        secrets: Secrets::open(settings.secrets_options())?,
        queues,
        cache,
    })
}

pub(crate) fn extra_roots(settings: &Settings) -> anyhow::Result<String> {
    let Some(path) = &settings.egress_ca else {
        return Ok(String::new());
    };
    std::fs::read_to_string(path).with_context(|| {
        format!(
            "cannot read the certificate authorities of {}",
            path.display()
        )
    })
}
