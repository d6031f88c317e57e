//! One request's use of the queues.
//!
//! With `effects: on_success` publishes and acknowledgements wait in the
//! request's list of effects. The request itself sees them as if they had taken
//! place: it receives what it published when the queue has no more to give, and
//! to acknowledge such a message takes the publish back, so that neither
//! happens. With `effects: immediate` both are announced and made at once.
//!
//! What a request receives is leased until its deadline and a visibility timeout
//! beyond, since an acknowledgement that is held comes after the commit. How the
//! request ends decides what becomes of the leases: [`QueueSession::settle`]
//! after a success leaves what was not acknowledged hidden for one visibility
//! timeout more, so that a later request may still acknowledge it;
//! [`QueueSession::abandon`] after a failure gives everything back at once.
//! Dropping a session that did neither abandons it in the background, and where
//! not even that happens, because the process died, the leases end by themselves.

use super::{Delivery, MOST_MESSAGES, QueueKey, Queues};
use crate::call::Call;
use crate::capability::Method;
use crate::effects::{Effect, Held, now_ms};
use crate::problem;
use crate::store::{is_too_deep, too_deep, within};
use magic_contract::{ControllerName, Effects, Failure, QueueName, Target};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How many messages one request may have received and not acknowledged.
const MOST_RECEIVED: usize = 1000;

/// How long giving back may take, all together. The leases do the rest.
const GIVE_BACK: Duration = Duration::from_secs(10);

/// The queues as one request sees them.
#[derive(Debug)]
pub struct QueueSession {
    queues: Queues,
    controller: ControllerName,
    mode: Effects,
    held: Arc<Held>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What was received, by receipt.
    received: HashMap<String, Received>,
    /// What the request published itself and has not acknowledged.
    own: Vec<Own>,
}

#[derive(Debug)]
struct Received {
    queue: QueueKey,
    /// The acknowledgement is held.
    acknowledged: bool,
}

#[derive(Debug)]
struct Own {
    queue: QueueKey,
    id: String,
    published_at_ms: i64,
    /// Set once the request has received it.
    receipt: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishParameters<'a> {
    queue: String,
    #[serde(borrow)]
    message: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReceiveParameters {
    queue: String,
    #[serde(default)]
    max: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AckParameters {
    queue: String,
    receipt: String,
}

#[derive(Serialize)]
struct PublishedReply<'a> {
    id: &'a str,
}

#[derive(Serialize)]
struct Messages {
    messages: Vec<Message>,
}

#[derive(Serialize)]
struct Message {
    id: String,
    receipt: String,
    message: Box<RawValue>,
    attempt: u32,
    /// RFC 3339, in UTC.
    published_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter: Option<DeadLetterReply>,
}

#[derive(Serialize)]
struct DeadLetterReply {
    reason: String,
    attempts: u32,
}

impl QueueSession {
    /// The session of one request. `held` is shared with the request's other
    /// sessions and holds publishes and acknowledgements when `mode` says so.
    #[must_use]
    pub fn new(queues: Queues, controller: ControllerName, mode: Effects, held: Arc<Held>) -> Self {
        Self {
            queues,
            controller,
            mode,
            held,
            state: Mutex::default(),
        }
    }

    /// Performs `queue.publish`, `queue.receive` or `queue.ack`.
    pub(crate) async fn perform(
        &self,
        call: &mut Call<'_>,
        parameters: &str,
    ) -> Result<String, Failure> {
        match call.method {
            Method::QueuePublish => self.publish(call, parameters).await,
            Method::QueueReceive => self.receive(call, parameters).await,
            Method::QueueAck => self.ack(call, parameters).await,
            other => Err(problem::misuse(format!(
                "{} is no method of the queues",
                other.as_str()
            ))),
        }
    }

    /// The request has succeeded and its effects are stored: what it received
    /// and did not acknowledge stays hidden for one visibility timeout.
    pub async fn settle(&self) {
        let received = self.take_received();
        let visibility = self.queues.options().visibility;
        let work = async {
            for (receipt, message) in received {
                if !message.acknowledged {
                    log(self
                        .queues
                        .extend(&message.queue, &receipt, visibility)
                        .await);
                }
            }
        };
        // Beyond this the leases end when they were going to.
        let _ = tokio::time::timeout(GIVE_BACK, work).await;
    }

    /// The request has failed: everything it received is given back at once,
    /// and its held effects are forgotten.
    pub async fn abandon(&self) {
        self.held.abandon();
        give_back(self.queues.clone(), self.take_received()).await;
    }

