//! What is deployed, byte by byte, under the hash of its bytes.
//!
//! The name of a bundle is what it must hash to, so one that was damaged or
//! exchanged in the database is an error and never served, and putting the same
//! bytes again mends it.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::transaction::{Access, values};
use super::{State, StateError, moment, time};

/// How many bytes one bundle may have.
pub const BUNDLE_LIMIT: usize = 64 << 20;

/// How many bundles one sweep deletes.
const SWEEP_BATCH: i64 = 100;

/// A bundle, read and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The bytes that were put.
    pub bytes: Vec<u8>,
    /// When they were put first.
    pub created_at: Timestamp,
}

/// A bundle cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The state failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is none with this digest.
    #[error("there is no bundle {digest}")]
    NoSuchBundle {
        /// What was asked for.
        digest: String,
    },
    /// What is there has another hash.
    #[error("the bundle {digest} is damaged: what is stored hashes to {found}; put it again")]
    Damaged {
        /// What was asked for.
        digest: String,
        /// What the stored bytes hash to.
        found: String,
    },
}

/// The digest of these bytes: SHA-256 as 64 lower-case hexadecimal digits.
#[must_use]
pub fn bundle_digest(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

impl State {
    /// Keeps these bytes and says under which digest. Putting them again changes nothing.
    ///
    /// # Errors
    ///
    /// [`StateError`]; [`StateError::TooLarge`] past [`BUNDLE_LIMIT`].
    pub async fn put_bundle(&self, bytes: &[u8]) -> Result<String, StateError> {
        if bytes.len() > BUNDLE_LIMIT {
            return Err(StateError::TooLarge {
                what: "a bundle",
                found: bytes.len(),
                limit: BUNDLE_LIMIT,
            });
        }
        let digest = bundle_digest(bytes);
        let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        let mut transaction = self.begin(Access::Write).await?;
        // The time of the last put keeps a sweep away from bytes that are about to be deployed.
        let statement = "INSERT INTO bundles (digest, size, created_at, put_at, bytes) VALUES ($1, $2, $3, $3, $4)
             ON CONFLICT (digest) DO UPDATE SET put_at = excluded.put_at";
        let values = values![digest.as_str(), size, time::now(), bytes];
        transaction
            .execute("store a bundle", statement, &values)
            .await?;
        let mend = "UPDATE bundles SET bytes = $2 WHERE digest = $1 AND bytes <> $2";
        transaction
            .execute("mend a bundle", mend, &values![digest.as_str(), bytes])
            .await?;
        transaction.commit().await?;
        Ok(digest)
    }

    /// The bytes with this digest.
    ///
    /// # Errors
    ///
    /// [`BundleError`].
    pub async fn bundle(&self, digest: &str) -> Result<Bundle, BundleError> {
        let mut transaction = self.begin(Access::Read).await?;
        let statement = "SELECT bytes, created_at FROM bundles WHERE digest = $1";
        let row = transaction
            .fetch_one("read a bundle", statement, &values![digest])
            .await?;
        transaction.end().await?;
        let row = row.ok_or_else(|| BundleError::NoSuchBundle {
            digest: digest.to_owned(),
        })?;
        let bytes: Vec<u8> = row.get(0)?;
        let found = bundle_digest(&bytes);
        if found != digest {
            return Err(BundleError::Damaged {
                digest: digest.to_owned(),
                found,
            });
        }
        Ok(Bundle {
            bytes,
            created_at: moment(row.get(1)?)?,
        })
    }

    /// Forgets bundles that no version has and that nobody has put for so long,
    /// at most 100, and says how many there were. Nothing depends on when.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn sweep_bundles(&self, unused_for: Duration) -> Result<u64, StateError> {
        // A change, so that no version takes a bundle up while it goes.
        let mut transaction = self.begin(Access::Change).await?;
        let statement = "DELETE FROM bundles WHERE digest IN (
               SELECT b.digest FROM bundles b
                WHERE b.put_at < $1 AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.digest = b.digest)
                ORDER BY b.put_at LIMIT $2)";
        let values = values![time::before(unused_for), SWEEP_BATCH];
        let swept = transaction
            .execute("forget bundles", statement, &values)
            .await?;
        transaction.commit().await?;
        Ok(swept)
    }
}
