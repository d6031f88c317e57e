//! `GET /api/health`: the process lives and answers. Says nothing about whether it can run anything; see `readyz`.

use axum::response::Response;
use serde::Serialize;

use super::json;

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
}

/// Always 200.
pub(super) async fn health() -> Response {
    json(&Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
    })
}
