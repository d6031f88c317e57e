//! The way of one call, from what the controller asks to what it is told.

use crate::call::Call;
use crate::http::connect::{self, Destination};
use crate::http::exchange::{self, Exchanged, session_exhausted};
use crate::http::meter::{Meter, SessionBytes};
use crate::http::redirect::Hop;
use crate::http::request::{Asked, AskedHeader, HeaderLine, header_value};
use crate::http::resolve::ResolveError;
use crate::http::{Egress, EgressLimits, EgressTarget, HeaderSecrets};
use crate::http::{refusal, response};
use crate::problem;
use crate::trace::{SpanId, TraceContext};
use hyper::header::HeaderName;
use magic_contract::{Capability, ErrorCode, Failure, Host, HostPattern, HttpMethod, Target};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

/// The egress of one execution.
pub(crate) struct EgressSession {
    pub(super) egress: Arc<Egress>,
    secrets: Arc<dyn HeaderSecrets>,
    bytes: Arc<SessionBytes>,
    calls: Semaphore,
    trace: Option<TraceContext>,
}

impl EgressSession {
    /// A session that has sent nothing yet.
    pub(crate) fn new(egress: Arc<Egress>, secrets: Arc<dyn HeaderSecrets>) -> Self {
        let bytes = Arc::new(SessionBytes::new(egress.limits.session_bytes));
        let calls = Semaphore::new(egress.limits.session_calls);
        Self {
            egress,
            secrets,
            bytes,
            calls,
            trace: None,
        }
    }

    /// This session, whose requests belong to that trace.
    pub(crate) fn within(mut self, trace: Option<TraceContext>) -> Self {
        self.trace = trace;
        self
    }

    /// The headers of a request, with its place in the trace: in a trace the controller has no say in that.
    fn traced(&self, call: Option<SpanId>, mut headers: Vec<AskedHeader>) -> Vec<AskedHeader> {
        if let Some(trace) = &self.trace {
            let name = HeaderName::from_static("traceparent");
            headers.retain(|header| header.name != name);
            let value = trace.traceparent(call);
            headers.push(AskedHeader { name, value });
        }
        headers
    }

    /// Performs `http.request`.
    ///
    /// Dropping the future closes the connection, wherever it is.
    ///
    /// # Errors
    /// E2001 to E2003 for what contract, policy or runtime refuse, E2004 for what is too much, E3001
    /// when the execution's time is up, else E3003 with reason `backend`.
    pub(crate) async fn perform(
        &self,
        call: &mut Call<'_>,
        params: &str,
    ) -> Result<String, Failure> {
        let started = Instant::now();
        let meter = Arc::new(Meter::new(Arc::clone(&self.bytes)));
        let result = self.in_time(call, params, &meter).await;
        call.fact("request_bytes", meter.sent());
        call.fact("response_bytes", meter.received());
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        call.fact("duration_us", micros);
        result
    }

    async fn in_time(
        &self,
        call: &mut Call<'_>,
        params: &str,
        meter: &Arc<Meter>,
    ) -> Result<String, Failure> {
        let asked = Asked::parse(params, &self.egress.limits)?;
        let timeout = asked.timeout.unwrap_or(self.egress.limits.timeout);
        let own = Instant::now().checked_add(timeout);
        let (until, is_own) = match own {
            Some(own) if own < call.deadline => (own, true),
            _ => (call.deadline, false),
        };
        match timeout_at(until, self.follow(call, asked, meter, until)).await {
            // Looking up and connecting are bounded by the same moment and may notice it first, as a
            // failure of their own.
            Ok(Err(failure))
                if failure.code == ErrorCode::ControllerFailed && Instant::now() >= until => {}
            Ok(result) => return result,
            Err(_) => {}
        }
        if is_own {
            Err(problem::backend(
                format!("no whole answer within {} ms", timeout.as_millis()),
                true,
                "the call's own timeout",
            ))
        } else {
            Err(Failure::new(
                ErrorCode::Timeout,
                "the execution's time ended during an HTTP request",
            ))
        }
    }

