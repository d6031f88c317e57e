//! A copy of the state while it is in use.
//!
//! The copy is made of one moment, under another name beside its place, and gets
//! its name when it is complete and on the disk: a file with that name is a whole
//! backup or does not exist.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use sqlx::{ConnectOptions as _, Connection as _};

use super::open::Pools;
use super::sqlite_file::{folder_of, sync_folder};
use super::{State, StateError};

/// The state could not be copied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// PostgreSQL has tools of its own.
    #[error(
        "the runtime's state is in PostgreSQL; copy it with: pg_dump --schema=magic_state --format=custom"
    )]
    Postgres,
    /// The file cannot be written.
    #[error("cannot write the backup {}", path.display())]
    File {
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The state failed.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Removes an unfinished copy, whatever happens.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Not there after it got its name.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl State {
    /// Copies a SQLite file to a new one, which must not exist, and says how many
    /// bytes it has. Others go on reading and writing; it takes as long as it takes.
    ///
    /// # Errors
    ///
    /// [`BackupError`].
    pub async fn backup(&self, path: &Path) -> Result<u64, BackupError> {
        let Pools::Sqlite { writer, .. } = &self.inner.pools else {
            return Err(BackupError::Postgres);
        };
        let failed = |source| BackupError::File {
            path: path.to_owned(),
            source,
        };
        if path.exists() {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!(".{}.unfinished", ulid::Ulid::generate()));
        let unfinished = Unfinished(unfinished.into());
        // Its mode is that of the file that SQLite finds, and an empty one is taken.
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished.0)
            .map_err(failed)?;
        let Some(name) = unfinished.0.to_str() else {
            return Err(failed(io::ErrorKind::InvalidFilename.into()));
        };
        let step = "copy the state";
        // A connection of its own, so that nobody waits for one meanwhile.
        let options = writer.connect_options();
        let mut connection = options
            .connect()
            .await
            .map_err(|error| StateError::of(step, error))?;
        sqlx::query("VACUUM INTO $1")
            .bind(name)
            .execute(&mut connection)
            .await
            .map_err(|error| StateError::of(step, error))?;
        if let Err(error) = connection.close().await {
            tracing::debug!(%error, "the connection of a backup did not close in good order");
        }
        let to = path.to_owned();
        tokio::task::spawn_blocking(move || finish(&unfinished, &to))
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(failed)
    }
}

fn finish(unfinished: &Unfinished, to: &Path) -> io::Result<u64> {
    let file = File::open(&unfinished.0)?;
    file.sync_all()?;
    renameat_with(CWD, &unfinished.0, CWD, to, RenameFlags::NOREPLACE)?;
    sync_folder(folder_of(to))?;
    Ok(file.metadata()?.len())
}
