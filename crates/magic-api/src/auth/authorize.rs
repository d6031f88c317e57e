//! From a caller and the row of a route to the right to use it.
//!
//! [`decide`] is the whole rule, and a pure function. Around it stands [`enter`], which the router puts before every handler whose row
//! is not public: it authenticates, decides, records what it refuses, and leaves an [`Authorized`] for the handler. Nothing else can
//! make one, so a handler that asks for it cannot be reached past this file.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hyper::http::request::Parts;
use magic_contract::{ErrorCode, Failure, Reason};
use magic_runtime::Runtime;
use magic_store::{Decision, Kind, Record, Rule};

use super::allowlist::ControllerAllowlist;
use super::authenticator::Authentication;
use super::caller::{Caller, Scope};
use super::failure::AuthFailure;
use super::rate::{Buckets, Rate, SourceAddress};
use super::role::Role;
use crate::options::ApiOptions;
use crate::refusal::Refusal;
use crate::request_id::RequestId;
use crate::request_scope::Source;
use crate::routes::Route;

/// The variable segment of a row that names a controller.
const CONTROLLER: &str = "controller";

/// A caller who may use the route that was matched.
#[derive(Debug, Clone)]
pub(crate) struct Authorized {
    caller: Caller,
    allowlist: ControllerAllowlist,
    role: Role,
}

impl Authorized {
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// For routes whose controller is not in the path: the same rule as for those where it is.
    pub(crate) fn check(&self, controller: &str) -> Result<(), Refusal> {
        decide(
            self.role,
            &self.caller,
            Target::Controller(controller),
            &self.allowlist,
        )
        .map_err(Denial::into_refusal)
    }
}

impl<S: Sync> FromRequestParts<S> for Authorized {
    type Rejection = Refusal;

    /// The handler of a public row has nobody to ask for; that it asks is our mistake.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            Refusal::of(
                Failure::new(ErrorCode::CredentialsMissing, "nobody was authorized")
                    .with_internal("a handler of a public route asks for its caller"),
            )
        })
    }
}

/// What a request is about.
#[derive(Debug, Clone, Copy)]
enum Target<'a> {
    Controller(&'a str),
    /// A route that belongs to no controller.
    None,
}

/// Why a caller may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Denial {
    Role(Role),
    /// The controller is not in the caller's scope.
    Scope,
    /// The caller is bound to controllers, and this is about all of them.
    Bound,
    /// The controller is not on the node's list.
    Node,
}

/// The rule. The role comes first, so that whoever may not do a thing at all does not learn what it would be about.
fn decide(
    wanted: Role,
    caller: &Caller,
    target: Target<'_>,
    allowlist: &ControllerAllowlist,
) -> Result<(), Denial> {
    if !caller.roles().allow(wanted) {
        return Err(Denial::Role(wanted));
    }
    match target {
        Target::Controller(name) if !caller.scope().covers(name) => Err(Denial::Scope),
        Target::Controller(name)
            if matches!(wanted, Role::Execute | Role::Deploy) && !allowlist.covers(name) =>
        {
            Err(Denial::Node)
        }
        // Keys, secrets, the audit log: with any of them a bound caller could leave its bounds.
        Target::None if wanted == Role::Admin && *caller.scope() != Scope::Everything => {
            Err(Denial::Bound)
        }
        Target::Controller(_) | Target::None => Ok(()),
    }
}

impl Denial {
    fn into_refusal(self) -> Refusal {
        let (code, message) = match self {
            Self::Role(wanted) => {
                let message = format!("this takes the role {wanted}");
                let failure = Failure::new(ErrorCode::RoleInsufficient, message);
                return Refusal::of(failure.with_detail("expected", wanted.as_str()));
            }
            Self::Scope => (
                ErrorCode::OutOfScope,
                "these credentials are bound to other controllers",
            ),
            Self::Bound => (
                ErrorCode::OutOfScope,
                "these credentials are bound to controllers, and this concerns all of them",
            ),
            Self::Node => (
                ErrorCode::OutOfScope,
                "this node does not run that controller (CONTROLLER_ALLOWLIST)",
            ),
        };
        Refusal::of(Failure::new(code, message).with_detail("constraint", self.constraint()))
    }

