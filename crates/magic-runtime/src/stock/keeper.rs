//! The task that keeps one stock filled.

use super::Shared;
use crate::launcher::Launcher;
use crate::load_failure;
use crate::template::{LaunchError, Template};
use crate::version::Version;
use crate::worker::{PrepareError, Worker};
use futures_util::stream::{FuturesUnordered, StreamExt};
use magic_contract::Isolation;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// Workers that are being prepared at once. A template forks one at a time, so
/// more only deepens the queue in front of it.
const PREPARING: usize = 4;
/// The first pause after a template that did not live; doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// How often age and idleness are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A suspicious template is replaced at most so often.
const ROTATE_EVERY: Duration = Duration::from_millis(500);

type Preparing = Pin<Box<dyn Future<Output = Prepared> + Send>>;

enum Prepared {
    Worker(Result<Worker, PrepareError>),
    /// A fresh interpreter, served once.
    Pristine(Result<Worker, PristineError>),
}

enum PristineError {
    Launch(LaunchError),
    Prepare(PrepareError),
}

pub(super) struct Keeper {
    launcher: Arc<Launcher>,
    version: Arc<Version>,
    shared: Arc<Shared>,
    template: Option<Arc<Template>>,
    preparing: FuturesUnordered<Preparing>,
    /// What this version is served with: the contract's wish, or `pristine`
    /// once a template turned out not to be forkable.
    isolation: Isolation,
    pause: Duration,
    not_before: Instant,
    rotated: Instant,
    /// When the template's group was last looked into.
    inspected: Instant,
}

impl Keeper {
    /// A keeper that may begin with a template that is loaded already.
    pub(super) fn new(
        launcher: Arc<Launcher>,
        version: Arc<Version>,
        shared: Arc<Shared>,
        template: Option<Arc<Template>>,
    ) -> Self {
        let now = Instant::now();
        let template = template.filter(|template| {
            version.isolation == Isolation::Request && template.unforkable.is_none()
        });
        Self {
            isolation: version.isolation,
            launcher,
            version,
            shared,
            template,
            preparing: FuturesUnordered::new(),
            pause: FIRST_PAUSE,
            not_before: now,
            rotated: now,
            inspected: now,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let (wanted, closed) = self.demand();
            if closed {
                return;
            }
            if self.inspection_is_due() {
                // Only when nobody is between fork and attachment can a
                // stranger be told from a worker; so nobody is ordered now.
                if self.preparing.is_empty() {
                    self.inspect().await;
                    continue;
                }
            } else if wanted > 0 && Instant::now() >= self.not_before {
                self.fill(wanted).await;
            }
            let has_template = self.template.is_some();
            self.shared
                .has_template
                .store(has_template, Ordering::Relaxed);
            let shared = self.shared.clone();
            let next_look = self.until_next_look(wanted);
            // Without any process and without demand there is nothing to look after, and a thousand
            // versions that nobody asks for are a thousand tasks that sleep.
            let looks = wanted > 0
                || self.template.is_some()
                || !self.preparing.is_empty()
                || !self.shared.lock().ready.is_empty();
            tokio::select! {
                Some(prepared) = self.preparing.next(), if !self.preparing.is_empty() => self.settle(prepared),
                () = shared.wake.notified() => {}
                () = tokio::time::sleep(next_look), if looks => {}
            }
            self.look_after_template();
        }
    }

    fn inspection_is_due(&self) -> bool {
        self.template.is_some() && self.inspected.elapsed() > LOOK_EVERY
    }

    /// Kills a template whose group holds processes that nobody ordered.
    async fn inspect(&mut self) {
        self.inspected = Instant::now();
        let Some(template) = self.template.clone() else {
            return;
        };
        let looked_at = template.clone();
        let alone = tokio::task::spawn_blocking(move || {
            looked_at.rest_if_idle();
            looked_at.is_alone()
        })
        .await
        .unwrap_or(true);
        if !alone && !template.has_ended() {
            tracing::error!(
                controller = %self.version.contract.name,
                "the template's group holds processes that nobody ordered; it is killed"
            );
            template.kill();
            self.let_go();
        }
    }

    /// How many workers to start now.
    fn demand(&self) -> (usize, bool) {
        let mut state = self.shared.lock();
        // Who has gone away is forgotten here: where no worker ever becomes
        // ready, nobody else would.
        state.waiting.retain(|waiter| !waiter.is_closed());
        let stock = if state.is_idle(self.launcher.limits.idle_template) {
            0
        } else {
            self.launcher.limits.stock as usize
        };
        let wanted =
            (state.waiting.len() + stock).saturating_sub(state.ready.len() + self.preparing.len());
        (
            wanted.min(PREPARING.saturating_sub(self.preparing.len())),
            state.closed,
        )
    }

    fn until_next_look(&self, wanted: usize) -> Duration {
        let pause = self.not_before.saturating_duration_since(Instant::now());
        if wanted > 0 && !pause.is_zero() {
            pause
        } else {
            LOOK_EVERY
        }
    }

