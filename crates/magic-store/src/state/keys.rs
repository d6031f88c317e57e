//! API keys: who may call, as what, and until when.
//!
//! Looking a key up gives a [`StoredKey`], which holds the hash and never shows
//! it; what it opens is told only to whoever has the secret. Keys are never
//! deleted, so that a record which names one can be understood later.

use std::sync::Arc;

use jiff::Timestamp;
use subtle::ConstantTimeEq as _;

use super::transaction::{Access, Row, Transaction, Value, values};
use super::{State, StateError, moment, time};

mod key_text;
mod rate;

pub use key_text::{KeyText, NotAKey, is_key_id};
pub use rate::KeyRate;

/// How many keys there may be that are not revoked.
const LIMIT: i64 = 10_000;

/// How long a name may be, in bytes.
const NAME_LIMIT: usize = 200;

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What it is for, in its owner's words; at most 200 bytes.
    pub name: String,
    /// What it may do; the words mean something to whoever asks for them.
    pub roles: Vec<String>,
    /// The controllers that it is bound to; `None` means all.
    pub controllers: Option<Vec<String>>,
    /// When it ends; `None` means when it is revoked.
    pub expires_at: Option<Timestamp>,
    /// How often it may be used; `None` means as often as each node's settings say.
    pub rate: Option<KeyRate>,
    /// Who makes it.
    pub created_by: String,
}

/// What anybody may know of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The public name.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub roles: Vec<String>,
    /// The controllers that it is bound to; `None` means all.
    pub controllers: Option<Vec<String>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// How often it may be used; `None` means as often as each node's settings say.
    pub rate: Option<KeyRate>,
    /// When and by whom it was revoked.
    pub revoked: Option<(Timestamp, String)>,
}

/// A key as it is stored: enough to recognize it, not to use it.
#[derive(Clone)]
pub struct StoredKey {
    key: ApiKey,
    secret_sha256: [u8; 32],
}

/// A key does not open anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRefusal {
    /// The name is known, the secret is another.
    #[error("the key is not valid")]
    Wrong,
    /// Its time is over.
    #[error("the key has expired")]
    Expired,
    /// It was taken back.
    #[error("the key was revoked")]
    Revoked,
}

impl StoredKey {
    /// What anybody may know of it.
    #[must_use]
    pub fn key(&self) -> &ApiKey {
        &self.key
    }

    /// Whether this text opens what the key opens, at this time. The secret is
    /// compared first, in the same time whatever differs, and nothing else of the
    /// key is told to whoever does not have it.
    ///
    /// # Errors
    ///
    /// [`KeyRefusal`].
    pub fn admit(&self, text: &KeyText, now: Timestamp) -> Result<&ApiKey, KeyRefusal> {
        let same = self.secret_sha256.ct_eq(&text.secret_sha256());
        if self.key.id != text.id() || !bool::from(same) {
            return Err(KeyRefusal::Wrong);
        }
        if self.key.revoked.is_some() {
            return Err(KeyRefusal::Revoked);
        }
        if self.key.expires_at.is_some_and(|expiry| expiry <= now) {
            return Err(KeyRefusal::Expired);
        }
        Ok(&self.key)
    }
}

impl std::fmt::Debug for StoredKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("StoredKey")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// A call about keys failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The state failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no such key.
    #[error("there is no API key {id}")]
    NoSuchKey {
        /// What was asked for.
        id: String,
    },
    /// The key cannot be made as it is.
    #[error("{0}")]
    Invalid(&'static str),
    /// No random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// The API keys of one state; a handle that is cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiKeys {
    state: State,
}

impl State {
    /// The API keys.
    #[must_use]
    pub fn api_keys(&self) -> ApiKeys {
        ApiKeys {
            state: self.clone(),
        }
    }
}

/// A statement that gives keys as [`stored`] reads them.
macro_rules! select_keys {
    ($which:literal) => {
        concat!(
            "SELECT id, name, secret_sha256, roles, controllers, created_at, created_by, expires_at, revoked_at, revoked_by, rate, burst FROM api_keys",
            $which
        )
    };
}