    /// What stands in the way, as a word for programs.
    fn constraint(self) -> &'static str {
        match self {
            Self::Role(_) => "role",
            Self::Scope | Self::Bound => "controllers",
            Self::Node => "controller_allowlist",
        }
    }
}

/// What stands before the handlers.
#[derive(Debug)]
pub(crate) struct Gate {
    authentication: Authentication,
    allowlist: ControllerAllowlist,
    /// For whoever has no rate of their own.
    rate: Option<Rate>,
    callers: Buckets<String>,
    failure_rate: Rate,
    failures: Buckets<SourceAddress>,
    runtime: Runtime,
}

impl Gate {
    pub(crate) fn new(runtime: Runtime, options: &ApiOptions) -> Self {
        Self {
            authentication: options.authentication.clone(),
            allowlist: options.controller_allowlist.clone(),
            rate: options.rate,
            callers: Buckets::new(),
            failure_rate: Rate {
                per_second: NonZeroU32::MIN,
                burst: options.failed_attempts,
            },
            failures: Buckets::new(),
            runtime,
        }
    }

    /// Counts a failure of that source; how long to wait if there were too many.
    fn count_failure(&self, source: &Source) -> Result<(), Duration> {
        match source {
            Source::Tcp(address) => self.failures.take(address.ip().into(), self.failure_rate),
            // Local users are known by their numbers, and few.
            Source::Unix(_) => Ok(()),
        }
    }

    /// Answers a request without a caller.
    ///
    /// Beyond so many failures a source is no longer told what was wrong and nothing is recorded of it, so that it can fill neither the
    /// log nor find out more. Valid credentials are taken all the same: many share an address behind a proxy, and none of them
    /// should be locked out by another.
    fn refuse(&self, failure: &AuthFailure, entering: &Entering<'_>) -> Refusal {
        if let Err(wait) = self.count_failure(entering.source) {
            return too_fast(
                "there were too many attempts without valid credentials from this address",
                wait,
            );
        }
        let refused = failure.to_failure();
        let mut record = entering.record(refused.code, "authentication");
        record.method = failure.method().map(str::to_owned);
        self.runtime
            .record(&record.with_field("why", refused.message.clone()));
        Refusal::of(refused)
    }

    fn deny(&self, denial: Denial, caller: &Caller, entering: &Entering<'_>) -> Refusal {
        let refusal = denial.into_refusal();
        if self.count_failure(entering.source).is_ok() {
            let mut record = entering.record(refusal.code(), "authorization");
            record.caller = Some(caller.subject().to_owned());
            self.runtime
                .record(&record.with_field("constraint", denial.constraint()));
        }
        refusal
    }
}

/// The request that wants to enter, as records show it.
struct Entering<'a> {
    route: &'static Route,
    source: &'a Source,
    request_id: Option<&'a RequestId>,
}

impl Entering<'_> {
    fn record(&self, code: ErrorCode, layer: &str) -> Record {
        let source = match self.source {
            Source::Tcp(address) => canonical(address.ip()),
            Source::Unix(peer) => format!("uid {}", peer.uid()),
        };
        let mut record = Record::new(Kind::Auth)
            .with_field(
                "route",
                format!("{} {}", self.route.method, self.route.path),
            )
            .with_field("source", source);
        record.request_id = self.request_id.map(|id| id.as_str().to_owned());
        record.decision = Some(Decision::Deny);
        record.code = Some(code.as_str().to_owned());
        record.rule = Some(Rule {
            layer: layer.to_owned(),
            ..Rule::default()
        });
        record
    }
}

