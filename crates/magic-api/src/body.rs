//! Reading a request body: JSON by its header, within bounds of size, time and shared memory.
//!
//! Nothing is buffered beyond the limit: a declared length that is too large is refused before a byte is read, an undeclared one
//! at the first byte too many. All bodies in memory share one budget, because a thousand clients that each stay within the limit
//! would otherwise still fill the machine.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use magic_contract::{ErrorCode, Failure, Reason};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::options::ApiOptions;
use crate::refusal::Refusal;

/// The unit in which the shared budget is counted, in bytes.
const BUDGET_UNIT: usize = 1024;

/// What is discarded of a body that was refused, so that the client gets to read why: closing a socket with unread bytes in it
/// makes the kernel reset the connection, and the answer is lost.
const DISCARD_BYTES: usize = 16 * 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// A body that was read whole. While it lives, its bytes are charged to the shared budget.
#[derive(Debug)]
pub(crate) struct ReadBody {
    pub(crate) bytes: Bytes,
    _charge: Option<OwnedSemaphorePermit>,
}

/// The limits that bodies are read under.
#[derive(Debug)]
pub(crate) struct BodyLimits {
    bytes: usize,
    archive_bytes: usize,
    time: Duration,
    budget: Arc<Semaphore>,
    units: usize,
}

impl BodyLimits {
    pub(crate) fn of(options: &ApiOptions) -> Self {
        let units = (options.body_memory / BUDGET_UNIT).min(Semaphore::MAX_PERMITS);
        Self {
            bytes: options.body_limit,
            archive_bytes: options.archive_limit,
            time: options.body_timeout,
            budget: Arc::new(Semaphore::new(units)),
            units,
        }
    }

    /// How much of the shared memory is used, and how much there is, in bytes.
    pub(crate) fn memory(&self) -> (usize, usize) {
        let free = self.budget.available_permits();
        let used = self.units.saturating_sub(free);
        (used * BUDGET_UNIT, self.units * BUDGET_UNIT)
    }

    /// Reads a JSON body.
    ///
    /// # Errors
    /// 415 for another type or a compressed body, 413 for one that is too large, 408 for one that is too slow, 400 for one that
    /// ends early, 429 (E3005) when the memory for bodies is used up.
    pub(crate) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<ReadBody, Refusal> {
        check_type(headers)?;
        self.read_at_most(self.bytes, headers, body).await
    }

    /// Reads an archive. Whatever its header calls it, what it is shows in its first bytes.
    ///
    /// # Errors
    /// As [`BodyLimits::read`], with a limit of its own; 415 for a body that its header says is encoded once more.
    pub(crate) async fn read_archive(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<ReadBody, Refusal> {
        check_coding(headers)?;
        self.read_at_most(self.archive_bytes, headers, body).await
    }

    async fn read_at_most(
        &self,
        limit: usize,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<ReadBody, Refusal> {
        let declared = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok())
            .and_then(|length| length.parse::<usize>().ok());
        if declared.is_some_and(|length| length > limit) {
            // A client that asked first (Expect: 100-continue) has sent nothing, and must not be invited by reading.
            if !headers.contains_key(hyper::header::EXPECT) {
                discard(body).await;
            }
            return Err(too_large(limit));
        }
        match tokio::time::timeout(self.time, self.collect(body, limit)).await {
            Ok(read) => read,
            Err(_) => Err(Refusal::http(
                StatusCode::REQUEST_TIMEOUT,
                "the request body did not arrive in time",
            )
            .with_reason(Reason::Slow)
            .with_detail("expected", format!("at most {} s", self.time.as_secs()))),
        }
    }

    async fn collect(&self, mut body: Body, limit: usize) -> Result<ReadBody, Refusal> {
        let mut charge = None;
        let mut only = Bytes::new();
        let mut joined = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| {
                Refusal::http(
                    StatusCode::BAD_REQUEST,
                    "the request body ended early or is not valid HTTP",
                )
            })?;
            // Trailers are of no use here.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let length = only.len() + joined.len() + data.len();
            if length > limit {
                drop((only, joined, charge));
                discard(body).await;
                return Err(too_large(limit));
            }
            self.charge(&mut charge, length)?;
            if only.is_empty() && joined.is_empty() {
                // A body that comes in one piece, as nearly all do, is never copied.
                only = data;
            } else {
                if joined.is_empty() {
                    joined.extend_from_slice(&std::mem::take(&mut only));
                }
                joined.extend_from_slice(&data);
            }
        }
        let bytes = if joined.is_empty() {
            only
        } else {
            joined.freeze()
        };
        Ok(ReadBody {
            bytes,
            _charge: charge,
        })
    }

    /// Raises the charge to `length` bytes.
    fn charge(
        &self,
        charge: &mut Option<OwnedSemaphorePermit>,
        length: usize,
    ) -> Result<(), Refusal> {
        let wanted = length.div_ceil(BUDGET_UNIT);
        let held = charge.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Some(more) = wanted.checked_sub(held).filter(|more| *more > 0) else {
            return Ok(());
        };
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let permit = match Arc::clone(&self.budget).try_acquire_many_owned(more) {
            Ok(permit) => permit,
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {
                return Err(Refusal::of(
                    Failure::new(
                        ErrorCode::NoCapacity,
                        "the memory for request bodies is used up; try again shortly",
                    )
                    .with_reason(Reason::Queue),
                ));
            }
        };
        match charge {
            Some(held) => held.merge(permit),
            None => *charge = Some(permit),
        }
        Ok(())
    }
}

fn too_large(limit: usize) -> Refusal {
    Refusal::http(
        StatusCode::PAYLOAD_TOO_LARGE,
        "the request body is too large",
    )
    .with_reason(Reason::TooLarge)
    .with_detail("expected", format!("at most {limit} bytes"))
}

/// Reads on for a moment without keeping anything.
async fn discard(mut body: Body) {
    let reading = async {
        let mut left = DISCARD_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    // Whether it ended or ran out of time makes no difference: the answer goes out now.
    let _ = tokio::time::timeout(DISCARD_TIME, reading).await;
}

/// The body must be JSON in UTF-8 and not compressed. No type at all is taken for JSON, for the sake of hand-written clients;
/// requests that a foreign web page sends are refused before (see [`crate::origin`]).
fn check_type(headers: &HeaderMap) -> Result<(), Refusal> {
    check_coding(headers)?;
    let Some(sent) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let sent = sent.to_str().unwrap_or("(not text)");
    if is_json(sent) {
        return Ok(());
    }
    let received: String = sent.chars().take(100).collect();
    Err(Refusal::http(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "the request body must be JSON; send it with the header Content-Type: application/json",
    )
    .with_reason(Reason::MediaType)
    .with_detail("constraint", "content-type")
    .with_detail("expected", "application/json")
    .with_detail("received", received))
}

/// Nothing is decompressed on the way in.
fn check_coding(headers: &HeaderMap) -> Result<(), Refusal> {
    if let Some(coding) = headers.get(CONTENT_ENCODING)
        && !coding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(Refusal::http(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "encoded request bodies are not accepted; send the body as it is",
        )
        .with_reason(Reason::MediaType)
        .with_detail("constraint", "content-encoding")
        .with_detail("expected", "identity"));
    }
    Ok(())
}

/// `application/json` or `application/*+json`, whose only charset is UTF-8 (RFC 8259, section 8.1).
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    json && parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            let value = value.trim().trim_matches('"');
            value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
        }
        _ => true,
    })
}

#[cfg(test)]
mod tests;
