//! `GET /openapi.json`: this interface, with the deployed controllers that the caller may see.

use axum::extract::State;
use axum::response::Response;

use super::json;
use crate::auth::authorize::Authorized;
use crate::openapi;
use crate::refusal::Refusal;
use crate::state::ApiState;
use magic_contract::{ErrorCode, Failure, Reason};

/// The description, as it is now.
pub(super) async fn openapi(
    State(state): State<ApiState>,
    authorized: Authorized,
) -> Result<Response, Refusal> {
    let mut interfaces = state.runtime.interfaces();
    interfaces.retain(|one| authorized.check(&one.name).is_ok());
    // Schemas can be long, and many.
    let written = tokio::task::spawn_blocking(move || json(&openapi::document(&interfaces)));
    written.await.map_err(|error| {
        let failure = Failure::new(
            ErrorCode::ControllerFailed,
            "the description could not be written",
        );
        Refusal::of(
            failure
                .with_reason(Reason::Internal)
                .with_internal(error.to_string()),
        )
    })
}
