//! SIGTERM and SIGINT: the first asks for an orderly end, the second insists. SIGHUP asks a service to look at its files again.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

/// The signals that end the program, caught from the moment this exists.
#[derive(Debug)]
pub(crate) struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl EndSignals {
    /// Catches both signals from now on.
    pub(crate) fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Wakes those who follow files and other places by themselves before their next look. None of them takes what it finds for new
/// unless it is, so that a request too many changes nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct LookAgain {
    pub(crate) policy: Arc<Notify>,
    pub(crate) issuer_keys: Arc<Notify>,
}

/// SIGHUP, caught from the moment this exists.
#[derive(Debug)]
pub(crate) struct ReloadSignals(Signal);

impl ReloadSignals {
    pub(crate) fn catch() -> std::io::Result<Self> {
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// Passes every signal on, for ever.
    pub(crate) async fn pass_on(mut self, followers: LookAgain) {
        while self.0.recv().await.is_some() {
            crate::service_manager::reloading();
            followers.policy.notify_one();
            followers.issuer_keys.notify_one();
            crate::service_manager::reloaded();
        }
    }
}
