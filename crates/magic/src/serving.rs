//! What `magic dev` and `magic serve` share: a runtime, its listeners, a folder of controllers, and an orderly end.
//!
//! `serve` asks for credentials. `dev` does not, and so refuses every address that another machine could reach. The unix socket admits
//! this user and root, and a group if one is configured.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context;
use magic_api::{ApiOptions, Authentication};
use magic_contract::Environment;
use magic_store::AuditPlaces;
use serde_json::json;

use crate::access;
use crate::cli::{Ended, Refused};
use crate::deployer::Deployer;
use crate::handover::{Offer, Successor};
use crate::listening::{Listening, Origin};
use crate::output::Output;
use crate::policy_watch;
use crate::runtime_start;
use crate::service_manager;
use crate::services;
use crate::settings::{self, Settings};
use crate::signals::{EndSignals, LookAgain, ReloadSignals};
use crate::tracing_export::TracingExport;
use crate::watch::FolderWatch;

/// How long requests in flight may go on after Ctrl-C in development.
const DEVELOPMENT_GRACE: Duration = Duration::from_secs(5);

/// What to serve, and how.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) controllers: PathBuf,
    /// Somebody named that folder, so it has to be there.
    pub(crate) folder_is_named: bool,
    pub(crate) listen: SocketAddr,
    /// Deploy what is saved.
    pub(crate) reload: bool,
    /// Ask callers who they are. A server that does not serves its own machine alone.
    pub(crate) authenticates: bool,
}

impl Serving {
    /// What the arguments say, and the settings where they say nothing.
    pub(crate) fn chosen(
        controllers: Option<PathBuf>,
        listen: Option<&str>,
        reload: bool,
        settings: &Settings,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            folder_is_named: controllers.is_some(),
            controllers: controllers.unwrap_or_else(|| settings.controllers.clone()),
            listen: listen.map_or(Ok(settings.listen), settings::address)?,
            reload,
            // Who redeploys what is saved is an author, at their own machine.
            authenticates: !reload,
        })
    }
}

impl Serving {
    /// Whether there is a folder to deploy from.
    fn has_folder(&self) -> bool {
        self.controllers.is_dir()
    }
}

