//! The public keys of whoever issues tokens (JWKS), as they are now.
//!
//! Reading a set is pure and forgiving in one way only: a key that we cannot use is left out, because issuers publish keys for
//! others as well. What is taken is pinned to one algorithm at once, by its type, so that a token never chooses how its key is
//! used. Symmetric keys are never taken: a set is public.
//!
//! The set that holds is replaced as a whole. A token that names a key we do not know may be of a key that is new, so it has the
//! set fetched again, but not more often than every [`PAUSE`]; whoever invents names causes no more than that.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use magic_contract::{JsonLimits, read_json};
use serde_json::Value;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::Instant;

/// The largest set, in bytes, and how many keys of it are looked at.
pub const KEY_SET_LIMIT: usize = 256 * 1024;
const MOST_KEYS: usize = 100;

/// How long after a fetch the next one may begin because of a token.
const PAUSE: Duration = Duration::from_secs(10);

/// How long a token waits for the set that it has caused to be fetched.
const PATIENCE: Duration = Duration::from_secs(5);

/// One key, for one algorithm.
#[derive(Debug, Clone)]
pub(crate) struct IssuerKey {
    pub(crate) id: Option<String>,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

/// The usable keys of one set.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    pub(crate) keys: Vec<IssuerKey>,
}

/// The text is no key set, or has no key that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a usable key set: {0}")]
pub struct BadKeySet(String);

impl KeySet {
    /// Reads a set.
    ///
    /// # Errors
    /// When it is not a set, or there is nothing in it that tokens could be verified with.
    pub fn parse(text: &[u8]) -> Result<Self, BadKeySet> {
        let limits = JsonLimits {
            bytes: KEY_SET_LIMIT,
            depth: 8,
            values: 10_000,
        };
        let set = read_json(text, limits).map_err(|failure| BadKeySet(failure.message))?;
        let Some(keys) = set.get("keys").and_then(Value::as_array) else {
            return Err(BadKeySet("there is no list `keys`".to_owned()));
        };
        let keys: Vec<IssuerKey> = keys.iter().take(MOST_KEYS).filter_map(usable).collect();
        if keys.is_empty() {
            return Err(BadKeySet(
                "there is no key for RS256 (2048 bits or more), ES256 or EdDSA (Ed25519) in it"
                    .to_owned(),
            ));
        }
        Ok(Self { keys })
    }

    /// The keys that a token with this algorithm and key id may be signed with. Without an id there must be only one, since
    /// trying all would let a token search for a key that fits.
    pub(crate) fn candidate(&self, algorithm: Algorithm, id: Option<&str>) -> Option<&IssuerKey> {
        let mut fitting = self.keys.iter().filter(|key| {
            key.algorithm == algorithm && id.is_none_or(|id| key.id.as_deref() == Some(id))
        });
        match (fitting.next(), fitting.next()) {
            (only, None) => only,
            (_, Some(_)) => None,
        }
    }
}

/// The key, if it is one to verify signatures with by an algorithm that we know.
fn usable(key: &Value) -> Option<IssuerKey> {
    let key: Jwk = serde_json::from_value(key.clone()).ok()?;
    let about = &key.common;
    let for_signatures = about
        .public_key_use
        .as_ref()
        .is_none_or(|it| *it == PublicKeyUse::Signature)
        && about
            .key_operations
            .as_ref()
            .is_none_or(|those| those.contains(&KeyOperations::Verify));
    let (algorithm, named) = match &key.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let as_named = about.key_algorithm.is_none_or(|it| it == named);
    if !for_signatures || !as_named {
        return None;
    }
    Some(IssuerKey {
        id: about.key_id.clone(),
        algorithm,
        key: DecodingKey::from_jwk(&key).ok()?,
    })
}

/// Fetches the text of a set; made by whoever knows files and the network.
pub trait KeySetSource: Send + Sync + std::fmt::Debug {
    /// The set's text, at most [`KEY_SET_LIMIT`] bytes of it, or why there is none.
    fn fetch(&self) -> futures_util::future::BoxFuture<'_, Result<Vec<u8>, String>>;
}

/// The set that holds, and how it is replaced. A clone is a handle.
#[derive(Debug, Clone)]
pub struct IssuerKeys {
    current: Arc<watch::Sender<Arc<KeySet>>>,
    source: Arc<dyn KeySetSource>,
    fetched_at: Arc<Mutex<Instant>>,
}

impl IssuerKeys {
    /// Fetches the set for the first time.
    ///
    /// # Errors
    /// When there is none, or none that can be used.
    pub async fn open(source: Arc<dyn KeySetSource>) -> Result<Self, BadKeySet> {
        let text = source.fetch().await.map_err(BadKeySet)?;
        Ok(Self {
            current: Arc::new(watch::Sender::new(Arc::new(KeySet::parse(&text)?))),
            source,
            fetched_at: Arc::new(Mutex::new(Instant::now())),
        })
    }

    /// Fetches it again and again, for ever, and at once when `asked` is notified. A set that cannot be had or used leaves the last one in force.
    pub async fn follow(self, every: Duration, asked: Arc<Notify>) {
        loop {
            // Whether it was the clock or somebody makes no difference.
            let _ = tokio::time::timeout(every, asked.notified()).await;
            let mut fetched_at = self.fetched_at.lock().await;
            self.replace(&mut fetched_at).await;
        }
    }

    pub(crate) fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.current.borrow())
    }

    /// Has the set fetched again, unless that has just been done. One fetch at a time: whoever comes meanwhile waits for it.
    pub(crate) async fn refresh(&self) {
        let refresh = async {
            let mut fetched_at = self.fetched_at.lock().await;
            if fetched_at.elapsed() >= PAUSE {
                self.replace(&mut fetched_at).await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, refresh).await;
    }

    async fn replace(&self, fetched_at: &mut Instant) {
        // A failure counts as well, and so does a fetch that is given up: the source must not be asked in a loop.
        *fetched_at = Instant::now();
        let fetched = self.source.fetch().await;
        match fetched.and_then(|text| KeySet::parse(&text).map_err(|error| error.to_string())) {
            Ok(set) => {
                self.current.send_replace(Arc::new(set));
            }
            Err(error) => {
                tracing::warn!(%error, "the issuer's key set could not be fetched; the last one stays in force");
            }
        }
    }
}
