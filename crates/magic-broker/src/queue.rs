//! Message queues: at least once, with identities, leases and dead letters.
//!
//! Two back ends keep the same promises. The embedded one is a SQLite file of
//! its own (`queue/embedded`), for one supervisor; Redis (`queue/redis`) serves
//! many. What holds for both:
//!
//! - **At least once.** A published message is handed out until somebody
//!   acknowledges it. It has an identity that its publisher chose, and while it
//!   waits, and for [`QueueOptions::remember`] after it has gone, publishing the
//!   same identity again makes no second message.
//! - **A lease, not a lock.** `receive` hides a message until its lease is
//!   over, by the store's clock, and gives out a *receipt*: an unguessable text
//!   that stands for this one delivery. To acknowledge, to extend and to release
//!   need the receipt and the queue's key, so nobody can end a delivery that was
//!   not theirs, and a consumer that was too slow cannot end the next one's.
//! - **A poison message ends.** After [`QueueOptions::attempts`] deliveries
//!   without an acknowledgement a message moves to the queue's dead letters
//!   (the same name with `.dead`), where it keeps its body and identity and gets
//!   the reason and the count. Dead letters are handed out as often as it takes,
//!   and moved no further.
//! - **A backlog has an end.** Messages and bytes are counted by owner: a shared
//!   queue with its dead letters, or one controller with all its private queues.
//!   A full backlog refuses publishers, so a dead-letter queue that nobody reads
//!   pushes back too; moving a message there never fails and nothing is ever
//!   dropped.
//! - **Order** is the order of arrival where nothing fails, and is not promised:
//!   a message that is delivered again comes later.
//!
//! **Clocks.** The embedded store measures by a clock that starts at the wall
//! clock and then only runs forward, so setting the wall clock changes nothing
//! while the process lives. Redis measures by its server's wall clock. In both a
//! lease is at most [`LONGEST_LEASE`], and one that seems to be longer than that
//! is over: a clock that was set back by a year delays messages by an hour at
//! most. A clock that jumps ahead ends leases early, which delivers twice; that
//! is within at-least-once.

mod embedded;
mod key;
mod redis;
mod session;
mod waiters;

pub use embedded::OpenError;
pub use key::QueueKey;
pub use session::QueueSession;
pub(crate) use waiters::Waiters;

use crate::problem;
use crate::redis_store::RedisStore;
use crate::store::StoreError;
use magic_contract::Failure;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The longest time that a message can be hidden at once.
pub const LONGEST_LEASE: Duration = Duration::from_secs(3600);

/// The most messages that one `receive` gives.
pub(crate) const MOST_MESSAGES: u32 = 100;

/// After this many bytes one `receive` takes no further message, so that an
/// answer fits a frame.
pub(crate) const RECEIVE_BYTES: usize = 1024 * 1024;

/// The longest identity of a message, in bytes.
const LONGEST_ID: usize = 128;

/// The longest reason that a dead letter carries, in bytes.
const LONGEST_REASON: usize = 500;

/// How queues behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueOptions {
    /// How long a received message is hidden if nothing else is said.
    pub visibility: Duration,
    /// How often a message is delivered before it becomes a dead letter.
    pub attempts: u32,
    /// The most messages that wait for one owner.
    pub backlog_messages: u64,
    /// The most bytes that wait for one owner.
    pub backlog_bytes: u64,
    /// The longest body in bytes.
    pub body_bytes: usize,
    /// How long a message's identity is remembered after it has gone.
    pub remember: Duration,
}

impl Default for QueueOptions {
    /// 30 s, 5 attempts, 100,000 messages of 1 GiB together, 256 KiB each, 1 hour.
    fn default() -> Self {
        Self {
            visibility: Duration::from_secs(30),
            attempts: 5,
            backlog_messages: 100_000,
            backlog_bytes: 1024 * 1024 * 1024,
            body_bytes: 256 * 1024,
            remember: Duration::from_secs(3600),
        }
    }
}

/// One message, handed out once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The message's identity.
    pub id: String,
    /// What stands for this delivery.
    pub receipt: String,
    /// The body: JSON text, unless something else than this runtime wrote it.
    pub body: String,
    /// Which delivery of the message it is, from 1.
    pub attempt: u32,
    /// When it was published, in milliseconds since the epoch.
    pub published_at_ms: i64,
    /// Set for a dead letter.
    pub dead_letter: Option<DeadLetter>,
}

