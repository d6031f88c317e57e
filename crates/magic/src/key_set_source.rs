//! Where an issuer's public keys come from: a file, or a server over TLS.
//!
//! The server's name is the operator's, so it is resolved and dialled as any client would. Its certificate is always verified, with
//! the public authorities and those of `MAGIC_EGRESS_CA`. Redirects are not followed: they would let the issuer's server name others.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use magic_api::{KEY_SET_LIMIT, KeySetSource};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::settings::{KeySetPlace, Settings};

/// How long one fetch may take.
const PATIENCE: Duration = Duration::from_secs(10);

type Fetched<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send + 'a>>;

/// The source that a place means.
///
/// # Errors
/// When the URL cannot be used.
pub(crate) fn of(
    place: &KeySetPlace,
    settings: &Settings,
) -> anyhow::Result<Arc<dyn KeySetSource>> {
    match place {
        KeySetPlace::File(path) => Ok(Arc::new(KeySetFile(path.clone()))),
        KeySetPlace::Url(text) => {
            let uri: Uri = text
                .parse()
                .with_context(|| format!("MAGIC_JWKS: {text} is not a URL"))?;
            let host = uri.host().unwrap_or_default();
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let server_name = ServerName::try_from(bare.to_owned())
                .with_context(|| format!("MAGIC_JWKS: {text} names no server"))?;
            Ok(Arc::new(KeySetServer {
                uri,
                server_name,
                tls: Arc::new(tls(&crate::services::extra_roots(settings)?)?),
            }))
        }
    }
}

fn tls(extra_roots: &str) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for certificate in CertificateDer::pem_slice_iter(extra_roots.as_bytes()) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[derive(Debug)]
struct KeySetFile(PathBuf);

impl KeySetSource for KeySetFile {
    fn fetch(&self) -> Fetched<'_> {
        Box::pin(async {
            let read = async {
                let file = tokio::fs::File::open(&self.0).await?;
                let mut text = Vec::new();
                file.take(KEY_SET_LIMIT as u64 + 1)
                    .read_to_end(&mut text)
                    .await?;
                Ok::<_, std::io::Error>(text)
            };
            read.await
                .map_err(|error| format!("{}: {error}", self.0.display()))
        })
    }
}

#[derive(Debug)]
struct KeySetServer {
    uri: Uri,
    server_name: ServerName<'static>,
    tls: Arc<ClientConfig>,
}

impl KeySetSource for KeySetServer {
    fn fetch(&self) -> Fetched<'_> {
        Box::pin(async {
            match tokio::time::timeout(PATIENCE, self.get()).await {
                Ok(Ok(text)) => Ok(text),
                Ok(Err(error)) => Err(format!("{}: {error:#}", self.uri)),
                Err(_) => Err(format!("{} does not answer", self.uri)),
            }
        })
    }
}

impl KeySetServer {
    async fn get(&self) -> anyhow::Result<Vec<u8>> {
        let authority = self.uri.authority().context("it names no server")?;
        let host = authority.host().trim_matches(['[', ']']);
        let port = authority.port_u16().unwrap_or(443);
        let stream = TcpStream::connect((host, port)).await?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(self.server_name.clone(), stream).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer, or with the sender at the end of this function.
        tokio::spawn(connection);
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path)
            .header(HOST, authority.as_str())
            .header(ACCEPT, "application/json")
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        anyhow::ensure!(status == StatusCode::OK, "it answers {status}");
        let body = Limited::new(response.into_body(), KEY_SET_LIMIT)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(body.to_bytes().to_vec())
    }
}
