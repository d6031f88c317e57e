//! The clock, as the tables have it.

use jiff::Timestamp;

use super::StateError;

/// Milliseconds since the epoch.
pub(super) fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

/// The moment that a column holds.
pub(super) fn moment(milliseconds: i64) -> Result<Timestamp, StateError> {
    Timestamp::from_millisecond(milliseconds).map_err(|_| StateError::unreadable("a time"))
}

/// So long ago.
pub(super) fn before(duration: std::time::Duration) -> i64 {
    now().saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}