    async fn fill(&mut self, wanted: usize) {
        if self.isolation == Isolation::Pristine {
            for _ in 0..wanted {
                let (launcher, version, shared) = (
                    self.launcher.clone(),
                    self.version.clone(),
                    self.shared.clone(),
                );
                self.prepare(async move {
                    Prepared::Pristine(pristine(&launcher, &version, &shared).await)
                });
            }
            return;
        }
        let Some(template) = self.template().await else {
            return;
        };
        if template.rests() {
            let resting = template.clone();
            // A template that stays slow is slow, not wrong.
            let _ = tokio::task::spawn_blocking(move || resting.rise()).await;
        }
        for _ in 0..wanted {
            let (launcher, version, template, shared) = (
                self.launcher.clone(),
                self.version.clone(),
                template.clone(),
                self.shared.clone(),
            );
            self.prepare(async move {
                let awaited = || shared.is_awaited();
                Prepared::Worker(
                    Worker::prepare(&launcher, &template, &version, true, awaited).await,
                )
            });
        }
    }

    /// Prepares in a task of its own. When the keeper ends in the middle, the
    /// task does not: what it has started so far, a process and a group that
    /// nobody else knows of, becomes a worker, and dropping that takes it back.
    fn prepare(&mut self, preparing: impl Future<Output = Prepared> + Send + 'static) {
        let task = tokio::spawn(preparing);
        self.preparing.push(Box::pin(async move {
            match task.await {
                Ok(prepared) => prepared,
                // Nobody aborts it.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }));
    }

    /// The template to fork from, started if there is none.
    async fn template(&mut self) -> Option<Arc<Template>> {
        if let Some(template) = &self.template {
            return Some(template.clone());
        }
        match Template::launch(&self.launcher, &self.version).await {
            Ok(template) => {
                if let Some(why) = &template.unforkable {
                    tracing::warn!(controller = %self.version.contract.name, why, "served by a fresh interpreter per request");
                    self.isolation = Isolation::Pristine;
                    self.shared.wake.notify_one();
                    return None;
                }
                self.template = Some(template.clone());
                Some(template)
            }
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    fn settle(&mut self, prepared: Prepared) {
        match prepared {
            Prepared::Worker(Ok(worker)) | Prepared::Pristine(Ok(worker)) => {
                self.pause = FIRST_PAUSE;
                self.shared.supply(worker);
            }
            Prepared::Pristine(Err(PristineError::Launch(error))) => self.failed(&error),
            Prepared::Worker(Err(error))
            | Prepared::Pristine(Err(PristineError::Prepare(error))) => {
                tracing::warn!(controller = %self.version.contract.name, %error, "a worker did not become ready");
                self.template = None;
                self.back_off();
            }
        }
    }

    fn failed(&mut self, error: &LaunchError) {
        tracing::warn!(controller = %self.version.contract.name, %error, "a template did not start");
        self.shared.disappoint(&load_failure::at_request(error));
        self.back_off();
    }

    /// Several workers that fail together are one incident.
    fn back_off(&mut self) {
        if Instant::now() < self.not_before {
            return;
        }
        self.not_before = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LAST_PAUSE);
    }

    /// Lets go of a template that ended, is old, bred a crash
    /// or serves nobody. Workers keep it alive as long as they need it.
    fn look_after_template(&mut self) {
        let Some(template) = self.template.clone() else {
            self.let_go_of_fresh_interpreters();
            return;
        };
        let (suspicious, idle) = {
            let mut state = self.shared.lock();
            let due = self.rotated.elapsed() > ROTATE_EVERY;
            let suspicious = state.suspicious && due;
            if suspicious {
                state.suspicious = false;
            }
            (
                suspicious,
                state.is_idle(self.launcher.limits.idle_template),
            )
        };
        let old = template.started.elapsed() > self.launcher.limits.template_age;
        if template.has_ended() || suspicious || idle || old {
            self.let_go();
        }
    }

    /// Lets go of workers that have no template, once nobody has asked for so long.
    fn let_go_of_fresh_interpreters(&self) {
        let mut state = self.shared.lock();
        let idle = state.is_idle(self.launcher.limits.idle_template);
        let stale = idle.then(|| std::mem::take(&mut state.ready));
        // To end a process takes longer than the lock may be held.
        drop(state);
        drop(stale);
    }

    /// Forgets the template and the workers that wait; those that serve keep it
    /// alive until they are done.
    fn let_go(&mut self) {
        self.rotated = Instant::now();
        self.template = None;
        let stale = std::mem::take(&mut self.shared.lock().ready);
        drop(stale);
    }
}

async fn pristine(
    launcher: &Arc<Launcher>,
    version: &Version,
    shared: &Shared,
) -> Result<Worker, PristineError> {
    let template = Template::launch(launcher, version)
        .await
        .map_err(PristineError::Launch)?;
    Worker::prepare(launcher, &template, version, false, || shared.is_awaited())
        .await
        .map_err(PristineError::Prepare)
}
