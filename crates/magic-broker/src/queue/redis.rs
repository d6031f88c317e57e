//! Queues in Redis: a stream and a consumer group for each, and leases beside.
//!
//! Every operation is one script, so no crash of a supervisor leaves a message
//! half moved and no two supervisors see each other's halves.
//!
//! The group's own idea of idle time (`XAUTOCLAIM`) is not what decides when a
//! message comes again. It knows one idle time for all, refuses moments in the
//! future (so neither a longer lease nor a delay can be written down), and
//! stalls when the server's clock is set back. A sorted set of leases beside the
//! stream can do all three. The stream stays the truth about what there is, and
//! the group about who has it, so `XLEN`, `XINFO GROUPS` and `XPENDING` show an
//! operator what is going on.
//!
//! All keys of one owner carry the same hash tag, because their backlog is one.

use super::{
    DeadLetter, Delivery, LONGEST_LEASE, Published, QueueError, QueueKey, QueueOptions,
    RECEIVE_BYTES, Received, Return, Returned, Waiters, milliseconds, most_attempts, nonce,
};
use crate::redis_store::{RedisStore, Script};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Where queues are announced that have something new.
const CHANNEL: &str = "magic:queue:ready";

/// How long a waiting consumer goes without looking. Announcements make it
/// faster; none of them is promised to arrive.
const LOOK: Duration = Duration::from_secs(1);

/// How long to wait before listening anew.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);

macro_rules! script {
    ($name:ident, $file:literal) => {
        static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(
                include_str!("redis/prelude.lua"),
                include_str!($file)
            ))
        });
    };
}
script!(PUBLISH, "redis/publish.lua");
script!(RECEIVE, "redis/receive.lua");
script!(ACK, "redis/ack.lua");
script!(EXTEND, "redis/extend.lua");
script!(GIVE_BACK, "redis/give_back.lua");
script!(NEXT, "redis/next.lua");

#[derive(Debug)]
pub(super) struct RedisQueues {
    store: Arc<RedisStore>,
    node: String,
    waiters: Arc<Waiters>,
    /// Begun by the first who waits: a process that only publishes needs none.
    listener: OnceLock<JoinHandle<()>>,
}

/// What the receive script says of one delivery.
type Given = (String, String, String, u32, i64, String, u32);

impl RedisQueues {
    pub(super) fn new(store: Arc<RedisStore>, node: &str) -> Self {
        Self {
            store,
            node: node.to_owned(),
            waiters: Arc::default(),
            listener: OnceLock::new(),
        }
    }

    pub(super) async fn publish(
        &self,
        options: &QueueOptions,
        key: &QueueKey,
        id: &str,
        body: &str,
    ) -> Result<Published, QueueError> {
        let most_messages = options.backlog_messages.to_string();
        let most_bytes = options.backlog_bytes.to_string();
        let arguments = [id, body, &most_messages, &most_bytes, key.as_str()];
        let (what, messages, bytes): (u8, u64, u64) =
            self.store.script(&PUBLISH, &keys(key), &arguments).await?;
        match what {
            0 => Ok(Published::Duplicate),
            1 => Ok(Published::Added),
            _ => Err(QueueError::Full {
                owner: key.owner().to_owned(),
                messages,
                bytes,
            }),
        }
    }

    /// How many messages and bytes wait for the queue's owner.
    pub(super) async fn backlog(&self, key: &QueueKey) -> Result<(u64, u64), QueueError> {
        let backlog = backlog_key(key);
        let (messages, bytes): (Option<i64>, Option<i64>) = self
            .store
            .command("HMGET", &[&backlog, "messages", "bytes"])
            .await?;
        let count = |number: Option<i64>| u64::try_from(number.unwrap_or(0)).unwrap_or(0);
        Ok((count(messages), count(bytes)))
    }

