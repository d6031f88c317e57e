//! Servers that say what a test tells them to, byte by byte.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// The certificate authority that the tests' egress trusts, and another that it does not.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn get() -> &'static Self {
        static ONE: OnceLock<Authority> = OnceLock::new();
        ONE.get_or_init(Self::new)
    }

    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    pub(super) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server's TLS for these names or addresses.
    pub(super) fn acceptor(&self, names: &[&str], is_expired: bool) -> TlsAcceptor {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        if is_expired {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What a server does after it has read a request.
pub(super) enum Reply {
    /// Writes these bytes and ends the connection.
    Bytes(Vec<u8>),
    /// Writes the first, then the second for ever.
    Endless(Vec<u8>, Vec<u8>),
    /// Writes the bytes one by one, some milliseconds apart.
    Drip(Vec<u8>),
    /// Says nothing and keeps the connection.
    Silence,
}

impl Reply {
    /// A whole answer.
    pub(super) fn answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(body);
        Self::Bytes(bytes)
    }

    /// 200 with a text.
    pub(super) fn ok(body: &str) -> Self {
        Self::answer("200 OK", &[], body.as_bytes())
    }

    /// A redirect.
    pub(super) fn to(status: u16, location: &str) -> Self {
        Self::answer(
            &format!("{status} Moved"),
            &[("location", location)],
            b"elsewhere",
        )
    }
}

type Handler = dyn Fn(&str) -> Reply + Send + Sync;

/// A server on a port of its own.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    closed: Arc<tokio::sync::Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Plain HTTP on this address.
    pub(super) async fn plain(
        address: &str,
        handler: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(address, None, handler).await
    }

    /// HTTPS on this address, with a trusted certificate for these names.
    pub(super) async fn tls(
        address: &str,
        names: &[&str],
        handler: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let acceptor = Authority::get().acceptor(names, false);
        Self::start(address, Some(acceptor), handler).await
    }

    pub(super) async fn start(
        address: &str,
        acceptor: Option<TlsAcceptor>,
        handler: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let closed = Arc::new(tokio::sync::Notify::new());
        let handler: Arc<Handler> = Arc::new(handler);
        let (counted, kept, ended) = (connections.clone(), requests.clone(), closed.clone());
        let task = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let (acceptor, handler) = (acceptor.clone(), handler.clone());
                let (kept, ended) = (kept.clone(), ended.clone());
                serving.spawn(async move {
                    match acceptor {
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, &*handler, &kept).await;
                            }
                        }
                        None => serve(stream, &*handler, &kept).await,
                    }
                    ended.notify_one();
                });
            }
        });
        Self {
            address,
            connections,
            requests,
            closed,
            task,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// `name:port`, as a contract lists it.
    pub(super) fn entry(&self, name: &str) -> String {
        format!("{name}:{}", self.port())
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The requests so far, as they came.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits until a connection has ended.
    pub(super) async fn connection_ended(&self) {
        self.closed.notified().await;
    }
}

async fn serve<S>(mut stream: S, handler: &Handler, kept: &Mutex<Vec<String>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(request) = read_request(&mut stream).await else {
        return;
    };
    kept.lock().unwrap().push(request.clone());
    // Errors mean that the client has hung up, which is what some tests want.
    match handler(&request) {
        Reply::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Reply::Endless(first, again) => {
            if stream.write_all(&first).await.is_ok() {
                while stream.write_all(&again).await.is_ok() {}
            }
        }
        Reply::Drip(bytes) => {
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
            for byte in bytes {
                ticks.tick().await;
                if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
        }
        Reply::Silence => {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
    }
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // The first byte of a TLS handshake: a client that waits for another kind of server.
        if bytes.first() == Some(&0x16) {
            return Some(text);
        }
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return Some(text);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
