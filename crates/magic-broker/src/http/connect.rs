//! From a judged destination to a stream: TCP to the very addresses that were judged, then TLS.
//!
//! Nothing resolves a second time between judging and dialling, so a name server that changes its
//! mind gains nothing. The addresses are tried one after the other, each with its share of the time
//! that is left, so that one dead address does not cost the whole request. TLS is verified always:
//! there is no switch, only roots that an operator adds.
//!
//! Every hop has a connection of its own, which ends with it. A connection that is kept would have
//! been judged for an earlier call, under an earlier policy, and may die under a request that must
//! not be sent twice; that costs a handshake per call, and saves deciding what two calls may share.

use crate::http::meter::{Meter, Metered};
use crate::http::{EgressError, EgressTarget};
use crate::problem;
use magic_contract::{Failure, Host};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

/// Addresses that are tried before giving up.
const MOST_ATTEMPTS: usize = 6;

/// What a peer may send before TLS stands, in bytes: certificate chains are a few thousand.
const HANDSHAKE_BYTES: u64 = 256 * 1024;

/// A destination that was judged: the addresses are those of the target's host, all permitted.
#[derive(Debug)]
pub(crate) struct Destination<'a> {
    pub(crate) target: &'a EgressTarget,
    pub(crate) addresses: Vec<SocketAddr>,
}

/// A connected stream, with or without TLS.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for S {}

/// Makes the one TLS configuration: verified, TLS 1.2 or newer, HTTP/1.1, nothing remembered from
/// one connection to the next, since a resumed session would link the requests of two controllers.
pub(crate) fn tls_config(extra_roots: &str) -> Result<ClientConfig, EgressError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let mut added = 0;
    for certificate in CertificateDer::pem_slice_iter(extra_roots.as_bytes()) {
        let certificate = certificate.map_err(EgressError::RootText)?;
        roots.add(certificate).map_err(EgressError::Root)?;
        added += 1;
    }
    if added == 0 && !extra_roots.trim().is_empty() {
        return Err(EgressError::NoRoots);
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(EgressError::Provider)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Connects; gives the stream and the address that answered.
///
/// # Errors
/// A back end failure, retriable unless the certificate is what is wrong.
pub(crate) async fn connect(
    destination: &Destination<'_>,
    tls: &Arc<ClientConfig>,
    meter: &Arc<Meter>,
    until: Instant,
) -> Result<(Box<dyn Wire>, SocketAddr), Failure> {
    let (stream, address) = dial(destination, until).await?;
    // Requests are written whole; waiting to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    meter.allow(HANDSHAKE_BYTES);
    let stream = Metered::new(stream, Arc::clone(meter));
    if !destination.target.is_tls() {
        return Ok((Box::new(stream), address));
    }
    let host = destination.target.host();
    let connector = TlsConnector::from(Arc::clone(tls));
    match connector.connect(server_name(host)?, stream).await {
        Ok(stream) => Ok((Box::new(stream), address)),
        Err(error) => Err(tls_failure(host, &error)),
    }
}

async fn dial(
    destination: &Destination<'_>,
    until: Instant,
) -> Result<(TcpStream, SocketAddr), Failure> {
    let addresses = &destination.addresses[..destination.addresses.len().min(MOST_ATTEMPTS)];
    let mut last = String::from("no address");
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let now = Instant::now();
        let share = until.saturating_duration_since(now) / left;
        match timeout_at(now + share, TcpStream::connect(*address)).await {
            Ok(Ok(stream)) => return Ok((stream, *address)),
            Ok(Err(error)) => last = format!("{address}: {error}"),
            Err(_) => last = format!("{address}: no answer"),
        }
    }
    let target = destination.target;
    Err(problem::backend(
        format!("cannot connect to {}:{}", target.host(), target.port()),
        true,
        last,
    ))
}

fn server_name(host: &Host) -> Result<ServerName<'static>, Failure> {
    match host {
        Host::Address(address) => Ok(ServerName::IpAddress((*address).into())),
        Host::Name(name) => ServerName::try_from(name.as_str().to_owned()).map_err(|error| {
            problem::backend(
                format!("`{host}` cannot be named to TLS"),
                false,
                error.to_string(),
            )
        }),
    }
}

fn tls_failure(host: &Host, error: &std::io::Error) -> Failure {
    let cause = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(reason)) => problem::backend(
            format!("the certificate of `{host}` is not accepted"),
            false,
            format!("{reason:?}"),
        ),
        _ => problem::backend(
            format!("no TLS connection to `{host}`"),
            true,
            error.to_string(),
        ),
    }
}
