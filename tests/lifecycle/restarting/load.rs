//! Clients that never stop asking, and that note every request which was not answered.

use crate::service::{KEY, call};
use crate::support::server::{PATIENCE, wait_for};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// How many more answers say that everybody is served again.
const MORE: usize = 50;

/// The clients.
pub(super) struct Load {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// Clients of both listeners, those that connect anew for every request and those that keep their connection as long as the server does.
    pub(super) fn start(address: SocketAddr, socket: &Path) -> Self {
        let load = Self {
            over: Arc::default(),
            answered: Arc::default(),
            clients: Vec::new(),
        };
        let path = "/api/execute/Echo";
        let once = move || match call(address, "POST", path, KEY, b"{}") {
            Some(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        };
        let over_tcp = move || {
            let stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let socket: PathBuf = socket.to_owned();
        let over_unix = move || {
            let stream = UnixStream::connect(&socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        load.with(once)
            .with(once)
            .with(keeping(over_tcp))
            .with(keeping(over_tcp))
            .with(keeping(over_unix))
    }

    fn with(mut self, mut ask: impl FnMut() -> Result<(), String> + Send + 'static) -> Self {
        let (over, answered) = (Arc::clone(&self.over), Arc::clone(&self.answered));
        self.clients.push(std::thread::spawn(move || {
            let mut failures = Vec::new();
            while !over.load(Ordering::Relaxed) && failures.len() < 10 {
                match ask() {
                    Ok(()) => {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(why) => failures.push(why),
                }
            }
            failures
        }));
        self
    }

    /// Waits until further requests were answered.
    pub(super) fn wait_for_more(&self) {
        let enough = self.answered.load(Ordering::Relaxed) + MORE;
        wait_for("requests to be answered", || {
            (self.answered.load(Ordering::Relaxed) >= enough).then_some(())
        });
    }

    /// Ends the clients; every request of theirs must have been answered.
    pub(super) fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        let failures: Vec<String> = self
            .clients
            .into_iter()
            .flat_map(|client| client.join().expect("a client of ours"))
            .collect();
        let answered = self.answered.load(Ordering::Relaxed);
        assert!(
            failures.is_empty(),
            "{} of {answered} requests were lost: {failures:#?}",
            failures.len()
        );
    }
}

/// Asks on one connection until the server says that it closes it, and connects again only then.
fn keeping<S: Read + Write>(
    connect: impl Fn() -> std::io::Result<S>,
) -> impl FnMut() -> Result<(), String> {
    let mut connection = None;
    move || {
        let mut stream = match connection.take() {
            Some(stream) => stream,
            None => BufReader::new(connect().map_err(|error| format!("connecting: {error}"))?),
        };
        let closes = exchange(&mut stream).map_err(|error| error.to_string())?;
        if !closes {
            connection = Some(stream);
        }
        Ok(())
    }
}

/// One request and its answer; says whether the server closes afterwards.
fn exchange<S: Read + Write>(stream: &mut BufReader<S>) -> std::io::Result<bool> {
    write!(
        stream.get_mut(),
        "POST /api/execute/Echo HTTP/1.1\r\nhost: localhost\r\nx-api-key: {KEY}\r\n\
         content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    )?;
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        head.push(line);
    }
    let length = head
        .iter()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length
        .and_then(|length| length.parse().ok())
        .ok_or(std::io::ErrorKind::InvalidData)?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    if !head[0].contains(" 200 ") {
        let body = String::from_utf8_lossy(&body);
        return Err(std::io::Error::other(format!("{}: {body}", head[0])));
    }
    Ok(head.iter().any(|line| line == "connection: close"))
}