    async fn publish(&self, call: &mut Call<'_>, parameters: &str) -> Result<String, Failure> {
        let PublishParameters { queue, message } = problem::parameters(call.method, parameters)?;
        let key = self.target(call, &queue)?;
        call.fact("message_count", 1);
        let body = message.get();
        if is_too_deep(body) {
            return Err(too_deep("the message"));
        }
        self.queues.check_length(body.len())?;
        let id = format!("msg_{}", ulid::Ulid::generate());
        match self.mode {
            Effects::Immediate => {
                call.announce().await?;
                within(call.deadline, self.queues.publish(&key, &id, body)).await?;
            }
            Effects::OnSuccess => {
                within(call.deadline, self.queues.check_room(&key, body.len())).await?;
                let mut state = self.lock();
                self.held.hold(Effect::Publish {
                    queue: key.as_str().to_owned(),
                    id: id.clone(),
                    body: body.to_owned(),
                })?;
                state.own.push(Own {
                    queue: key,
                    id: id.clone(),
                    published_at_ms: now_ms(),
                    receipt: None,
                });
            }
        }
        encode(&PublishedReply { id: &id })
    }

    async fn receive(&self, call: &mut Call<'_>, parameters: &str) -> Result<String, Failure> {
        let ReceiveParameters { queue, max } = problem::parameters(call.method, parameters)?;
        let key = self.target(call, &queue)?;
        call.fact("message_count", 0);
        let max = max.unwrap_or(1);
        if !(1..=MOST_MESSAGES).contains(&max) {
            return Err(problem::misuse(format!(
                "`max` of queue.receive is 1 to {MOST_MESSAGES}"
            )));
        }
        let wanted = usize::try_from(max).unwrap_or(usize::MAX);
        if self.lock().received.len() + wanted > MOST_RECEIVED {
            return Err(problem::exhausted(
                "messages",
                format!(
                    "one request may receive {MOST_RECEIVED} messages; leave the rest to the next"
                ),
            ));
        }
        let lease = call.deadline.saturating_duration_since(Instant::now())
            + self.queues.options().visibility;
        let leased = within(
            call.deadline,
            Leased::receive(self.queues.clone(), key.clone(), max, lease),
        )
        .await?;
        let messages = self.accept(&key, leased, wanted).await;
        call.fact("message_count", messages.len());
        encode(&Messages { messages })
    }

    /// Records what was received, sorts out what nobody could read, and fills
    /// up with what the request published itself.
    async fn accept(&self, key: &QueueKey, leased: Leased, wanted: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut unreadable = Vec::new();
        {
            let mut state = self.lock();
            for delivery in leased.keep() {
                let receipt = delivery.receipt.clone();
                match message(delivery) {
                    Some(message) => {
                        let queue = key.clone();
                        let acknowledged = false;
                        let received = Received {
                            queue,
                            acknowledged,
                        };
                        state.received.insert(receipt, received);
                        messages.push(message);
                    }
                    None => unreadable.push(receipt),
                }
            }
            for own in &mut state.own {
                if messages.len() >= wanted {
                    break;
                }
                if own.queue == *key
                    && own.receipt.is_none()
                    && let Some(body) = self.held.body(&own.id)
                {
                    let receipt = format!("held.{}", own.id);
                    own.receipt = Some(receipt.clone());
                    messages.extend(message(Delivery {
                        id: own.id.clone(),
                        receipt,
                        body,
                        attempt: 1,
                        published_at_ms: own.published_at_ms,
                        dead_letter: None,
                    }));
                }
            }
        }
        for receipt in unreadable {
            let reason = "the body is not JSON that a controller can read";
            log(self.queues.bury(key, &receipt, reason).await);
        }
        messages
    }

    async fn ack(&self, call: &mut Call<'_>, parameters: &str) -> Result<String, Failure> {
        let AckParameters { queue, receipt } = problem::parameters(call.method, parameters)?;
        let key = self.target(call, &queue)?;
        if !super::is_token(&receipt, super::LONGEST_ID) {
            return Err(problem::misuse(
                "`receipt` of queue.ack is what queue.receive gave with the message",
            ));
        }
        match self.mode {
            Effects::Immediate => {
                call.announce().await?;
                within(call.deadline, self.queues.ack(&key, &receipt)).await?;
                self.lock().received.remove(&receipt);
            }
            Effects::OnSuccess => self.hold_ack(&key, receipt)?,
        }
        Ok("null".to_owned())
    }

