//! Listeners that come from another process: from a service manager that keeps them over restarts, or from a server that this one
//! takes over from. What is in their backlog waits there for whoever accepts next, so nobody is refused between the two.
//!
//! Such a descriptor is judged before it is used. A socket of another kind, or one that nobody listens on, would fail at the first
//! connection, long after the start was called a success.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::net::{TcpListener, UnixListener};

use super::listener::{Kind, Listener, SocketGroup};
use super::socket_file::{Keeper, SocketFile};

/// Why a descriptor of another process cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InheritError {
    /// It is no socket, or the kernel does not say what it is.
    #[error("the descriptor is not a socket")]
    NoSocket(#[source] io::Error),
    /// It is a socket of a kind that is not served.
    #[error("the descriptor is neither a TCP nor a unix stream socket")]
    Kind,
    /// It is connected, or was never made to listen.
    #[error("nobody listens on the socket {0}; it must be a listening one")]
    NotListening(String),
    /// A unix socket without a name in the file system, which nobody could find.
    #[error("the unix socket has no path")]
    NoPath,
    /// Others than the members of the configured group can connect, and would be taken for members.
    #[error(
        "{} lets in others than the group of `socket_group`: give it that group (SocketGroup=) and the mode 0660 (SocketMode=)",
        .0.display()
    )]
    OpenToOthers(PathBuf),
    /// The kernel refuses something else.
    #[error("the socket {name} cannot be used")]
    Unusable {
        /// Which one.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Listener {
    /// Listens on a socket that another process has made and goes on to take care of: its file is left alone at the end.
    ///
    /// # Errors
    /// [`InheritError`], for everything but a listening TCP or unix stream socket.
    pub fn inherited(socket: OwnedFd, group: Option<SocketGroup>) -> Result<Self, InheritError> {
        Self::judged(socket, group, None)
    }

    /// Listens on a socket that another process has handed over for good. A unix socket lies at `path`, whatever it was called when it
    /// was made, and its file is removed at the end.
    ///
    /// # Errors
    /// As [`Listener::inherited`].
    pub fn handed_over(
        socket: OwnedFd,
        path: &Path,
        group: Option<SocketGroup>,
    ) -> Result<Self, InheritError> {
        Self::judged(socket, group, Some(path))
    }

    fn judged(
        socket: OwnedFd,
        group: Option<SocketGroup>,
        own_file: Option<&Path>,
    ) -> Result<Self, InheritError> {
        let no_socket = |errno: rustix::io::Errno| InheritError::NoSocket(errno.into());
        let family = sockopt::socket_domain(&socket).map_err(no_socket)?;
        if sockopt::socket_type(&socket).map_err(no_socket)? != SocketType::STREAM {
            return Err(InheritError::Kind);
        }
        if family == AddressFamily::INET || family == AddressFamily::INET6 {
            let listener = std::net::TcpListener::from(socket);
            let address = listener.local_addr().map_err(InheritError::NoSocket)?;
            let name = address.to_string();
            check_listening(&listener, &name)?;
            tcp(listener, address).map_err(|source| InheritError::Unusable { name, source })
        } else if family == AddressFamily::UNIX {
            let listener = std::os::unix::net::UnixListener::from(socket);
            let address = listener.local_addr().map_err(InheritError::NoSocket)?;
            let path = own_file
                .or(address.as_pathname())
                .ok_or(InheritError::NoPath)?;
            let name = path.display().to_string();
            check_listening(&listener, &name)?;
            unix(listener, path, group, own_file.is_some())
        } else {
            Err(InheritError::Kind)
        }
    }

    /// The path of a unix socket.
    #[must_use]
    pub fn unix_path(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Tcp { .. } => None,
            Kind::Unix { path, .. } => Some(path),
        }
    }

    /// What keeps the file of a unix socket that this process has made.
    #[must_use]
    pub fn keeper(&self) -> Option<Keeper> {
        match &self.0 {
            Kind::Unix {
                file: Some(file), ..
            } => Some(file.keeper()),
            Kind::Unix { file: None, .. } | Kind::Tcp { .. } => None,
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Kind::Tcp { listener, .. } => listener.as_fd(),
            Kind::Unix { listener, .. } => listener.as_fd(),
        }
    }
}

