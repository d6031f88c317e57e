//! Talking to a running supervisor: over its unix socket, or over HTTP with `--url`.
//!
//! The socket knows who calls. Over HTTP the key of `MAGIC_API_KEY` is sent, if there is one.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::settings::{Secret, Settings};

/// How long the supervisor may take to accept and to begin its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The largest answer that is read whole, in bytes.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// Where the supervisor is.
#[derive(Debug, Clone)]
enum Address {
    Socket(PathBuf),
    Tcp {
        authority: String,
        key: Option<HeaderValue>,
    },
}

/// A client of one supervisor.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: Address,
}

/// What came back.
#[derive(Debug)]
pub(crate) enum Reply {
    /// 200 or 201, to be read.
    Ok(Response<Incoming>),
    /// An error envelope.
    Refused(Value),
}

impl Client {
    /// A client for the supervisor that the settings name.
    ///
    /// # Errors
    /// When the URL is none that we can speak to.
    pub(crate) fn new(settings: &Settings) -> anyhow::Result<Self> {
        let Some(url) = &settings.url else {
            return Ok(Self {
                address: Address::Socket(settings.socket.clone()),
            });
        };
        let uri: Uri = url.parse().with_context(|| format!("{url} is not a URL"))?;
        match (uri.scheme_str(), uri.authority()) {
            (Some("http"), Some(authority)) => Ok(Self {
                address: Address::Tcp {
                    authority: authority.to_string(),
                    key: settings.api_key.as_ref().map(header).transpose()?,
                },
            }),
            (Some("https"), _) => {
                bail!("{url}: https is not supported yet; use http on this machine, or the socket")
            }
            _ => bail!("{url}: write it like http://127.0.0.1:8080"),
        }
    }

    /// One GET.
    ///
    /// # Errors
    /// When no supervisor answers, with what to type.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Reply> {
        self.send(Method::GET, path, None).await
    }

    /// Sends a bundle, and asks to be told of the steps.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) async fn send_bundle(&self, path: &str, archive: Vec<u8>) -> anyhow::Result<Reply> {
        let request = Request::post(path)
            .header(ACCEPT, "text/event-stream")
            .header(CONTENT_TYPE, "application/zstd")
            .body(Full::new(archive.into()))?;
        self.exchange(request).await
    }

    /// One request, with a JSON body if there is one.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Reply> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(ACCEPT, "*/*");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        self.exchange(request.body(Full::new(body))?).await
    }

    async fn exchange(&self, mut request: Request<Full<Bytes>>) -> anyhow::Result<Reply> {
        if let Address::Tcp { key: Some(key), .. } = &self.address {
            request.headers_mut().insert("x-api-key", key.clone());
        }
        let response = match &self.address {
            Address::Socket(socket) => {
                let connected = tokio::time::timeout(PATIENCE, UnixStream::connect(socket)).await;
                let stream = connected.ok().and_then(Result::ok).ok_or_else(|| {
                    anyhow::anyhow!(
                        "no supervisor answers on {}; start one with: magic dev (or name another with --socket or --url)",
                        socket.display()
                    )
                })?;
                exchange(stream, request, "localhost").await?
            }
            Address::Tcp { authority, .. } => {
                let target = if authority
                    .rsplit_once(':')
                    .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
                {
                    authority.clone()
                } else {
                    format!("{authority}:80")
                };
                let connected = tokio::time::timeout(PATIENCE, TcpStream::connect(&target)).await;
                let stream = connected.ok().and_then(Result::ok).ok_or_else(|| {
                    anyhow::anyhow!(
                        "no supervisor answers on http://{authority}; start one with: magic dev"
                    )
                })?;
                exchange(stream, request, authority).await?
            }
        };
        if matches!(response.status(), StatusCode::OK | StatusCode::CREATED) {
            return Ok(Reply::Ok(response));
        }
        let status = response.status();
        let body = whole(response).await?;
        match serde_json::from_slice::<Value>(&body) {
            Ok(envelope) if envelope.get("error").is_some() => Ok(Reply::Refused(envelope)),
            _ => bail!("the supervisor answered {status}, which this client does not understand"),
        }
    }
}

/// The key as a header that no log shows.
fn header(key: &Secret) -> anyhow::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(key.expose())
        .context("MAGIC_API_KEY is not a key: it has letters that no header can have")?;
    value.set_sensitive(true);
    Ok(value)
}

async fn exchange<S>(
    stream: S,
    mut request: Request<Full<Bytes>>,
    host: &str,
) -> anyhow::Result<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .context("cannot speak with the supervisor")?;
    // It ends when the answer was read or the process does.
    tokio::spawn(connection);
    request
        .headers_mut()
        .insert(HOST, HeaderValue::from_str(host)?);
    tokio::time::timeout(PATIENCE, sender.send_request(request))
        .await
        .context("the supervisor did not answer in time")?
        .context("the supervisor closed the connection")
}

/// The whole body of an answer.
///
/// # Errors
/// When it ends early or is far too large.
pub(crate) async fn whole(response: Response<Incoming>) -> anyhow::Result<Bytes> {
    let body = Limited::new(response.into_body(), LARGEST_ANSWER)
        .collect()
        .await
        .map_err(|error| anyhow::anyhow!("the supervisor's answer cannot be read: {error}"))?;
    Ok(body.to_bytes())
}

/// A path segment, percent-encoded.
pub(crate) fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
