//! Handing the listening sockets to a successor, for hosts without a service manager that keeps them.
//!
//! A server offers its sockets on a unix socket of its own, beside the one that commands use. `magic serve --take-over` connects there, is sent
//! the descriptors, and says that it has them; only then the server that offered them ends as if it had been asked to. From that moment nobody
//! accepts, and the kernel keeps who connects in the backlog. The end of the connection tells the successor that log, state and queue are closed,
//! so that it may open them: two servers in one data folder would write one log. A successor that dies before it has said that it
//! has the sockets changes nothing.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use magic_api::{Keeper, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};

/// What is sent with the descriptors; another version of this exchange would say something else.
const SOCKETS: &[u8] = b"magic sockets 1\n";
/// What the successor answers.
const TAKEN: u8 = b'+';

/// How long a successor may take to say that it has the sockets. It has nothing else to do.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a server that listens on `socket` offers its sockets.
fn place(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(".next");
    PathBuf::from(path)
}

/// Whether a process of this user may have the sockets, and may be believed to hand over its own.
fn is_trusted(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}

/// Sockets that a successor can have.
#[derive(Debug)]
pub(crate) struct Offer {
    door: Door,
    sockets: Vec<OwnedFd>,
    /// What would remove the sockets' files.
    files: Vec<Keeper>,
}

/// Held until this process has closed everything; its end is what the successor waits for.
#[derive(Debug)]
pub(crate) struct Successor(#[expect(dead_code, reason = "closed by being dropped")] UnixStream);

/// The socket of the offer, with its file.
#[derive(Debug)]
struct Door {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Door {
    fn drop(&mut self) {
        // Nobody is left to tell; the next server replaces it.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Offer {
    /// Offers these listeners, whose unix socket lies at `socket`. Its own is replaced if one was left behind: whoever holds `socket` is the
    /// only server there.
    ///
    /// # Errors
    /// When the kernel refuses, for example for a path that is too long.
    pub(crate) fn open(socket: &Path, listeners: &[Listener]) -> io::Result<Self> {
        let path = place(socket);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let copies = listeners
            .iter()
            .map(|listener| listener.as_fd().try_clone_to_owned());
        Ok(Self {
            sockets: copies.collect::<io::Result<_>>()?,
            files: listeners.iter().filter_map(Listener::keeper).collect(),
            door: Door {
                listener: UnixListener::bind(&path)?,
                path,
            },
        })
    }

    /// Waits until a successor has the sockets. Their files are its own from then on.
    pub(crate) async fn taken(self) -> Successor {
        loop {
            match self.give().await {
                Ok(stream) => {
                    for file in &self.files {
                        file.keep();
                    }
                    return Successor(stream);
                }
                Err(error) => {
                    tracing::warn!(%error, "the sockets were not handed over");
                    // Else a listener that fails at once would fail for ever at full speed.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn give(&self) -> io::Result<UnixStream> {
        let (mut stream, _) = self.door.listener.accept().await?;
        let peer = stream.peer_cred()?.uid();
        if !is_trusted(peer) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("user {peer} may not have them"),
            ));
        }
        let exchange = async {
            let sockets: Vec<_> = self.sockets.iter().map(AsFd::as_fd).collect();
            let send = || magic_sandbox::send_with_descriptors(&stream, SOCKETS, &sockets);
            stream.async_io(Interest::WRITABLE, send).await?;
            match stream.read_u8().await? {
                TAKEN => Ok::<_, io::Error>(()),
                _ => Err(io::ErrorKind::InvalidData.into()),
            }
        };
        tokio::time::timeout(PATIENCE, exchange).await??;
        Ok(stream)
    }
}

/// A server that gives its sockets away and ends.
#[derive(Debug)]
pub(crate) struct Predecessor(UnixStream);

impl Predecessor {
    /// Is sent the sockets of the server that listens on `socket`; `None` if there is none. It goes on serving until it is told by
    /// [`Self::confirm`] that they were taken, so what does not suit is found out before.
    ///
    /// # Errors
    /// When something else answers there, or the server does not go through with it.
    pub(crate) async fn take_over(socket: &Path) -> anyhow::Result<Option<(Self, Vec<OwnedFd>)>> {
        let path = place(socket);
        let stream = match UnixStream::connect(&path).await {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            connected => {
                connected.with_context(|| format!("cannot take over from {}", path.display()))?
            }
        };
        let peer = stream
            .peer_cred()
            .context("cannot see whose server it is")?;
        // Who could put a socket there might hand over one that it goes on accepting from.
        if !is_trusted(peer.uid()) {
            bail!(
                "the server behind {} is run by user {}, who is neither root nor the one of this process",
                path.display(),
                peer.uid()
            );
        }
        let receiving = async {
            let mut buffer = [0; 64];
            let receive = || magic_sandbox::receive(&stream, &mut buffer);
            let (length, sockets) = stream.async_io(Interest::READABLE, receive).await?;
            if buffer.get(..length) != Some(SOCKETS) || sockets.is_empty() {
                return Err(io::Error::from(io::ErrorKind::InvalidData));
            }
            Ok(sockets)
        };
        let sockets = tokio::time::timeout(PATIENCE, receiving)
            .await
            .map_err(io::Error::from)
            .flatten()
            .with_context(|| {
                format!("the server behind {} does not hand its sockets over; is it of another version?", path.display())
            })?;
        Ok(Some((Self(stream), sockets)))
    }

    /// Says that the sockets were taken; from here on it accepts nothing more.
    ///
    /// # Errors
    /// When it is not there any more.
    pub(crate) async fn confirm(&mut self) -> io::Result<()> {
        self.0.write_u8(TAKEN).await
    }

    /// Waits until it has closed what two servers cannot have open at once.
    ///
    /// # Errors
    /// When the connection breaks in another way than by its end, which a killed server brings about too.
    pub(crate) async fn ended(mut self) -> io::Result<()> {
        // Nothing is sent any more.
        tokio::io::copy(&mut self.0, &mut tokio::io::sink())
            .await
            .map(drop)
    }
}
