//! What the server listens on: a TCP address, or a unix socket that knows who calls.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener};

use super::socket::Socket;
use crate::request_scope::Source;

/// Why a listener could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The TCP address cannot be listened on.
    #[error("cannot listen on {address}")]
    Tcp {
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The folder that the unix socket should lie in cannot be made.
    #[error("cannot make the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another process answers on the unix socket.
    #[error("another supervisor is listening on {}", path.display())]
    InUse {
        /// The socket's path.
        path: PathBuf,
    },
    /// Something that is not a socket lies where the unix socket should be; it is left alone.
    #[error("{} is in the way and is not a socket", path.display())]
    InTheWay {
        /// The socket's path.
        path: PathBuf,
    },
    /// The unix socket cannot be made.
    #[error("cannot listen on {}", path.display())]
    Unix {
        /// The socket's path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Something to accept connections from.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp {
        listener: TcpListener,
        address: SocketAddr,
    },
    Unix {
        listener: UnixListener,
        path: PathBuf,
        /// The socket file's device and inode, so that only our own file is removed at the end.
        identity: (u64, u64),
    },
}

impl Listener {
    /// Listens on a TCP address; port 0 lets the kernel choose one.
    ///
    /// # Errors
    /// [`BindError::Tcp`].
    pub async fn tcp(address: SocketAddr) -> Result<Self, BindError> {
        let bind = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok(Self(Kind::Tcp { listener, address }))
        };
        bind.await
            .map_err(|source| BindError::Tcp { address, source })
    }

    /// Listens on a unix socket that only this user and root may use. A socket file left behind by a process that is gone is
    /// replaced; the file is removed when the listener is dropped.
    ///
    /// # Errors
    /// When another process answers there, something else is in the way, or the kernel refuses.
    pub fn unix(path: &Path) -> Result<Self, BindError> {
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
                .mode(0o700)
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
        let listener = UnixListener::bind(path).map_err(failed)?;
        // Somebody who connects in between is told apart by credentials all the same.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let identity = identity_of(path).map_err(failed)?;
        Ok(Self(Kind::Unix {
            listener,
            path: path.to_owned(),
            identity,
        }))
    }

    /// The TCP address that is really listened on.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Tcp { address, .. } => Some(*address),
            Kind::Unix { .. } => None,
        }
    }

    /// The next connection, or `None` for a peer that may not talk to us.
    pub(super) async fn accept(&self) -> io::Result<Option<(Socket, Source)>> {
        match &self.0 {
            Kind::Tcp { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                // Answers are small and written at once; waiting for more to send only adds latency. A failure means that the
                // peer is gone already, which serving it will find out.
                let _ = stream.set_nodelay(true);
                Ok(Some((Socket::Tcp(stream), Source::Tcp)))
            }
            Kind::Unix { listener, path, .. } => {
                let (stream, _) = listener.accept().await?;
                let peer = stream.peer_cred()?.uid();
                let own = rustix::process::geteuid().as_raw();
                if peer != 0 && peer != own {
                    tracing::warn!(uid = peer, socket = %path.display(), "refused a caller of another user");
                    return Ok(None);
                }
                Ok(Some((Socket::Unix(stream), Source::Unix)))
            }
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Tcp { address, .. } => write!(formatter, "{address}"),
            Kind::Unix { path, .. } => write!(formatter, "{}", path.display()),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Kind::Unix { path, identity, .. } = &self.0
            && identity_of(path).is_ok_and(|found| found == *identity)
        {
            // Nobody is left to tell; a stale file is replaced by the next start.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn identity_of(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stale socket file is replaced, a living one is respected, another file is left alone.
    #[tokio::test]
    async fn a_stale_socket_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/magic.sock");
        let first = Listener::unix(&path).expect("a free path");
        assert!(matches!(
            Listener::unix(&path),
            Err(BindError::InUse { .. })
        ));
        drop(first);
        assert!(!path.exists());

        // A std listener leaves its file behind, as a killed process does.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a free path"));
        assert!(path.exists());
        let second = Listener::unix(&path).expect("the file is stale");
        let mode = std::fs::metadata(&path).expect("a file").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        drop(second);

        std::fs::write(&path, "mine").expect("a file");
        assert!(matches!(
            Listener::unix(&path),
            Err(BindError::InTheWay { .. })
        ));
        assert_eq!(std::fs::read(&path).expect("it is left alone"), b"mine");
    }

    /// Port 0 becomes the real one.
    #[tokio::test]
    async fn the_real_port_is_known() {
        let listener = Listener::tcp(([127, 0, 0, 1], 0).into())
            .await
            .expect("loopback");
        assert_ne!(listener.tcp_address().expect("it is TCP").port(), 0);
    }
}