fn canonical(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

fn too_fast(message: &str, wait: Duration) -> Refusal {
    Refusal::of(Failure::new(ErrorCode::NoCapacity, message).with_reason(Reason::Rate))
        .with_retry_after(Some(wait))
}

/// Lets a request through to its handler, or not.
pub(crate) async fn enter(
    State((route, gate)): State<(&'static Route, Arc<Gate>)>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let (mut parts, body) = request.into_parts();
    let source = parts.extensions.get::<Source>().cloned();
    let source = source.expect("every request has a connection, which is noted before routing");
    let request_id = parts.extensions.get::<RequestId>().cloned();
    let entering = Entering {
        route,
        source: &source,
        request_id: request_id.as_ref(),
    };
    let caller = gate.authentication.caller(&parts.headers, &source).await;
    let caller = caller.map_err(|failure| gate.refuse(&failure, &entering))?;
    if let Some(rate) = caller.rate().or(gate.rate) {
        let taken = gate.callers.take(caller.subject().to_owned(), rate);
        taken.map_err(|wait| {
            too_fast("these credentials were used too often; wait a little", wait)
        })?;
    }
    // As the router has decoded it for the handler, never as it was sent.
    let variables = RawPathParams::from_request_parts(&mut parts, &())
        .await
        .map_err(|_| Refusal::unknown("a name in the path is not valid UTF-8"))?;
    let target = variables
        .iter()
        .find(|(variable, _)| *variable == CONTROLLER)
        .map_or(Target::None, |(_, name)| Target::Controller(name));
    decide(route.role, &caller, target, &gate.allowlist)
        .map_err(|denial| gate.deny(denial, &caller, &entering))?;
    parts.extensions.insert(Authorized {
        caller,
        allowlist: gate.allowlist.clone(),
        role: route.role,
    });
    Ok(next.run(Request::from_parts(parts, body)).await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::role::Roles;

    /// The rule as a table: a role, a scope, a list of the node, and what a row asks.
    #[test]
    fn the_rule() {
        let everything = Scope::Everything;
        let only_echo = Scope::Only(["Echo".to_owned()].into());
        let nothing = Scope::Only([].into());
        let anywhere = ControllerAllowlist::default();
        let here = ControllerAllowlist::parse("Echo").expect("a list");
        let echo = Target::Controller("Echo");
        let other = Target::Controller("Other");
        for (held, scope, wanted, target, allowlist, expected) in [
            (
                Role::Execute,
                &everything,
                Role::Execute,
                echo,
                &anywhere,
                Ok(()),
            ),
            (
                Role::Execute,
                &everything,
                Role::Read,
                echo,
                &anywhere,
                Err(Denial::Role(Role::Read)),
            ),
            (
                Role::Execute,
                &only_echo,
                Role::Execute,
                echo,
                &anywhere,
                Ok(()),
            ),
            (
                Role::Execute,
                &only_echo,
                Role::Execute,
                other,
                &anywhere,
                Err(Denial::Scope),
            ),
            (
                Role::Execute,
                &nothing,
                Role::Execute,
                echo,
                &anywhere,
                Err(Denial::Scope),
            ),
            (
                Role::Execute,
                &only_echo,
                Role::Read,
                other,
                &anywhere,
                Err(Denial::Role(Role::Read)),
            ),
            (
                Role::Read,
                &only_echo,
                Role::Read,
                Target::None,
                &anywhere,
                Ok(()),
            ),
            (
                Role::Admin,
                &everything,
                Role::Admin,
                Target::None,
                &anywhere,
                Ok(()),
            ),
            (
                Role::Admin,
                &only_echo,
                Role::Admin,
                Target::None,
                &anywhere,
                Err(Denial::Bound),
            ),
            (
                Role::Admin,
                &only_echo,
                Role::Deploy,
                echo,
                &anywhere,
                Ok(()),
            ),
            (
                Role::Admin,
                &everything,
                Role::Execute,
                other,
                &here,
                Err(Denial::Node),
            ),
            (
                Role::Admin,
                &everything,
                Role::Deploy,
                other,
                &here,
                Err(Denial::Node),
            ),
            (Role::Admin, &everything, Role::Read, other, &here, Ok(())),
            (
                Role::Execute,
                &everything,
                Role::Execute,
                echo,
                &here,
                Ok(()),
            ),
        ] {
            let caller = Caller::of_key("0", Roles::NONE.and(held), scope.clone());
            let found = decide(wanted, &caller, target, allowlist);
            assert_eq!(found, expected, "{held} {scope:?} {wanted} {target:?}");
        }
    }
}
