//! The one place that gives an error code its HTTP status.
//!
//! The match is exhaustive on purpose: a new code does not compile until somebody decided how it looks from outside.

use hyper::StatusCode;
use magic_contract::ErrorCode;

/// The status that a code is answered with, unless the HTTP layer itself refuses (see [`crate::refusal::Refusal::http`]).
pub(crate) fn status_of(code: ErrorCode) -> StatusCode {
    use ErrorCode as Code;
    match code {
        Code::InvalidContract
        | Code::MissingSection
        | Code::InvalidInput
        | Code::UnacceptableBody
        | Code::UnsupportedSchema
        | Code::InvalidBundle
        | Code::DoesNotLoad
        | Code::VersionConflict => StatusCode::BAD_REQUEST,
        Code::CapabilityUndeclared
        | Code::CapabilityDenied
        | Code::TargetNotAllowed
        | Code::BudgetExceeded
        | Code::SandboxViolation
        | Code::RoleInsufficient
        | Code::OutOfScope => StatusCode::FORBIDDEN,
        Code::Timeout
        | Code::MemoryExceeded
        | Code::ControllerFailed
        | Code::InvalidOutput
        | Code::DeploymentFailed => StatusCode::INTERNAL_SERVER_ERROR,
        Code::NoCapacity => StatusCode::TOO_MANY_REQUESTS,
        Code::UnknownController => StatusCode::NOT_FOUND,
        Code::CredentialsMissing | Code::CredentialsInvalid | Code::CredentialsExpired => {
            StatusCode::UNAUTHORIZED
        }
    }
}

#[cfg(test)]
mod tests;
