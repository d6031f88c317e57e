//! The one table of routes.
//!
//! A route is a row: method, path, the role that it will take to call it, and its handler. The router is built from the rows,
//! and so are the authorization tests, so that a route without a role cannot exist.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use magic_contract::Reason;
use serde::Serialize;

use crate::auth::authorize::{Gate, enter};
use crate::auth::role::Role;
use crate::refusal::Refusal;
use crate::state::ApiState;

mod audit;
mod controller;
mod controllers;
mod deploy;
mod execute;
mod executions;
mod health;
mod keys;
mod logs;
mod metrics;
mod nodes;
mod openapi;
mod policy;
mod policy_explain;
mod readyz;
mod self_test;
mod versions;

/// One row of the table.
#[derive(Debug)]
pub struct Route {
    /// The method; HEAD comes with GET.
    pub method: Method,
    /// The path, with `{names}` for its variable segments. One that is called `{controller}` names a controller, and callers who are
    /// bound to others are kept out by it.
    pub path: &'static str,
    /// Who may use it.
    pub role: Role,
    handler: fn() -> MethodRouter<ApiState>,
}

/// Every route there is.
pub static ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/api/execute/{controller}",
        role: Role::Execute,
        handler: || post(execute::execute),
    },
    Route {
        method: Method::GET,
        path: "/api/controllers",
        role: Role::Read,
        handler: || get(controllers::list),
    },
    Route {
        method: Method::POST,
        path: "/api/controllers",
        role: Role::Deploy,
        handler: || post(deploy::deploy),
    },
    Route {
        method: Method::GET,
        path: "/api/controllers/{controller}/versions",
        role: Role::Read,
        handler: || get(versions::list),
    },
    Route {
        method: Method::POST,
        path: "/api/controllers/{controller}/rollback",
        role: Role::Deploy,
        handler: || post(versions::roll_back),
    },
    Route {
        method: Method::POST,
        path: "/api/controllers/{controller}/canary",
        role: Role::Deploy,
        handler: || post(versions::end_canary),
    },
    Route {
        method: Method::DELETE,
        path: "/api/controllers/{controller}",
        role: Role::Deploy,
        handler: || delete(versions::delete),
    },
    Route {
        method: Method::GET,
        path: "/api/controllers/{controller}",
        role: Role::Read,
        handler: || get(controller::show),
    },
    Route {
        method: Method::GET,
        path: "/api/controllers/{controller}/logs",
        role: Role::Read,
        handler: || get(logs::logs),
    },
    Route {
        method: Method::GET,
        path: "/api/executions/{request_id}",
        role: Role::Read,
        handler: || get(executions::show),
    },
    Route {
        method: Method::GET,
        path: "/api/nodes",
        role: Role::Read,
        handler: || get(nodes::list),
    },
    Route {
        method: Method::GET,
        path: "/api/policy",
        role: Role::Read,
        handler: || get(policy::show),
    },
    Route {
        method: Method::POST,
        path: "/api/policy/explain",
        role: Role::Read,
        handler: || post(policy_explain::explain),
    },
    Route {
        method: Method::GET,
        path: "/api/audit",
        role: Role::Admin,
        handler: || get(audit::audit),
    },
    Route {
        method: Method::GET,
        path: "/api/keys",
        role: Role::Admin,
        handler: || get(keys::list),
    },
    Route {
        method: Method::POST,
        path: "/api/keys",
        role: Role::Admin,
        handler: || post(keys::create),
    },
    Route {
        method: Method::DELETE,
        path: "/api/keys/{id}",
        role: Role::Admin,
        handler: || delete(keys::revoke),
    },
    Route {
        method: Method::GET,
        path: "/api/health",
        role: Role::Public,
        handler: || get(health::health),
    },
    Route {
        method: Method::GET,
        path: "/api/readyz",
        role: Role::Public,
        handler: || get(readyz::readyz),
    },
    Route {
        method: Method::GET,
        path: "/metrics",
        role: Role::Read,
        handler: || get(metrics::metrics),
    },
    Route {
        method: Method::GET,
        path: "/openapi.json",
        role: Role::Read,
        handler: || get(openapi::openapi),
    },
    Route {
        method: Method::GET,
        path: "/api/self-test",
        role: Role::Admin,
        handler: || get(self_test::self_test),
    },
];

/// The router of the table, with refusals for everything that is not in it. Every handler whose row is not public stands behind the gate.
pub(crate) fn router(state: ApiState, gate: Arc<Gate>) -> Router {
    ROUTES
        .iter()
        .fold(Router::new(), |router, route| {
            let handler = (route.handler)();
            let guarded = match route.role {
                Role::Public => handler,
                _ => handler.route_layer(from_fn_with_state((route, Arc::clone(&gate)), enter)),
            };
            router.route(route.path, guarded)
        })
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .with_state(state)
}

async fn unknown_route(method: Method, uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(200).collect();
    Refusal::unknown(format!("there is no route {method} {path}"))
        .with_reason(Reason::Route)
        .with_detail("routes", table())
}

/// The router adds the `Allow` header.
async fn unknown_method(method: Method, uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(200).collect();
    Refusal::http(
        StatusCode::METHOD_NOT_ALLOWED,
        &format!("{path} does not take {method}"),
    )
    .with_reason(Reason::Method)
}

/// The table as people write it, for whoever guessed wrong.
fn table() -> Vec<String> {
    ROUTES
        .iter()
        .map(|route| format!("{} {}", route.method, route.path))
        .collect()
}

/// A JSON answer.
fn json(value: &impl Serialize) -> Response {
    let mut text = Vec::with_capacity(512);
    serde_json::to_writer(&mut text, value).expect("answers have string keys and finite numbers");
    let mut response = Bytes::from(text).into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The longest name that can be one of a controller. Longer ones are refused here, so that they are not echoed.
const LONGEST_NAME: usize = 128;

/// The controller's name in the path.
fn name_in(path: Result<Path<String>, PathRejection>) -> Result<String, Refusal> {
    match path {
        Ok(Path(name)) if name.len() <= LONGEST_NAME => Ok(name),
        Ok(_) => Err(Refusal::unknown("no controller has a name that long")),
        Err(_) => Err(Refusal::unknown("the controller's name is not valid UTF-8")),
    }
}

/// Query parameters are closed sets: a misspelt `?version=` that pins nothing would be worse than an error.
fn bad_query(rejection: &QueryRejection) -> Refusal {
    let said: String = rejection.body_text().chars().take(300).collect();
    Refusal::http(StatusCode::BAD_REQUEST, "the query is not acceptable")
        .with_detail("constraint", "query")
        .with_detail("received", said)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// No route is there twice, and every one has a role that the table states.
    #[test]
    fn rows_are_distinct() {
        let distinct: HashSet<_> = ROUTES
            .iter()
            .map(|route| (&route.method, route.path))
            .collect();
        assert_eq!(distinct.len(), ROUTES.len());
    }
}
