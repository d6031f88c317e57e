//! What a server listens on: sockets that a service manager passes, those of the server that it takes over from, or its own.
//!
//! Sockets of somebody else win over the settings, kind by kind: one that was passed is listened on, and only for a kind of which none was,
//! TCP or unix, one is made as the settings say.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::Context;
use magic_api::{Listener, SocketGroup};

use crate::activation::Passed;
use crate::cli::Refused;
use crate::handover::{Offer, Predecessor};
use crate::output::Output;
use crate::settings::Settings;

/// Where listeners come from.
#[derive(Debug)]
pub(crate) enum Origin {
    /// They are made here.
    Own,
    /// A service manager has passed them, and keeps them.
    Passed(Vec<Passed>),
    /// They are taken from the server that runs, if one does.
    TakenOver,
}

/// Listeners, and what is known of them.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) listeners: Vec<Listener>,
    /// Every TCP address; the first is the one that is announced.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The unix socket.
    pub(crate) socket: PathBuf,
    /// Who has to end before anything in the data folder is opened.
    pub(crate) predecessor: Option<Predecessor>,
    /// Whether a successor can have them.
    transferable: bool,
}

impl Listening {
    /// Begins to listen.
    ///
    /// # Errors
    /// When an address or a path cannot be listened on, or a socket of somebody else is not what it should be.
    pub(crate) async fn begin(
        origin: Origin,
        listen: SocketAddr,
        settings: &Settings,
        output: Output,
    ) -> anyhow::Result<Self> {
        let group = settings.auth.socket_group;
        let transferable = !matches!(origin, Origin::Passed(_));
        let mut predecessor = None;
        let mut listeners = match origin {
            Origin::Own => Vec::new(),
            Origin::Passed(passed) => passed
                .into_iter()
                .map(|passed| inherited(passed, group))
                .collect::<anyhow::Result<_>>()?,
            Origin::TakenOver => match Predecessor::take_over(&settings.socket).await? {
                Some((mut before, sockets)) => {
                    let listeners = handed_over(sockets, &settings.socket, group)?;
                    before
                        .confirm()
                        .await
                        .inspect_err(|_| leave(&listeners))
                        .context("the server that ran before has gone")?;
                    predecessor = Some(before);
                    listeners
                }
                None => {
                    output.talk("there is no server to take over from");
                    Vec::new()
                }
            },
        };
        if let Some(elsewhere) = tcp_of(&listeners).next() {
            if tcp_of(&listeners).all(|address| address != listen) {
                tracing::warn!(address = %elsewhere, settings = %listen, "listening where the given socket does, not where the settings say");
            }
        } else {
            listeners.push(Listener::tcp(listen).await.with_context(|| {
                format!(
                    "is another server running? choose another address with --listen (asked for {listen})"
                )
            })?);
        }
        let given = listeners.iter().find_map(Listener::unix_path);
        let socket = if let Some(path) = given {
            if path != settings.socket {
                tracing::warn!(socket = %path.display(), settings = %settings.socket.display(), "commands look for another socket than was given");
            }
            path.to_owned()
        } else {
            let made = Listener::unix(&settings.socket, group)
                .context("choose another socket with --socket")?;
            listeners.push(made);
            settings.socket.clone()
        };
        Ok(Self {
            addresses: tcp_of(&listeners).collect(),
            listeners,
            socket,
            predecessor,
            transferable,
        })
    }

    /// Offers the listeners to a successor. What a service manager keeps needs no successor, and a server that cannot make the offer serves all
    /// the same.
    pub(crate) fn offer(&self) -> Option<Offer> {
        if !self.transferable {
            return None;
        }
        Offer::open(&self.socket, &self.listeners)
            .inspect_err(|error| {
                tracing::warn!(%error, "no other server can take over from this one without an interruption");
            })
            .ok()
    }
}

fn tcp_of(listeners: &[Listener]) -> impl Iterator<Item = SocketAddr> {
    listeners.iter().filter_map(Listener::tcp_address)
}

fn inherited(passed: Passed, group: Option<SocketGroup>) -> anyhow::Result<Listener> {
    let Passed { name, socket } = passed;
    let listener = Listener::inherited(socket, group)
        .with_context(|| format!("the socket {name} that was passed cannot be served"))
        .context(Refused("the runtime refuses to start"))?;
    tracing::info!(name, address = %listener, "listening on a socket that was passed");
    Ok(listener)
}

fn handed_over(
    sockets: Vec<OwnedFd>,
    path: &Path,
    group: Option<SocketGroup>,
) -> anyhow::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for socket in sockets {
        let listener = Listener::handed_over(socket, path, group)
            .inspect_err(|_| leave(&listeners))
            .context("a socket of the server that ran before cannot be served")?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Leaves the files of sockets to the server that goes on serving them.
fn leave(listeners: &[Listener]) {
    for file in listeners.iter().filter_map(Listener::keeper) {
        file.keep();
    }
}