/// Serves until a signal asks to end.
pub(crate) async fn run(
    serving: Serving,
    origin: Origin,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let output = match settings.environment {
        Environment::Development => output,
        Environment::Production => output.talking_to_the_log(),
    };
    if !serving.authenticates {
        check_loopback(serving.listen)?;
    }
    if serving.reload || serving.folder_is_named {
        check_folder(&serving.controllers)?;
    }
    let mut signals = EndSignals::catch().context("cannot catch signals")?;
    // Only a service: an author's terminal that hangs up ends what runs in it.
    let reloads = serving
        .authenticates
        .then(ReloadSignals::catch)
        .transpose()
        .context("cannot catch signals")?;
    let look_again = LookAgain::default();
    raise_descriptor_limit();

    // A mistake in it would come out only when a server that it takes over from has ended.
    settings.read_policy()?;
    let tracing_export =
        TracingExport::start(settings).context(Refused("the runtime refuses to start"))?;
    let mut listening = Listening::begin(origin, serving.listen, settings, output).await?;
    let addresses = listening.addresses.clone();
    let address = addresses.first().copied().unwrap_or(serving.listen);
    let mut patience = Duration::ZERO;
    if let Some(predecessor) = listening.predecessor.take() {
        patience = services::PATIENCE;
        output.talk("took over; waiting for the server before to answer what it has accepted");
        tokio::select! {
            ended = predecessor.ended() => ended.context("the server before did not end in order")?,
            () = signals.next() => return Ok(Ended::Done),
        }
    }

    let opened = OnceLock::new();
    let starting = runtime_start::start(settings, async {
        let (services, state) =
            services::for_server(settings, addresses, tracing_export.sink(), patience).await?;
        // Set once: this future runs once.
        let _ = opened.set(state);
        Ok(services)
    });
    let runtime = tokio::select! {
        runtime = starting => runtime?,
        () = signals.next() => return Ok(Ended::Done),
    };
    let state = opened.into_inner().context("the state was not opened")?;
    let authentication = if serving.authenticates {
        access::open(settings, &state, output, &look_again)
            .await
            .context(Refused("the runtime refuses to start"))?
    } else {
        Authentication::Open
    };
    // Watching begins before the first look, so that nothing saved in between is missed.
    let watch = serving
        .reload
        .then(|| FolderWatch::start(&serving.controllers))
        .transpose()?;
    let mut deployer = Deployer::new(
        runtime.clone(),
        serving.controllers.clone(),
        address,
        output,
    )
    .for_authors(serving.reload)
    .within(settings.auth.controller_allowlist.clone());
    let deploying = async {
        runtime
            .start_following()
            .await
            .map_err(|failure| anyhow::anyhow!("{failure}"))
            .context("cannot read what is deployed")?;
        if serving.has_folder() {
            deployer.deploy_everything().await?;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        deployed = deploying => deployed?,
        () = signals.next() => {
            runtime.stop().await;
            return Ok(Ended::Done);
        }
    }
    runtime.start_triggers();
    announce(address, &listening.socket, &serving, output)?;
    service_manager::ready(address);
    if let Some(reloads) = reloads {
        tokio::spawn(reloads.pass_on(look_again.clone()));
    }

    let options = settings.http.over(ApiOptions {
        drain_grace: match settings.environment {
            Environment::Development => DEVELOPMENT_GRACE,
            Environment::Production => ApiOptions::default().drain_grace,
        },
        audit_directory: Some(AuditPlaces::below(&settings.data_dir, &settings.node).directory),
        authentication,
        keys: Some(state.api_keys()),
        controller_allowlist: settings.auth.controller_allowlist.clone(),
        allowed_origins: settings.auth.allowed_origins.clone(),
        ..ApiOptions::default()
    });
    let policy = policy_watch::follow(
        settings.policy.clone(),
        runtime.clone(),
        output,
        look_again.policy,
    );
    // Only a service: what an author runs in a terminal ends there.
    let offer = serving.authenticates.then(|| listening.offer()).flatten();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut server = std::pin::pin!(magic_api::serve(
        runtime,
        listening.listeners,
        options,
        async {
            // Ends by the message, or when the sender is gone.
            let _ = stopped.await;
        }
    ));
    let mut successor = None;
    tokio::select! {
        ended = server.as_mut() => ended?,
        () = signals.next() => {}
        taken = hand_over(offer) => successor = Some(taken),
        ended = reload(watch, &mut deployer) => ended?,
        ended = policy => ended?,
    }
    service_manager::stopping();
    output.talk(
        "ending; requests in flight go on until they are answered (a second signal cuts them off)",
    );
    drop(stop);
    tokio::select! {
        ended = server => ended?,
        () = signals.next() => {}
    }
    tracing_export.stop().await;
    // Log and state are closed.
    drop(successor);
    Ok(Ended::Done)
}

/// Waits for a successor, for ever where there cannot be one. Dropping it takes the offer back, so that no copy of a socket
/// keeps clients waiting for a server that ends.
async fn hand_over(offer: Option<Offer>) -> Successor {
    match offer {
        Some(offer) => offer.taken().await,
        None => std::future::pending().await,
    }
}

/// Deploys what changes, for ever.
async fn reload(watch: Option<FolderWatch>, deployer: &mut Deployer) -> anyhow::Result<()> {
    let Some(watch) = watch else {
        return std::future::pending().await;
    };
    loop {
        let changes = watch.next().await;
        deployer.deploy_changes(&changes).await?;
    }
}

/// The last line is what programs and tests wait for.
fn announce(
    address: SocketAddr,
    socket: &Path,
    serving: &Serving,
    output: Output,
) -> anyhow::Result<()> {
    if output.is_json() {
        return output.json(&json!({
            "event": "listening", "address": address, "url": format!("http://{address}"), "socket": socket,
        }));
    }
    output.talk("");
    if serving.authenticates {
        output.talk(
            "Callers need a key or a token; make one with: magic keys create NAME --role execute",
        );
    } else {
        output.talk(
            "WARNING: there is no authentication. Every program on this machine can run these controllers.",
        );
        output.talk("Other machines cannot reach them: only loopback addresses are served.");
    }
    if serving.reload {
        output.talk("Controllers are deployed again when a file is saved. Ctrl-C ends.");
    }
    output.talk(&format!("socket {}", socket.display()));
    output.talk(&format!("listening on http://{address}"));
    Ok(())
}

fn check_loopback(address: SocketAddr) -> anyhow::Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    anyhow::bail!(
        "refusing to listen on {address}: magic dev asks nobody for credentials, so only loopback addresses are allowed; \
         type --listen 127.0.0.1:{}, or use magic serve",
        address.port()
    )
}

fn check_folder(controllers: &Path) -> anyhow::Result<()> {
    if controllers.is_dir() {
        return Ok(());
    }
    anyhow::bail!(
        "there is no folder {}; make a first controller with: magic new controller NAME",
        controllers.display()
    )
}

/// Every connection and every worker takes descriptors, and the usual soft limit of 1,024 was made for select(2). What runs in
/// the sandbox gets limits of its own.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}