    pub(super) async fn receive(
        &self,
        options: &QueueOptions,
        key: &QueueKey,
        max: u32,
        lease: Duration,
    ) -> Result<Received, QueueError> {
        let arguments = [
            max.to_string(),
            RECEIVE_BYTES.to_string(),
            milliseconds(lease).to_string(),
            attempts(options, key),
            nonce("Redis server")?,
            self.node.clone(),
            milliseconds(LONGEST_LEASE).to_string(),
            milliseconds(options.remember).to_string(),
            key.dead_letters().to_string(),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (given, buried): (Vec<Given>, Vec<String>) =
            self.store.script(&RECEIVE, &keys(key), &arguments).await?;
        let deliveries = given.into_iter().map(read).collect();
        Ok(Received { deliveries, buried })
    }

    pub(super) async fn ack(
        &self,
        options: &QueueOptions,
        key: &QueueKey,
        receipt: &str,
    ) -> Result<bool, QueueError> {
        let remember = milliseconds(options.remember).to_string();
        let done: u8 = self
            .store
            .script(&ACK, &keys(key), &[receipt, &remember])
            .await?;
        Ok(done == 1)
    }

    pub(super) async fn extend(
        &self,
        key: &QueueKey,
        receipt: &str,
        time: Duration,
    ) -> Result<bool, QueueError> {
        let time = milliseconds(time).to_string();
        let done: u8 = self
            .store
            .script(&EXTEND, &keys(key), &[receipt, &time, key.as_str()])
            .await?;
        Ok(done == 1)
    }

    pub(super) async fn give_back(
        &self,
        options: &QueueOptions,
        key: &QueueKey,
        receipt: &str,
        what: Return<'_>,
    ) -> Result<Returned, QueueError> {
        let (delay, reason, at_once) = match what {
            Return::Retry { delay, reason } => {
                (delay.min(LONGEST_LEASE), reason.unwrap_or_default(), "0")
            }
            Return::Bury { reason } => (Duration::ZERO, reason, "1"),
        };
        let dead = key.dead_letters();
        let arguments = [
            receipt,
            &milliseconds(delay).to_string(),
            reason,
            &attempts(options, key),
            at_once,
            &milliseconds(options.remember).to_string(),
            key.as_str(),
            dead.as_str(),
        ];
        let (what, id): (u8, String) = self
            .store
            .script(&GIVE_BACK, &keys(key), &arguments)
            .await?;
        Ok(match what {
            0 => Returned::Unknown,
            1 => Returned::Released,
            _ => Returned::Buried(id),
        })
    }

    pub(super) async fn depth(&self, key: &QueueKey) -> Result<u64, QueueError> {
        let [stream, ..] = keys(key);
        Ok(self.store.command("XLEN", &[&stream]).await?)
    }

    pub(super) async fn wait(&self, key: &QueueKey) -> Result<(), QueueError> {
        self.listen();
        let bell = self.waiters.bell(key.as_str());
        let longest = milliseconds(LONGEST_LEASE).to_string();
        loop {
            // Listen first and look second, so that nothing falls between.
            let mut rings = Box::pin(bell.notified());
            rings.as_mut().enable();
            let next: i64 = self.store.script(&NEXT, &keys(key), &[&longest]).await?;
            let pause = match u64::try_from(next) {
                Ok(0) => return Ok(()),
                Ok(milliseconds) => Duration::from_millis(milliseconds).min(LOOK),
                Err(_) => LOOK,
            };
            tokio::select! {
                () = rings => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Rings for queues as other processes announce them.
    fn listen(&self) {
        self.listener.get_or_init(|| {
            let store = Arc::clone(&self.store);
            let waiters = Arc::clone(&self.waiters);
            tokio::spawn(async move {
                loop {
                    let heard = |queue: Option<&str>| match queue {
                        Some(queue) => waiters.ring(queue),
                        None => waiters.ring_all(),
                    };
                    if let Err(error) = store.listen(CHANNEL, heard).await {
                        tracing::debug!(%error, "not hearing of new messages");
                    }
                    tokio::time::sleep(LISTEN_AGAIN).await;
                }
            })
        });
    }
}

impl Drop for RedisQueues {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.get() {
            listener.abort();
        }
    }
}

/// The keys of one queue, in the order in which the scripts name them.
fn keys(key: &QueueKey) -> [String; 8] {
    let base = |key: &QueueKey| {
        let owner = key.owner();
        let rest = &key.as_str()[owner.len()..];
        format!("magic:queue:{{{owner}}}{rest}")
    };
    let (queue, dead) = (base(key), base(&key.dead_letters()));
    [
        format!("{queue}:stream"),
        format!("{queue}:leases"),
        format!("{queue}:deliveries"),
        format!("{queue}:ids"),
        format!("{queue}:gone"),
        backlog_key(key),
        format!("{dead}:stream"),
        format!("{dead}:ids"),
    ]
}

fn backlog_key(key: &QueueKey) -> String {
    format!("magic:queue:{{{}}}:backlog", key.owner())
}

fn attempts(options: &QueueOptions, key: &QueueKey) -> String {
    most_attempts(options, key).unwrap_or(0).to_string()
}

fn read(given: Given) -> Delivery {
    let (id, receipt, body, attempt, published_at_ms, reason, attempts) = given;
    Delivery {
        id,
        receipt,
        body,
        attempt,
        published_at_ms,
        dead_letter: (!reason.is_empty()).then_some(DeadLetter { reason, attempts }),
    }
}
