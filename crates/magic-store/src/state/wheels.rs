//! The wheels of third-party packages, under the hash of their bytes, so that
//! every node can have what was deployed on one of them.
//!
//! A wheel may be large, so it is kept in pieces, each written and read in a
//! transaction of its own: none of them takes long, and none holds up the others.
//! It counts as there when all of its pieces are and its bytes had the hash that
//! is its name. What was damaged since is found by whoever reads it, and is put
//! anew by the next deploy.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::bundles::hexadecimal;
use super::transaction::{Access, Transaction, values};
use super::{DeploymentError, State, StateError, time};

/// How many bytes the wheels of one version may have together.
pub const WHEELS_LIMIT: u64 = 1 << 30;

/// How many wheels one version may have.
pub const WHEELS_OF_VERSION: usize = 300;

/// How many bytes a piece has, but for the last.
const PIECE: usize = 4 << 20;

/// How many pieces one step of a sweep deletes.
const SWEEP_BATCH: i64 = 16;

/// One of the wheels that a version's packages are made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionWheel {
    /// Its file name, which tells what it is for.
    pub file: String,
    /// SHA-256 of its bytes, as 64 lower-case hexadecimal digits.
    pub digest: String,
}

/// A wheel cannot be kept or had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WheelError {
    /// The state failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The bytes cannot be read from where they are, or written to where they should go.
    #[error("the wheel's file: {0}")]
    File(#[from] std::io::Error),
    /// What was to be kept has another hash.
    #[error("the wheel {digest} changed while it was read: it hashes to {found}")]
    Changed {
        /// What it was to be.
        digest: String,
        /// What its bytes hash to.
        found: String,
    },
    /// There is none with this digest.
    #[error("there is no wheel {digest}")]
    NoSuchWheel {
        /// What was asked for.
        digest: String,
    },
    /// What is there has another hash.
    #[error(
        "the wheel {digest} is damaged: what is stored hashes to {found}; deploy its version again where its wheels are"
    )]
    Damaged {
        /// What was asked for.
        digest: String,
        /// What the stored bytes hash to.
        found: String,
    },
}

impl State {
    /// Keeps a wheel. One that is there already is not read.
    ///
    /// # Errors
    ///
    /// [`WheelError`]; [`StateError::TooLarge`] past [`WHEELS_LIMIT`].
    pub async fn put_wheel(
        &self,
        digest: &str,
        mut wheel: impl AsyncRead + Unpin,
    ) -> Result<(), WheelError> {
        if self.begin_wheel(digest).await? {
            return Ok(());
        }
        let (mut hash, mut size, mut number) = (Sha256::new(), 0_u64, 0_i64);
        let mut piece = Vec::with_capacity(PIECE);
        loop {
            piece.clear();
            (&mut wheel)
                .take(PIECE as u64)
                .read_to_end(&mut piece)
                .await?;
            if piece.is_empty() {
                break;
            }
            size += piece.len() as u64;
            if size > WHEELS_LIMIT {
                return Err(too_large(size).into());
            }
            hash.update(&piece);
            if !self.put_piece(digest, number, &piece).await? {
                // Somebody else was faster, or it was swept since it began.
                return match self.begin_wheel(digest).await? {
                    true => Ok(()),
                    false => Err(no_such(digest)),
                };
            }
            number += 1;
        }
        let found = hexadecimal(&hash.finalize());
        if found != digest {
            return Err(WheelError::Changed {
                digest: digest.to_owned(),
                found,
            });
        }
        self.finish_wheel(digest, size, number).await
    }

    /// Says that the wheel is about to be used, and whether it is there.
    async fn begin_wheel(&self, digest: &str) -> Result<bool, StateError> {
        // A change, so that no sweep that has looked before takes it away after.
        let mut transaction = self.begin(Access::Change).await?;
        let statement = "INSERT INTO wheels (digest, size, complete, created_at, put_at) VALUES ($1, 0, 0, $2, $2)
             ON CONFLICT (digest) DO UPDATE SET put_at = excluded.put_at RETURNING complete";
        let row = transaction
            .fetch_one("begin a wheel", statement, &values![digest, time::now()])
            .await?;
        let complete: i64 = row
            .ok_or_else(|| StateError::unreadable("whether a wheel is there"))?
            .get(0)?;
        transaction.commit().await?;
        Ok(complete == 1)
    }