    fn hold_ack(&self, key: &QueueKey, receipt: String) -> Result<(), Failure> {
        let mut state = self.lock();
        let own = state
            .own
            .iter()
            .position(|own| own.queue == *key && own.receipt.as_ref() == Some(&receipt));
        if let Some(position) = own {
            let own = state.own.swap_remove(position);
            self.held.withdraw(&own.id);
            return Ok(());
        }
        if receipt.starts_with("held.") {
            // It was acknowledged before, or by another request, whose message it was.
            return Ok(());
        }
        // A receipt that this request did not receive may be one that an earlier request handed
        // on. Whether it stands for anything is seen when the effect is delivered.
        let effect = Effect::Ack {
            queue: key.as_str().to_owned(),
            receipt: receipt.clone(),
        };
        match state.received.get_mut(&receipt) {
            Some(received) if received.acknowledged || received.queue != *key => Ok(()),
            Some(received) => {
                self.held.hold(effect)?;
                received.acknowledged = true;
                Ok(())
            }
            None => self.held.hold(effect),
        }
    }

    /// The queue that the call's capability means by a name, once it is allowed.
    fn target(&self, call: &mut Call<'_>, name: &str) -> Result<QueueKey, Failure> {
        let name: QueueName = name
            .parse()
            .map_err(|error: magic_contract::NameProblem| problem::misuse(error.to_string()))?;
        let key = if call.capability().is_bare() {
            QueueKey::private(&self.controller, &name)
        } else {
            QueueKey::shared(&name)
        };
        call.fact("queue_name", key.label());
        call.check(&Target::Queue(name.as_str()))?;
        Ok(key)
    }

    fn take_received(&self) -> HashMap<String, Received> {
        std::mem::take(&mut self.lock().received)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for QueueSession {
    /// A request that was cancelled, say because its client has gone.
    fn drop(&mut self) {
        let received = self.take_received();
        if received.is_empty() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(give_back(self.queues.clone(), received));
        }
    }
}

/// Messages that nobody has taken over yet; dropping them gives them back.
struct Leased {
    queues: Queues,
    key: QueueKey,
    deliveries: Vec<Delivery>,
}

impl Leased {
    /// Receives in a task of its own: if the request ends in the middle, what
    /// the store hands out afterwards is given back at once.
    async fn receive(
        queues: Queues,
        key: QueueKey,
        max: u32,
        lease: Duration,
    ) -> Result<Self, Failure> {
        let task = tokio::spawn(async move {
            let deliveries = queues.receive(&key, max, Some(lease)).await?;
            Ok(Self {
                queues,
                key,
                deliveries,
            })
        });
        match task.await {
            Ok(result) => result.map_err(|error: super::QueueError| error.into()),
            Err(error) => Err(problem::backend(
                "the queue did not answer",
                true,
                error.to_string(),
            )),
        }
    }

    fn keep(mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        if self.deliveries.is_empty() {
            return;
        }
        let received = self
            .deliveries
            .drain(..)
            .map(|delivery| {
                let queue = self.key.clone();
                let acknowledged = false;
                let received = Received {
                    queue,
                    acknowledged,
                };
                (delivery.receipt, received)
            })
            .collect();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(give_back(self.queues.clone(), received));
        }
    }
}

/// Releases everything, acknowledged or not: an acknowledgement that was held
/// is not going to happen.
async fn give_back(queues: Queues, received: HashMap<String, Received>) {
    let work = async {
        for (receipt, message) in received {
            log(queues
                .release(&message.queue, &receipt, Duration::ZERO)
                .await);
        }
    };
    // Beyond this the leases end by themselves.
    let _ = tokio::time::timeout(GIVE_BACK, work).await;
}

fn log(result: Result<bool, super::QueueError>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a lease was left to end by itself");
    }
}

/// A delivery as the controller gets it; `None` if its body is not JSON that
/// every interpreter can read.
fn message(delivery: Delivery) -> Option<Message> {
    if is_too_deep(&delivery.body) {
        return None;
    }
    let published_at = jiff::Timestamp::from_millisecond(delivery.published_at_ms)
        .unwrap_or_default()
        .to_string();
    Some(Message {
        id: delivery.id,
        receipt: delivery.receipt,
        message: RawValue::from_string(delivery.body).ok()?,
        attempt: delivery.attempt,
        published_at,
        dead_letter: delivery.dead_letter.map(|dead| DeadLetterReply {
            reason: dead.reason,
            attempts: dead.attempts,
        }),
    })
}

fn encode(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value)
        .map_err(|error| problem::backend("the answer is no JSON", false, error.to_string()))
}

#[cfg(test)]
mod tests;