    /// Sends the request, and follows where it is sent to.
    async fn follow(
        &self,
        call: &mut Call<'_>,
        asked: Asked,
        meter: &Arc<Meter>,
        until: Instant,
    ) -> Result<String, Failure> {
        call.fact("method", asked.method.as_str());
        let target = EgressTarget::parse(&asked.url)
            .map_err(|problem| refusal::unreadable(problem, &asked.url, call.capability()))?;
        let mut hop = Hop {
            method: asked.method,
            target,
            headers: self.traced(call.span, asked.headers),
            body: asked.body,
        };
        let mut visited: Vec<(HttpMethod, String)> = Vec::new();
        let mut via: Vec<String> = Vec::new();
        let mut permits = None;
        loop {
            judge(call, &hop)?;
            let is_first = permits.is_none();
            if is_first {
                permits = Some(self.permits().await?);
            }
            let destination = self.admit(call, &hop, until).await?;
            let lines = self.expand(&hop)?;
            call.announce().await?;
            if self.bytes.is_empty() {
                return Err(session_exhausted());
            }
            let (wire, address) =
                connect::connect(&destination, &self.egress.tls, meter, until).await?;
            call.fact("address", address.ip().to_string());
            let limits = &self.egress.limits;
            let exchanged =
                exchange::exchange(wire, &hop, &lines, asked.follow, limits, meter).await?;
            match exchanged {
                Exchanged::Answer {
                    status,
                    headers,
                    body,
                } => {
                    call.fact("status", status.as_u16());
                    let (target, secrets) = (&hop.target, &*self.secrets);
                    let redirects = visited.len();
                    return response::told(
                        target, status, &headers, body, redirects, secrets, limits,
                    );
                }
                Exchanged::Elsewhere { status, location } => {
                    call.fact("status", status.as_u16());
                    visited.push((hop.method, hop.target.as_str().to_owned()));
                    via.push(hop.target.host().to_string());
                    call.fact("redirects", visited.len());
                    call.fact("via", via.clone());
                    hop = next_hop(hop, status, &location, &lines, &visited, limits)?;
                }
            }
        }
    }

    /// Resolves a hop that contract and policy allow, and judges every address; what comes out may be
    /// dialled.
    async fn admit<'h>(
        &self,
        call: &mut Call<'_>,
        hop: &'h Hop,
        until: Instant,
    ) -> Result<Destination<'h>, Failure> {
        let target = &hop.target;
        let (host, port) = (target.host(), target.port());
        let addresses = self.resolve(target, until).await?;
        let asked_for: Vec<String> = addresses
            .iter()
            .map(|address| address.ip().to_string())
            .collect();
        if let [one] = asked_for.as_slice() {
            call.fact("address", one.as_str());
        } else {
            call.fact("address", asked_for);
        }
        let own = self.egress.own_endpoints();
        if own
            .include(host, &addresses, &self.egress.resolver, until)
            .await
        {
            return Err(refusal::by_runtime(
                "own_endpoints",
                format!(
                    "`{host}:{port}` belongs to the runtime itself, which no controller may call"
                ),
            ));
        }
        // By the policy of this call, which may be newer than the request.
        let rules = call.address_rules();
        let blocked: Vec<_> = addresses
            .iter()
            .flat_map(|address| rules.judge(address.ip()))
            .collect();
        if !blocked.is_empty() {
            return Err(refusal::addresses(&rules, host, &blocked));
        }
        Ok(Destination { target, addresses })
    }

    async fn resolve(
        &self,
        target: &EgressTarget,
        until: Instant,
    ) -> Result<Vec<SocketAddr>, Failure> {
        let port = target.port();
        let name = match target.host() {
            Host::Address(address) => return Ok(vec![SocketAddr::new(*address, port)]),
            Host::Name(name) => name.as_str(),
        };
        let failed = |error: &ResolveError| {
            problem::backend(
                format!("the name `{name}` does not lead to an address"),
                true,
                error.to_string(),
            )
        };
        let mut addresses = self
            .egress
            .resolver
            .lookup(name, port, until)
            .await
            .map_err(|error| failed(&error))?;
        for address in &mut addresses {
            // The mapped spelling of an IPv4 address is that address: judged and dialled as one.
            if let (IpAddr::V6(_), canonical @ IpAddr::V4(_)) =
                (address.ip(), address.ip().to_canonical())
            {
                *address = SocketAddr::new(canonical, port);
            }
        }
        let mut distinct: Vec<SocketAddr> = Vec::with_capacity(addresses.len());
        for address in addresses {
            if !distinct.contains(&address) {
                distinct.push(address);
            }
        }
        if distinct.is_empty() {
            let none = std::io::Error::other("an empty list");
            return Err(failed(&ResolveError::Failed(none)));
        }
        Ok(distinct)
    }

    /// The header lines with secrets in place of handles, and which of them hold one.
    fn expand(&self, hop: &Hop) -> Result<Vec<HeaderLine>, Failure> {
        let target = &hop.target;
        let mut lines = Vec::with_capacity(hop.headers.len());
        for header in &hop.headers {
            let value = self.secrets.expand(
                &header.value,
                target.host(),
                target.port(),
                target.is_tls(),
            )?;
            let carries_secret = value != header.value;
            let Some(mut value) = header_value(&value) else {
                return Err(problem::misuse(format!(
                    "the secret in the header `{}` has a line break or another control character",
                    header.name
                )));
            };
            // hyper leaves the values of sensitive headers out of its own logs.
            value.set_sensitive(true);
            lines.push(HeaderLine {
                name: header.name.clone(),
                value,
                carries_secret,
            });
        }
        Ok(lines)
    }

    /// Waits for a place among the calls of this session, then among those of all.
    async fn permits(&self) -> Result<[SemaphorePermit<'_>; 2], Failure> {
        let closed = |error: AcquireError| {
            problem::backend("egress is shutting down", true, error.to_string())
        };
        let of_session = self.calls.acquire().await.map_err(closed)?;
        let of_all = self.egress.calls.acquire().await.map_err(closed)?;
        Ok([of_session, of_all])
    }
}