    /// Stores a piece, and says whether the wheel was still waiting for it: one
    /// that is complete is not written to.
    async fn put_piece(&self, digest: &str, number: i64, bytes: &[u8]) -> Result<bool, StateError> {
        let mut transaction = self.begin(Access::Write).await?;
        let statement = "UPDATE wheels SET put_at = $2 WHERE digest = $1 AND complete = 0";
        let step = "go on with a wheel";
        let there = transaction
            .execute(step, statement, &values![digest, time::now()])
            .await?;
        if there == 0 {
            transaction.end().await?;
            return Ok(false);
        }
        let statement = "INSERT INTO wheel_pieces (digest, number, bytes) VALUES ($1, $2, $3)
             ON CONFLICT (digest, number) DO UPDATE SET bytes = excluded.bytes";
        transaction
            .execute("store a wheel", statement, &values![digest, number, bytes])
            .await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn finish_wheel(&self, digest: &str, size: u64, pieces: i64) -> Result<(), WheelError> {
        let mut transaction = self.begin(Access::Change).await?;
        // Of one that was cut off while it had other bytes.
        let statement = "DELETE FROM wheel_pieces WHERE digest = $1 AND number >= $2";
        let step = "finish a wheel";
        transaction
            .execute(step, statement, &values![digest, pieces])
            .await?;
        let statement = "UPDATE wheels SET complete = 1, size = $2
              WHERE digest = $1 AND (SELECT count(*) FROM wheel_pieces p WHERE p.digest = $1) = $3";
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let finished = transaction
            .execute(step, statement, &values![digest, size, pieces])
            .await?;
        if finished == 0 {
            return Err(no_such(digest));
        }
        Ok(transaction.commit().await?)
    }

    /// Writes a wheel to `to` and says how many bytes it has. What was written
    /// is worth nothing if this fails.
    ///
    /// # Errors
    ///
    /// [`WheelError`].
    pub async fn read_wheel(
        &self,
        digest: &str,
        mut to: impl AsyncWrite + Unpin,
    ) -> Result<u64, WheelError> {
        let (mut hash, mut size) = (Sha256::new(), 0_u64);
        for number in 0_i64.. {
            let Some(bytes) = self.piece(digest, number).await? else {
                break;
            };
            size += bytes.len() as u64;
            if size > WHEELS_LIMIT {
                return Err(too_large(size).into());
            }
            hash.update(&bytes);
            to.write_all(&bytes).await?;
        }
        to.flush().await?;
        let found = hexadecimal(&hash.finalize());
        if found == digest {
            return Ok(size);
        }
        let mut transaction = self.begin(Access::Write).await?;
        let statement = "UPDATE wheels SET complete = 0 WHERE digest = $1";
        transaction
            .execute("give up a wheel", statement, &values![digest])
            .await?;
        transaction.commit().await?;
        Err(WheelError::Damaged {
            digest: digest.to_owned(),
            found,
        })
    }

    async fn piece(&self, digest: &str, number: i64) -> Result<Option<Vec<u8>>, WheelError> {
        let mut transaction = self.begin(Access::Read).await?;
        let statement = "SELECT p.bytes FROM wheels w LEFT JOIN wheel_pieces p ON p.digest = w.digest AND p.number = $2
              WHERE w.digest = $1 AND w.complete = 1";
        let row = transaction
            .fetch_one("read a wheel", statement, &values![digest, number])
            .await?;
        transaction.end().await?;
        match row {
            Some(row) => Ok(row.get(0)?),
            None => Err(no_such(digest)),
        }
    }

    /// The wheels of a version, by their file names; none for one without packages,
    /// and for one that was deployed before wheels were kept.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn version_wheels(
        &self,
        controller: &str,
        version: &str,
    ) -> Result<Vec<VersionWheel>, StateError> {
        let mut transaction = self.begin(Access::Read).await?;
        let wheels = of_version(&mut transaction, controller, version).await;
        transaction.end().await?;
        wheels
    }

