//! The file of a unix socket: made so that nobody else can connect too early, and removed by the one who made it.

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::UnixListener;

use super::listener::{BindError, SocketGroup};

/// Our own socket file, removed when this is dropped, unless a successor has it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode, so that only our own file is removed.
    identity: (u64, u64),
    keeper: Keeper,
}

/// Lets the file of a unix socket stay when its listener ends, because another process goes on listening on it.
#[derive(Debug, Clone, Default)]
pub struct Keeper(Arc<AtomicBool>);

impl Keeper {
    /// From now on the file is left alone.
    pub fn keep(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl SocketFile {
    /// Listens at `path`. A socket file left behind by a process that is gone is replaced.
    ///
    /// # Errors
    /// When another process answers there, something else is in the way, or the kernel refuses.
    pub(super) fn bind(
        path: &Path,
        group: Option<SocketGroup>,
    ) -> Result<(UnixListener, Self), BindError> {
        let failed = |source| BindError::Unix {
            path: path.to_owned(),
            source,
        };
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(if group.is_some() { 0o711 } else { 0o700 })
                .create(folder)
                .map_err(|source| BindError::Folder {
                    path: folder.to_owned(),
                    source,
                })?;
        }
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(BindError::InTheWay {
                    path: path.to_owned(),
                });
            }
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
                return Err(BindError::InUse {
                    path: path.to_owned(),
                });
            }
            Ok(_) => std::fs::remove_file(path).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = bind_hidden(path, group).map_err(failed)?;
        let file = Self::found(path).map_err(failed)?;
        Ok((listener, file))
    }

    /// The file that lies there, as ours from now on.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn found(path: &Path) -> io::Result<Self> {
        Ok(Self {
            identity: identity_of(path)?,
            path: path.to_owned(),
            keeper: Keeper::default(),
        })
    }

    pub(super) fn keeper(&self) -> Keeper {
        self.keeper.clone()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.keeper.0.load(Ordering::Acquire)
            && identity_of(&self.path).is_ok_and(|found| found == self.identity)
        {
            // Nobody is left to tell; a stale file is replaced by the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Binds where nobody else can connect yet, and moves the finished socket to its place.
fn bind_hidden(path: &Path, group: Option<SocketGroup>) -> io::Result<UnixListener> {
    let mut hidden = path.as_os_str().to_owned();
    hidden.push(format!(".{}", std::process::id()));
    let hidden = PathBuf::from(hidden);
    // What a killed process of the same number has left.
    let socket = hidden.join("s");
    let _ = std::fs::remove_file(&socket);
    let _ = std::fs::remove_dir(&hidden);
    std::fs::DirBuilder::new().mode(0o700).create(&hidden)?;
    let bound = (|| {
        let listener = UnixListener::bind(&socket)?;
        let mode = match group {
            Some(group) => {
                std::os::unix::fs::chown(&socket, None, Some(group.gid))?;
                0o660
            }
            None => 0o600,
        };
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(mode))?;
        std::fs::rename(&socket, path)?;
        Ok(listener)
    })();
    if bound.is_err() {
        let _ = std::fs::remove_file(&socket);
    }
    let _ = std::fs::remove_dir(&hidden);
    bound
}

fn identity_of(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}
