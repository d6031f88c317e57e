//! One request and its answer over one connection.
//!
//! hyper drives the connection inside this future and not in a task of its own: whoever drops the
//! future closes the socket. What the peer sends is bounded four times: by hyper in the number and
//! size of header lines, by the meter in bytes of each phase, by the decoder in bytes that come out,
//! and by the deadline of the caller in time, however slowly they drip.

use crate::http::EgressLimits;
use crate::http::connect::Wire;
use crate::http::inflate::{BodyProblem, Encoding, Inflater};
use crate::http::meter::Meter;
use crate::http::redirect::{Hop, leads_elsewhere};
use crate::http::request::HeaderLine;
use crate::problem;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap,
    HeaderValue, LOCATION, TRANSFER_ENCODING, USER_AGENT,
};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use magic_contract::{Failure, HttpMethod};
use std::future::Future;
use std::pin::pin;

/// The size of hyper's read buffer, in bytes; it may hold the beginning of a body beside a head.
const BUFFER: usize = 64 * 1024;

/// How the runtime calls itself where the controller does not say otherwise.
const AGENT: &str = concat!("magic-runtime/", env!("CARGO_PKG_VERSION"));

/// What came back.
#[derive(Debug)]
pub(crate) enum Exchanged {
    /// An answer for the controller.
    Answer {
        status: StatusCode,
        headers: HeaderMap,
        body: Vec<u8>,
    },
    /// Another place to ask, in the server's words.
    Elsewhere {
        status: StatusCode,
        location: String,
    },
}

/// Sends one hop's request and reads its answer.
///
/// # Errors
/// E2004 when the answer is larger than a limit; else a back end failure that is retriable unless
/// sending it once more cannot end differently.
pub(crate) async fn exchange(
    wire: Box<dyn Wire>,
    hop: &Hop,
    lines: &[HeaderLine],
    follow: bool,
    limits: &EgressLimits,
    meter: &Meter,
) -> Result<Exchanged, Failure> {
    let request = request(hop, lines)?;
    let head_bytes = limits.response_header_bytes + 4 * BUFFER;
    meter.allow(head_bytes as u64);
    let handshake = http1::Builder::new()
        .max_headers(limits.response_headers)
        .max_header_size(limits.response_header_bytes)
        .max_buf_size(BUFFER.max(limits.response_header_bytes))
        .handshake(TokioIo::new(wire))
        .await;
    let (mut sender, connection) = handshake.map_err(|error| broken(&error, meter))?;
    let answered = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| broken(&error, meter))?;
        read(response, hop.method, follow, limits, meter).await
    };
    drive(connection, answered).await
}

/// Polls the connection until the exchange is done. The connection may end first, with the last
/// bytes of the answer still on their way to the exchange.
async fn drive<T>(connection: impl Future, exchange: impl Future<Output = T>) -> T {
    let mut exchange = pin!(exchange);
    tokio::select! {
        biased;
        done = &mut exchange => return done,
        _ = connection => {}
    }
    exchange.await
}

fn request(hop: &Hop, lines: &[HeaderLine]) -> Result<Request<Full<Bytes>>, Failure> {
    let unfit = |what: &str| {
        problem::misuse(format!(
            "the {what} of the URL cannot be put into a request"
        ))
    };
    let path: PathAndQuery = hop
        .target
        .origin_form()
        .parse()
        .map_err(|_| unfit("path"))?;
    let host = HeaderValue::from_str(&hop.target.host_header()).map_err(|_| unfit("host"))?;
    let mut request = Request::new(Full::new(hop.body.clone()));
    *request.method_mut() = method(hop.method);
    *request.uri_mut() = Uri::from(path);
    let map = request.headers_mut();
    map.insert(HOST, host);
    for line in lines {
        map.append(&line.name, line.value.clone());
    }
    for (name, value) in [(USER_AGENT, AGENT), (ACCEPT, "*/*")] {
        map.entry(name)
            .or_insert_with(|| HeaderValue::from_static(value));
    }
    map.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate"));
    map.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}

fn method(method: HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Delete => Method::DELETE,
        HttpMethod::Options => Method::OPTIONS,
    }
}