impl ApiKeys {
    /// Makes a key. The text is shown to its owner now and can never be had again.
    ///
    /// # Errors
    ///
    /// [`KeyError`]; a key that is in [`KeyError::State`] with
    /// [`StateError::Uncertain`] may exist, and is to be revoked.
    pub async fn create(&self, new: NewKey) -> Result<(KeyText, ApiKey), KeyError> {
        check(&new)?;
        let text = KeyText::generate().map_err(KeyError::Random)?;
        let now = time::now();
        let key = ApiKey {
            id: text.id().to_owned(),
            name: new.name,
            roles: new.roles,
            controllers: new.controllers,
            created_at: moment(now)?,
            created_by: new.created_by,
            // To the millisecond, as it is stored.
            expires_at: match new.expires_at {
                Some(expiry) => Some(moment(expiry.as_millisecond())?),
                None => None,
            },
            rate: new.rate,
            revoked: None,
        };
        let mut transaction = self.state.begin(Access::Change).await?;
        let count = "SELECT count(*) FROM api_keys WHERE revoked_at IS NULL";
        let row = transaction.fetch_one("count API keys", count, &[]).await?;
        let count: i64 = row.map_or(Ok(0), |row| row.get(0))?;
        if count >= LIMIT {
            return Err(KeyError::Invalid(
                "there are 10,000 API keys; revoke those that are not used",
            ));
        }
        transaction
            .execute(
                "store an API key",
                "INSERT INTO api_keys (id, name, secret_sha256, roles, controllers, created_at, created_by, expires_at, rate, burst)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                &values![
                    key.id.as_str(),
                    key.name.as_str(),
                    &text.secret_sha256()[..],
                    list(&key.roles),
                    key.controllers.as_deref().map(list),
                    now,
                    key.created_by.as_str(),
                    key.expires_at.map(Timestamp::as_millisecond),
                    key.rate.map(|rate| i64::from(rate.per_second.get())),
                    key.rate.map(|rate| i64::from(rate.burst.get())),
                ],
            )
            .await?;
        self.commit(transaction).await?;
        Ok((text, key))
    }

    /// Every key there ever was, the newest first; never a hash.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn list(&self) -> Result<Vec<ApiKey>, StateError> {
        let all = select_keys!(" ORDER BY created_at DESC, id");
        let stored = self.read(all, &[]).await?;
        Ok(stored.into_iter().map(|stored| stored.key).collect())
    }

    /// Every key that was not revoked, for whoever admits callers and looks again
    /// when [`State::watch`] says that keys have changed. Some may have expired, or
    /// will: [`StoredKey::admit`] tells.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn live_keys(&self) -> Result<Vec<Arc<StoredKey>>, StateError> {
        let live = select_keys!(" WHERE revoked_at IS NULL ORDER BY created_at DESC, id");
        let stored = self.read(live, &[]).await?;
        Ok(stored.into_iter().map(Arc::new).collect())
    }

    /// The key with this public name, revoked ones included.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn find(&self, id: &str) -> Result<Option<StoredKey>, StateError> {
        if !is_key_id(id) {
            return Ok(None);
        }
        let one = select_keys!(" WHERE id = $1");
        Ok(self.read(one, &values![id]).await?.pop())
    }

    /// Takes a key back, and says whether it was still live.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoSuchKey`], or the state fails.
    pub async fn revoke(&self, id: &str, by: &str) -> Result<bool, KeyError> {
        let no_such = || KeyError::NoSuchKey { id: id.to_owned() };
        if !is_key_id(id) {
            return Err(no_such());
        }
        let mut transaction = self.state.begin(Access::Change).await?;
        let found = "SELECT revoked_at FROM api_keys WHERE id = $1";
        let found = transaction
            .fetch_one("look for an API key", found, &values![id])
            .await?;
        let Some(row) = found else {
            transaction.end().await?;
            return Err(no_such());
        };
        if row.get::<Option<i64>>(0)?.is_some() {
            transaction.end().await?;
            return Ok(false);
        }
        transaction
            .execute(
                "revoke an API key",
                "UPDATE api_keys SET revoked_at = $2, revoked_by = $3 WHERE id = $1",
                &values![id, time::now(), by],
            )
            .await?;
        self.commit(transaction).await?;
        Ok(true)
    }

    async fn read(
        &self,
        statement: &'static str,
        values: &[Value],
    ) -> Result<Vec<StoredKey>, StateError> {
        let mut transaction = self.state.begin(Access::Read).await?;
        let rows = transaction
            .fetch("read API keys", statement, values)
            .await?;
        transaction.end().await?;
        rows.iter().map(stored).collect()
    }

    async fn commit(&self, mut transaction: Transaction) -> Result<(), StateError> {
        let step = "count a change of keys";
        let count = "UPDATE revision SET keys = keys + 1 WHERE id = 1";
        transaction.execute(step, count, &[]).await?;
        self.state.commit_and_tell(transaction).await
    }
}

fn check(new: &NewKey) -> Result<(), KeyError> {
    if new.name.trim().is_empty() || new.name.len() > NAME_LIMIT {
        return Err(KeyError::Invalid("a key has a name of 1 to 200 bytes"));
    }
    let texts = [&new.name, &new.created_by]
        .into_iter()
        .chain(&new.roles)
        .chain(new.controllers.iter().flatten());
    if texts
        .into_iter()
        .any(|text| text.chars().any(char::is_control))
    {
        return Err(KeyError::Invalid("a key has no control characters"));
    }
    if new.roles.is_empty() {
        return Err(KeyError::Invalid("a key has at least one role"));
    }
    if new.controllers.as_ref().is_some_and(Vec::is_empty) {
        return Err(KeyError::Invalid(
            "a key is bound to at least one controller, or to none in particular",
        ));
    }
    Ok(())
}

fn list(items: &[String]) -> String {
    serde_json::Value::from(items).to_string()
}

fn stored(row: &Row) -> Result<StoredKey, StateError> {
    let items = |text: &str| {
        serde_json::from_str::<Vec<String>>(text)
            .map_err(|_| StateError::unreadable("a list of an API key"))
    };
    let optional_moment = |time: Option<i64>| time.map(moment).transpose();
    let secret: Vec<u8> = row.get(2)?;
    let revoked_at = optional_moment(row.get(8)?)?;
    let revoked_by: Option<String> = row.get(9)?;
    Ok(StoredKey {
        secret_sha256: secret
            .try_into()
            .map_err(|_| StateError::unreadable("the hash of an API key"))?,
        key: ApiKey {
            id: row.get(0)?,
            name: row.get(1)?,
            roles: items(&row.get::<String>(3)?)?,
            controllers: row
                .get::<Option<String>>(4)?
                .as_deref()
                .map(items)
                .transpose()?,
            created_at: moment(row.get(5)?)?,
            created_by: row.get(6)?,
            expires_at: optional_moment(row.get(7)?)?,
            rate: KeyRate::stored(row.get(10)?, row.get(11)?)?,
            revoked: revoked_at.map(|at| (at, revoked_by.unwrap_or_default())),
        },
    })
}
