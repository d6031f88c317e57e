//! How many answers had which status.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;

/// The statuses that this interface answers with. Any other is counted as the last one.
const STATUSES: [u16; 18] = [
    200, 201, 204, 304, 400, 401, 403, 404, 405, 408, 413, 415, 421, 429, 431, 503, 507, 500,
];

/// Counts answers; clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answered(Arc<[AtomicU64; STATUSES.len()]>);

impl Answered {
    /// One more.
    pub(crate) fn count(&self, status: StatusCode) {
        let place = STATUSES.iter().position(|one| *one == status.as_u16());
        self.0[place.unwrap_or(STATUSES.len() - 1)].fetch_add(1, Ordering::Relaxed);
    }

    /// The statuses that there were.
    pub(crate) fn read(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        STATUSES
            .into_iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
    }
}
