//! What the service manager is told: ready, reloading, stopping, alive.
//!
//! systemd names a socket in `NOTIFY_SOCKET` and, with `WatchdogSec=`, a time in `WATCHDOG_USEC`. Where nobody does, all of this does
//! nothing. What cannot be told is logged and changes nothing: the requests are more important than who watches over them.

use std::net::SocketAddr;
use std::time::Duration;

use sd_notify::NotifyState;

/// Says that requests are served, and from then on that the program is alive. The watchdog is fed by a task of the same runtime that
/// answers requests, so that it starves when that runtime is stuck.
pub(crate) fn ready(address: SocketAddr) {
    tell(&[
        NotifyState::Ready,
        NotifyState::Status(&format!("serving on http://{address}")),
    ]);
    if let Some(limit) = sd_notify::watchdog_enabled() {
        tokio::spawn(feed(limit / 3));
    }
}

/// Says that settings are looked at again.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "there is no monotonic clock"),
    }
}

/// Says that the reload is over.
pub(crate) fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// Says that the end has begun.
pub(crate) fn stopping() {
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("requests in flight go on until they are answered"),
    ]);
}

async fn feed(every: Duration) {
    loop {
        tell(&[NotifyState::Watchdog]);
        tokio::time::sleep(every).await;
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
