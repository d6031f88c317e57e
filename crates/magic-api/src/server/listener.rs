//! What the server listens on: a TCP address, or a unix socket that knows who calls.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener};

use super::socket::Socket;
use super::socket_file::SocketFile;
use crate::auth::role::{Role, Roles};
use crate::request_scope::{Peer, Source};

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

/// A group whose members may use the unix socket, beside root and this process's own user, who are administrators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketGroup {
    /// Its number.
    pub gid: u32,
    /// What its members may do.
    pub role: Role,
}

/// Something to accept connections from.
#[derive(Debug)]
pub struct Listener(pub(super) Kind);

#[derive(Debug)]
pub(super) enum Kind {
    Tcp {
        listener: TcpListener,
        address: SocketAddr,
    },
    Unix {
        listener: UnixListener,
        path: PathBuf,
        /// What others than root and this process's user may do.
        group: Option<SocketGroup>,
        /// Unless somebody else takes care of it.
        file: Option<SocketFile>,
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

    /// Listens on a unix socket that only this user and root may use, and the members of the group if one is given. A socket file
    /// left behind by a process that is gone is replaced; the file is removed when the listener is dropped.
    ///
    /// The kernel tells the user at the other end but only one of their groups, so membership is proved by having been let in:
    /// connecting takes write permission on the file. Therefore the file is made in a folder that nobody else can enter, given its group
    /// and mode there, and only then moved to its place; there is no moment in which others could connect.
    ///
    /// # Errors
    /// When another process answers there, something else is in the way, or the kernel refuses.
    pub fn unix(path: &Path, group: Option<SocketGroup>) -> Result<Self, BindError> {
        let (listener, file) = SocketFile::bind(path, group)?;
        Ok(Self(Kind::Unix {
            listener,
            path: path.to_owned(),
            group,
            file: Some(file),
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
                let (stream, address) = listener.accept().await?;
                // Answers are small and written at once; waiting for more to send only adds latency. A failure means that the
                // peer is gone already, which serving it will find out.
                let _ = stream.set_nodelay(true);
                Ok(Some((Socket::Tcp(stream), Source::Tcp(address))))
            }
            Kind::Unix {
                listener,
                path,
                group,
                ..
            } => {
                let (stream, _) = listener.accept().await?;
                let peer = stream.peer_cred()?.uid();
                let own = rustix::process::geteuid().as_raw();
                match roles_of(peer, own, *group) {
                    Some(roles) => {
                        let source = Source::Unix(Peer::new(peer, roles));
                        Ok(Some((Socket::Unix(stream), source)))
                    }
                    None => {
                        tracing::warn!(uid = peer, socket = %path.display(), "refused a caller of another user");
                        Ok(None)
                    }
                }
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

/// What a local user may do; `None` for one who has no business here.
fn roles_of(uid: u32, own: u32, group: Option<SocketGroup>) -> Option<Roles> {
    if uid == 0 || uid == own {
        return Some(Roles::NONE.and(Role::Admin));
    }
    // Only members can have connected.
    group.map(|group| Roles::NONE.and(group.role))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A stale socket file is replaced, a living one is respected, another file is left alone.
    #[tokio::test]
    async fn a_stale_socket_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/magic.sock");
        let first = Listener::unix(&path, None).expect("a free path");
        assert!(matches!(
            Listener::unix(&path, None),
            Err(BindError::InUse { .. })
        ));
        drop(first);
        assert!(!path.exists());

        // A std listener leaves its file behind, as a killed process does.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a free path"));
        assert!(path.exists());
        let second = Listener::unix(&path, None).expect("the file is stale");
        let mode = std::fs::metadata(&path).expect("a file").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        drop(second);

        std::fs::write(&path, "mine").expect("a file");
        assert!(matches!(
            Listener::unix(&path, None),
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