    /// Forgets wheels that no version has and that nobody has put for so long,
    /// a few pieces at a time, and says how many there were. Nothing depends on when.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn sweep_wheels(&self, unused_for: Duration) -> Result<u64, StateError> {
        // A change, so that no version takes a wheel up while it goes.
        let mut transaction = self.begin(Access::Change).await?;
        let before = time::before(unused_for);
        let step = "forget wheels";
        // First it is not there any more, so that whoever wants it puts all of it.
        let statement = "UPDATE wheels SET complete = 0
              WHERE put_at < $1 AND complete = 1
                AND NOT EXISTS (SELECT 1 FROM version_wheels v WHERE v.digest = wheels.digest)";
        transaction
            .execute(step, statement, &values![before])
            .await?;
        let statement = "DELETE FROM wheel_pieces WHERE (digest, number) IN (
               SELECT p.digest, p.number FROM wheel_pieces p JOIN wheels w ON w.digest = p.digest
                WHERE w.put_at < $1 AND w.complete = 0
                  AND NOT EXISTS (SELECT 1 FROM version_wheels v WHERE v.digest = w.digest)
                LIMIT $2)";
        let mut swept = transaction
            .execute(step, statement, &values![before, SWEEP_BATCH])
            .await?;
        let statement = "DELETE FROM wheels
              WHERE put_at < $1 AND complete = 0
                AND NOT EXISTS (SELECT 1 FROM version_wheels v WHERE v.digest = wheels.digest)
                AND NOT EXISTS (SELECT 1 FROM wheel_pieces p WHERE p.digest = wheels.digest)";
        swept += transaction
            .execute(step, statement, &values![before])
            .await?;
        transaction.commit().await?;
        Ok(swept)
    }

    /// The names of all packages that versions have.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn packages_digests(&self) -> Result<Vec<String>, StateError> {
        let mut transaction = self.begin(Access::Read).await?;
        let statement =
            "SELECT DISTINCT packages_digest FROM versions WHERE packages_digest IS NOT NULL";
        let rows = transaction
            .fetch("read what packages there are", statement, &[])
            .await?;
        transaction.end().await?;
        rows.iter().map(|row| row.get(0)).collect()
    }
}

pub(super) async fn of_version(
    transaction: &mut Transaction,
    controller: &str,
    version: &str,
) -> Result<Vec<VersionWheel>, StateError> {
    let statement = "SELECT file, digest FROM version_wheels WHERE controller = $1 AND version = $2 ORDER BY file, digest";
    let rows = transaction
        .fetch(
            "read the wheels of a version",
            statement,
            &values![controller, version],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(VersionWheel {
                file: row.get(0)?,
                digest: row.get(1)?,
            })
        })
        .collect()
}

/// Notes the wheels of a version that has none yet, and says whether it had.
///
/// # Errors
///
/// [`DeploymentError::NoSuchWheel`] for one that was not put, or was swept since.
pub(super) async fn note(
    transaction: &mut Transaction,
    controller: &str,
    version: &str,
    wheels: &[VersionWheel],
) -> Result<bool, DeploymentError> {
    if wheels.is_empty()
        || !of_version(transaction, controller, version)
            .await?
            .is_empty()
    {
        return Ok(false);
    }
    if wheels.len() > WHEELS_OF_VERSION {
        return Err(StateError::TooLarge {
            what: "the list of a version's wheels",
            found: wheels.len(),
            limit: WHEELS_OF_VERSION,
        }
        .into());
    }
    let mut all = 0_u64;
    for wheel in wheels {
        let statement = "SELECT size FROM wheels WHERE digest = $1 AND complete = 1";
        let row = transaction
            .fetch_one(
                "look for a wheel",
                statement,
                &values![wheel.digest.as_str()],
            )
            .await?;
        let missing = || DeploymentError::NoSuchWheel {
            digest: wheel.digest.clone(),
        };
        let size: i64 = row.ok_or_else(missing)?.get(0)?;
        all += u64::try_from(size).unwrap_or(u64::MAX);
        if all > WHEELS_LIMIT {
            return Err(too_large(all).into());
        }
        let statement = "INSERT INTO version_wheels (controller, version, file, digest) VALUES ($1, $2, $3, $4)";
        let values = values![
            controller,
            version,
            wheel.file.as_str(),
            wheel.digest.as_str()
        ];
        transaction
            .execute("note a wheel of a version", statement, &values)
            .await?;
    }
    Ok(true)
}

fn too_large(found: u64) -> StateError {
    StateError::TooLarge {
        what: "the wheels of a version",
        found: usize::try_from(found).unwrap_or(usize::MAX),
        limit: usize::try_from(WHEELS_LIMIT).unwrap_or(usize::MAX),
    }
}

fn no_such(digest: &str) -> WheelError {
    WheelError::NoSuchWheel {
        digest: digest.to_owned(),
    }
}
