//! A TLS server of the tests' own, with a certificate authority that only the test knows.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request as the server saw it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A server that answers over TLS, with an authority of its own.
pub(crate) struct TlsServer {
    /// The authority's certificate, as operators write it into a file.
    pub(crate) authority: String,
    /// What was asked, in order.
    pub(crate) seen: mpsc::Receiver<Seen>,
}

impl TlsServer {
    /// Listens on `address` as `name` and answers 200 with `body` as JSON.
    pub(crate) fn start(address: SocketAddr, name: &str, body: &'static str) -> Self {
        Self::answering(address, &[name], move |_| {
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
        })
    }

    /// Listens on `address` under all these names and answers what `answer` makes of a request: the text of a whole answer.
    pub(crate) fn answering(
        address: SocketAddr,
        names: &[&str],
        answer: impl Fn(&Seen) -> String + Send + Sync + 'static,
    ) -> Self {
        let (config, authority) = identity(names);
        let listener = TcpListener::bind(address).expect("the address is ours");
        let (sender, seen) = mpsc::channel();
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, sender, answer) = (config.clone(), sender.clone(), answer.clone());
                std::thread::spawn(move || {
                    let connection = ServerConnection::new(config).expect("a configuration");
                    let mut stream = StreamOwned::new(connection, stream);
                    if let Some(request) = read_request(&mut stream) {
                        let answer = answer(&request);
                        // Nobody listens any more at the end of a test.
                        let _ = sender.send(request);
                        let _ = stream.write_all(answer.as_bytes());
                        stream.conn.send_close_notify();
                        let _ = stream.flush();
                    }
                });
            }
        });
        Self { authority, seen }
    }
}

fn identity(names: &[&str]) -> (Arc<ServerConfig>, String) {
    let authority_key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).expect("a certificate");
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>(),
    )
    .expect("names");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .expect("the key fits");
    (Arc::new(config), authority.pem())
}

/// Reads one request, or nothing if the client goes away.
pub(crate) fn read_request(stream: &mut impl Read) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length:")?
                .trim()
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Seen {
        head,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