/// Why a message is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// What the last consumer said, or `attempts` if none said anything.
    pub reason: String,
    /// How often it was delivered before.
    pub attempts: u32,
}

/// What became of a published message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It waits.
    Added,
    /// A message of this identity waits already, or has gone not long ago.
    Duplicate,
}

/// A queue did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The owner's backlog is full.
    #[error("the backlog of `{owner}` is full: {messages} messages, {bytes} bytes")]
    Full {
        /// Whose backlog.
        owner: String,
        /// How many messages wait.
        messages: u64,
        /// How many bytes wait.
        bytes: u64,
    },
    /// The body is too long.
    #[error("a message of {bytes} bytes is longer than {most}")]
    TooLong {
        /// The body's bytes.
        bytes: usize,
        /// The most bytes.
        most: usize,
    },
    /// The identity is not 1 to 128 printable ASCII characters.
    #[error("a message's identity must be 1 to {LONGEST_ID} printable ASCII characters")]
    Identity,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl QueueError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::TooLong { .. } | Self::Identity => false,
            Self::Store(error) => error.is_retriable(),
        }
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Full {
                owner, messages, ..
            } => problem::exhausted(
                "backlog",
                format!(
                    "{messages} messages wait in `{}` and nothing can be added; receive and \
                     acknowledge them, dead letters (`.dead`) too",
                    owner.strip_prefix("s/").unwrap_or(&owner)
                ),
            ),
            QueueError::TooLong { bytes, most } => problem::exhausted(
                "message_bytes",
                format!(
                    "the message has {bytes} bytes and may have {most}; store the data in a table \
                     and publish its key"
                ),
            ),
            QueueError::Identity => problem::misuse(QueueError::Identity.to_string()),
            QueueError::Store(error) => error.into(),
        }
    }
}

/// What to do with a delivery that was not handled.
#[derive(Debug, Clone, Copy)]
enum Return<'a> {
    /// Hand it out again after a delay; to the dead letters if it was
    /// delivered often enough.
    Retry {
        delay: Duration,
        reason: Option<&'a str>,
    },
    /// To the dead letters at once.
    Bury { reason: &'a str },
}

/// All queues of one store. Clones are the same store.
#[derive(Debug, Clone)]
pub struct Queues {
    store: Store,
    options: Arc<QueueOptions>,
}

#[derive(Debug, Clone)]
enum Store {
    Embedded(Arc<embedded::EmbeddedQueues>),
    Redis(Arc<redis::RedisQueues>),
}

impl Queues {
    /// Opens the embedded store, a SQLite file that is made if there is none,
    /// readable by this user alone. One process at a time should use it.
    ///
    /// # Errors
    ///
    /// [`OpenError`] names the step that failed.
    pub async fn open_embedded(path: &Path, options: QueueOptions) -> Result<Self, OpenError> {
        let store = embedded::EmbeddedQueues::open(path).await?;
        Ok(Self {
            store: Store::Embedded(Arc::new(store)),
            options: Arc::new(options),
        })
    }

    /// Uses Redis, or a server that speaks its protocol. `node` is this
    /// process's name within the consumer group; it should be the same after a
    /// restart, since Redis keeps every name that it has seen.
    #[must_use]
    pub fn redis(store: Arc<RedisStore>, node: &str, options: QueueOptions) -> Self {
        Self {
            store: Store::Redis(Arc::new(redis::RedisQueues::new(store, node))),
            options: Arc::new(options),
        }
    }

    /// Connects to a Redis of its own. A process that has a cache there too
    /// should make one [`RedisStore`] and use [`Queues::redis`].
    ///
    /// # Errors
    ///
    /// The URL is not one of a Redis. A server that does not answer is no error
    /// here; calls say so, and succeed as soon as it does.
    pub fn connect(
        redis_url: &str,
        node: &str,
        options: QueueOptions,
    ) -> Result<Self, crate::RedisUrlError> {
        Ok(Self::redis(RedisStore::connect(redis_url)?, node, options))
    }