/// Judges a hop by contract and policy, before its name is looked up.
fn judge(call: &mut Call<'_>, hop: &Hop) -> Result<(), Failure> {
    let (host, port) = (hop.target.host(), hop.target.port());
    call.fact("host", host.to_string());
    call.fact("port", port);
    call.fact("method", hop.method.as_str());
    call.check(&Target::Host(host, port))?;
    let capability = call.capability();
    let Capability::HttpEgress { allow, methods } = capability else {
        return Err(refusal::by_runtime(
            "capability",
            "this capability sends no requests",
        ));
    };
    if methods
        .as_ref()
        .is_some_and(|listed| !listed.contains(&hop.method))
    {
        return Err(refusal::method(capability, hop.method));
    }
    let target = &hop.target;
    let covering = |pattern: &&HostPattern| pattern.covers(target.host(), target.port());
    let mut covering = allow.iter().flatten().filter(covering);
    if !target.is_tls() && !covering.clone().any(HostPattern::names_port) {
        return Err(refusal::plain_http(capability, target));
    }
    if matches!(target.host(), Host::Address(_)) && covering.next().is_none() {
        return Err(refusal::address_literal(capability, target));
    }
    Ok(())
}

/// The hop that a redirect leads to, which is yet to be judged.
fn next_hop(
    hop: Hop,
    status: hyper::StatusCode,
    location: &str,
    lines: &[HeaderLine],
    visited: &[(HttpMethod, String)],
    limits: &EgressLimits,
) -> Result<Hop, Failure> {
    let was_tls = hop.target.is_tls();
    let carried_secret: Vec<bool> = lines.iter().map(|line| line.carries_secret).collect();
    let next = hop
        .next(status, location, &carried_secret)
        .map_err(|problem| {
            refusal::by_runtime(
                "canonical_url",
                format!("the server redirects to a URL that is not taken: {problem}"),
            )
        })?;
    if was_tls && !next.target.is_tls() {
        return Err(refusal::by_runtime(
            "redirect_downgrade",
            "the server redirects from https to plain http",
        ));
    }
    let again = visited
        .iter()
        .any(|(method, url)| *method == next.method && url == next.target.as_str());
    if again {
        return Err(problem::exhausted(
            "redirects",
            "the server redirects in a circle",
        ));
    }
    if visited.len() > limits.redirects {
        return Err(problem::exhausted(
            "redirects",
            format!(
                "more than {} redirects; call with redirects=False to follow them yourself",
                limits.redirects
            ),
        ));
    }
    Ok(next)
}