async fn read(
    response: Response<Incoming>,
    asked: HttpMethod,
    follow: bool,
    limits: &EgressLimits,
    meter: &Meter,
) -> Result<Exchanged, Failure> {
    let (head, mut body) = response.into_parts();
    if head.status.is_informational() {
        return Err(problem::backend(
            "the server wants to speak another protocol than HTTP/1.1",
            false,
            format!("status {}", head.status),
        ));
    }
    if follow
        && leads_elsewhere(head.status)
        && let Some(location) = head.headers.get(LOCATION)
    {
        let location = std::str::from_utf8(location.as_bytes()).map_err(|error| {
            let message = "the server redirects to something that is no URL";
            problem::backend(message, false, error.to_string())
        })?;
        return Ok(Exchanged::Elsewhere {
            status: head.status,
            location: location.to_owned(),
        });
    }
    let mut headers = head.headers;
    let has_body = asked != HttpMethod::Head;
    if has_body && body.size_hint().lower() > limits.response_bytes as u64 {
        return Err(too_large(limits));
    }
    let encoding = single_encoding(&headers);
    // Chunks of one byte take six on the wire, and TLS records their share.
    meter.allow((limits.response_bytes as u64).saturating_mul(8) + 4 * BUFFER as u64);
    let mut inflater = Inflater::new(
        encoding.unwrap_or(Encoding::Identity),
        limits.response_bytes,
        limits.inflation,
    );
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error, meter))?;
        if let Ok(data) = frame.into_data() {
            inflater
                .write(&data)
                .map_err(|problem| unreadable(problem, limits))?;
        }
    }
    let body = inflater
        .finish()
        .map_err(|problem| unreadable(problem, limits))?;
    if matches!(encoding, Some(Encoding::Gzip | Encoding::Deflate)) && !body.is_empty() {
        // They described what came over the wire, not what the controller is given.
        headers.remove(CONTENT_ENCODING);
        headers.remove(CONTENT_LENGTH);
    }
    headers.remove(TRANSFER_ENCODING);
    headers.remove(CONNECTION);
    headers.remove("keep-alive");
    Ok(Exchanged::Answer {
        status: head.status,
        headers,
        body,
    })
}

/// How the body is encoded; `None` for what is passed on as it came.
fn single_encoding(headers: &HeaderMap) -> Option<Encoding> {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    match (values.next(), values.next()) {
        (None, _) => Some(Encoding::Identity),
        (Some(value), None) => value.to_str().ok().and_then(Encoding::of),
        (Some(_), Some(_)) => None,
    }
}

fn unreadable(problem: BodyProblem, limits: &EgressLimits) -> Failure {
    match problem {
        BodyProblem::TooLarge => too_large(limits),
        BodyProblem::Bomb => problem::exhausted(
            "bytes",
            format!(
                "the body of the answer grows to more than {} times its size when it is decoded",
                limits.inflation
            ),
        ),
        BodyProblem::Corrupt => problem::backend(
            "the body of the answer is not what its content-encoding says",
            true,
            "decoding failed",
        ),
    }
}

pub(crate) fn too_large(limits: &EgressLimits) -> Failure {
    problem::exhausted(
        "bytes",
        format!(
            "the body of the answer has more than {} bytes; ask for less of it, by page or by range",
            limits.response_bytes
        ),
    )
}

/// The failure behind an error of hyper, which may have its cause in the meter.
fn broken(error: &hyper::Error, meter: &Meter) -> Failure {
    if meter.is_over_session() {
        return session_exhausted();
    }
    if meter.is_over_limit() {
        return problem::exhausted("bytes", "the server sends more than an answer may take");
    }
    if error.is_parse_too_large() {
        return problem::exhausted("bytes", "the head of the answer is too large");
    }
    let message = if error.is_parse() {
        "the server's answer is not HTTP/1.1"
    } else {
        "the connection ended or broke before the answer was complete; whether the server acted on the request is unknown"
    };
    problem::backend(message, true, chain(error))
}

/// The bytes of the whole session are used up.
pub(crate) fn session_exhausted() -> Failure {
    problem::exhausted(
        "bytes",
        "the requests of this execution together have moved as many bytes as they may",
    )
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