    /// How these queues behave.
    #[must_use]
    pub fn options(&self) -> &QueueOptions {
        &self.options
    }

    /// Whether the store can be written. An embedded one whose disk has failed
    /// takes nothing more until the next start; Redis comes back by itself.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        match &self.store {
            Store::Embedded(store) => store.is_sound(),
            Store::Redis(_) => true,
        }
    }

    /// Adds a message. When this returns, it is as durable as the store is:
    /// on disk in the embedded one; in Redis as its `appendfsync` says.
    ///
    /// # Errors
    ///
    /// [`QueueError`]; after a retriable one the same identity may be published
    /// again without making a second message.
    pub async fn publish(
        &self,
        key: &QueueKey,
        id: &str,
        body: &str,
    ) -> Result<Published, QueueError> {
        if !is_token(id, LONGEST_ID) {
            return Err(QueueError::Identity);
        }
        self.check_length(body.len())?;
        match &self.store {
            Store::Embedded(store) => store.publish(&self.options, key, id, body).await,
            Store::Redis(store) => store.publish(&self.options, key, id, body).await,
        }
    }

    /// Says whether a message of that many bytes could be added now.
    ///
    /// # Errors
    ///
    /// The [`QueueError`] that publishing it now would give.
    pub async fn check_room(&self, key: &QueueKey, bytes: usize) -> Result<(), QueueError> {
        self.check_length(bytes)?;
        let (messages, waiting) = match &self.store {
            Store::Embedded(store) => store.backlog(key).await?,
            Store::Redis(store) => store.backlog(key).await?,
        };
        check_backlog(&self.options, key, messages, waiting, bytes)
    }

    /// Takes up to `max` messages (at most 100, and no more once 1 MiB is
    /// reached), hidden from others for `lease`, or for
    /// [`QueueOptions::visibility`]. An empty answer is no error.
    ///
    /// Dropping the future may leave messages hidden until their lease is over.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn receive(
        &self,
        key: &QueueKey,
        max: u32,
        lease: Option<Duration>,
    ) -> Result<Vec<Delivery>, QueueError> {
        let max = max.min(MOST_MESSAGES);
        if max == 0 {
            return Ok(Vec::new());
        }
        let lease = lease
            .unwrap_or(self.options.visibility)
            .clamp(Duration::from_millis(1), LONGEST_LEASE);
        let received = match &self.store {
            Store::Embedded(store) => store.receive(&self.options, key, max, lease).await?,
            Store::Redis(store) => store.receive(&self.options, key, max, lease).await?,
        };
        for id in &received.buried {
            warn_dead(key, id, "attempts");
        }
        Ok(received.deliveries)
    }

    /// Ends a delivery: the message has been handled and is gone. `false` when
    /// the receipt stands for no delivery of this queue (any more).
    ///
    /// # Errors
    ///
    /// The store failed; it may have forgotten the message.
    pub async fn ack(&self, key: &QueueKey, receipt: &str) -> Result<bool, QueueError> {
        if !is_token(receipt, LONGEST_ID) {
            return Ok(false);
        }
        match &self.store {
            Store::Embedded(store) => store.ack(&self.options, key, receipt).await,
            Store::Redis(store) => store.ack(&self.options, key, receipt).await,
        }
    }

    /// Hides the message for `time` from now (at most [`LONGEST_LEASE`]), for a
    /// consumer that needs longer. `false` when the receipt stands for nothing.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn extend(
        &self,
        key: &QueueKey,
        receipt: &str,
        time: Duration,
    ) -> Result<bool, QueueError> {
        if !is_token(receipt, LONGEST_ID) {
            return Ok(false);
        }
        let time = time.min(LONGEST_LEASE);
        match &self.store {
            Store::Embedded(store) => store.extend(key, receipt, time).await,
            Store::Redis(store) => store.extend(key, receipt, time).await,
        }
    }

    /// Gives a message back: it is handed out again after `delay` (at most
    /// [`LONGEST_LEASE`]). The delivery counts as an attempt, so after the last
    /// one this makes it a dead letter. `false` when the receipt stands for nothing.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn release(
        &self,
        key: &QueueKey,
        receipt: &str,
        delay: Duration,
    ) -> Result<bool, QueueError> {
        let reason = None;
        self.give_back(key, receipt, Return::Retry { delay, reason })
            .await
    }

    /// Like [`release`](Self::release), with what went wrong. If the message
    /// becomes a dead letter, it carries the last reason.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn retry(
        &self,
        key: &QueueKey,
        receipt: &str,
        delay: Duration,
        reason: &str,
    ) -> Result<bool, QueueError> {
        let reason = Some(cut(reason));
        self.give_back(key, receipt, Return::Retry { delay, reason })
            .await
    }

    /// Makes a message a dead letter at once, because no further attempt can
    /// succeed. On a dead letter it is a release.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn bury(
        &self,
        key: &QueueKey,
        receipt: &str,
        reason: &str,
    ) -> Result<bool, QueueError> {
        let reason = cut(reason);
        self.give_back(key, receipt, Return::Bury { reason }).await
    }

    /// How many messages the queue has, hidden ones included.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn depth(&self, key: &QueueKey) -> Result<u64, QueueError> {
        match &self.store {
            Store::Embedded(store) => store.depth(key).await,
            Store::Redis(store) => store.depth(key).await,
        }
    }

    /// Ends when there may be a message to receive: one was published or given
    /// back, a lease is over, a delay has passed. Another consumer may be faster.
    ///
    /// # Errors
    ///
    /// The store failed; wait a little and call again.
    pub async fn wait(&self, key: &QueueKey) -> Result<(), QueueError> {
        match &self.store {
            Store::Embedded(store) => store.wait(key).await,
            Store::Redis(store) => store.wait(key).await,
        }
    }

    async fn give_back(
        &self,
        key: &QueueKey,
        receipt: &str,
        what: Return<'_>,
    ) -> Result<bool, QueueError> {
        if !is_token(receipt, LONGEST_ID) {
            return Ok(false);
        }
        let returned = match &self.store {
            Store::Embedded(store) => store.give_back(&self.options, key, receipt, what).await?,
            Store::Redis(store) => store.give_back(&self.options, key, receipt, what).await?,
        };
        if let Returned::Buried(id) = &returned {
            let reason = match what {
                Return::Retry { reason, .. } => reason.unwrap_or("attempts"),
                Return::Bury { reason } => reason,
            };
            warn_dead(key, id, reason);
        }
        Ok(!matches!(returned, Returned::Unknown))
    }

    fn check_length(&self, bytes: usize) -> Result<(), QueueError> {
        let most = self.options.body_bytes;
        if bytes > most {
            return Err(QueueError::TooLong { bytes, most });
        }
        Ok(())
    }
}