fn check_listening(socket: impl AsFd, name: &str) -> Result<(), InheritError> {
    match sockopt::socket_acceptconn(socket) {
        Ok(true) => Ok(()),
        Ok(false) => Err(InheritError::NotListening(name.to_owned())),
        Err(errno) => Err(InheritError::NoSocket(errno.into())),
    }
}

fn tcp(listener: std::net::TcpListener, address: SocketAddr) -> io::Result<Listener> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    Ok(Listener(Kind::Tcp { listener, address }))
}

fn unix(
    listener: std::os::unix::net::UnixListener,
    path: &Path,
    group: Option<SocketGroup>,
    owns_file: bool,
) -> Result<Listener, InheritError> {
    let unusable = |source| InheritError::Unusable {
        name: path.display().to_string(),
        source,
    };
    if let Some(group) = group {
        let file = std::fs::symlink_metadata(path).map_err(unusable)?;
        // Connecting takes write permission.
        if file.gid() != group.gid || file.mode() & 0o002 != 0 {
            return Err(InheritError::OpenToOthers(path.to_owned()));
        }
    }
    let file = owns_file
        .then(|| SocketFile::found(path))
        .transpose()
        .map_err(unusable)?;
    let adopt = || {
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    };
    Ok(Listener(Kind::Unix {
        listener: adopt().map_err(unusable)?,
        path: path.to_owned(),
        group,
        file,
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::auth::role::Role;

    /// Whatever is not a listening stream socket is refused, and says why; what is one is served under its own name.
    #[tokio::test]
    async fn descriptors_are_judged() {
        let why = |socket: OwnedFd| {
            Listener::inherited(socket, None)
                .expect_err("it is no listener")
                .to_string()
        };
        let file = tempfile::tempfile().expect("a file");
        assert!(why(file.into()).contains("not a socket"));
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        assert!(why(datagrams.into()).contains("neither a TCP nor a unix stream"));
        let (one, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        assert!(why(one.into()).contains("no path"));

        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("an address");
        let connected = std::net::TcpStream::connect(address).expect("it listens");
        assert!(why(connected.into()).contains("nobody listens"));
        let inherited = Listener::inherited(listener.into(), None).expect("it listens");
        assert_eq!(inherited.tcp_address(), Some(address));
    }

    /// The file belongs to whoever made the socket, until it is handed over; and it may not let in more than the group.
    #[tokio::test]
    async fn the_file_has_one_owner() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("a free path");
        let copy = || OwnedFd::from(listener.try_clone().expect("a descriptor"));
        let inherited = Listener::inherited(copy(), None).expect("it listens");
        assert_eq!(inherited.unix_path(), Some(path.as_path()));
        assert!(inherited.keeper().is_none());
        drop(inherited);
        assert!(path.exists());

        let handed = Listener::handed_over(copy(), &path, None).expect("it listens");
        handed.keeper().expect("its file is ours").keep();
        drop(handed);
        assert!(path.exists());

        let mode = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
        };
        let gid = std::fs::metadata(&path).expect("a file").gid();
        let group = |gid| {
            Some(SocketGroup {
                gid,
                role: Role::Execute,
            })
        };
        mode(0o666);
        for refused in [Listener::inherited(copy(), group(gid)), {
            mode(0o660);
            Listener::inherited(copy(), group(gid + 1))
        }] {
            assert!(matches!(refused, Err(InheritError::OpenToOthers(_))));
        }
        Listener::inherited(copy(), group(gid)).expect("members only");

        drop(Listener::handed_over(copy(), &path, None).expect("it listens"));
        assert!(!path.exists());
    }
}