/// What `receive` did.
#[derive(Debug, Default)]
struct Received {
    deliveries: Vec<Delivery>,
    /// The identities of messages that became dead letters instead.
    buried: Vec<String>,
}

/// What giving back did.
#[derive(Debug, PartialEq, Eq)]
enum Returned {
    Unknown,
    Released,
    Buried(String),
}

/// Whether one more message of `bytes` fits beside what waits.
fn check_backlog(
    options: &QueueOptions,
    key: &QueueKey,
    messages: u64,
    waiting: u64,
    bytes: usize,
) -> Result<(), QueueError> {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    if messages >= options.backlog_messages || waiting.saturating_add(bytes) > options.backlog_bytes
    {
        return Err(QueueError::Full {
            owner: key.owner().to_owned(),
            messages,
            bytes: waiting,
        });
    }
    Ok(())
}

/// How often a message of this queue is delivered; `None` for as often as it takes.
fn most_attempts(options: &QueueOptions, key: &QueueKey) -> Option<u32> {
    (!key.is_dead_letters()).then_some(options.attempts.max(1))
}

/// Whether a text from outside can be a receipt or an identity at all.
fn is_token(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn cut(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(LONGEST_REASON)]
}

/// 128 random bits as text. Nobody who was not given it can name a delivery.
fn nonce(store: &'static str) -> Result<String, StoreError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Failed {
        store,
        note: format!("no random bytes: {error}"),
    })?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn warn_dead(key: &QueueKey, id: &str, reason: &str) {
    tracing::warn!(
        queue = key.as_str(),
        message_id = id,
        reason,
        "a message became a dead letter"
    );
}

#[cfg(test)]
pub(crate) mod tests;
