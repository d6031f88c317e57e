//! Where a session gets its rights from, anew for every call.
//!
//! A policy can become stricter while a request runs, and the next call must see it. So a session
//! holds no grant: it asks for the current one when a call arrives and keeps that one until the call
//! has ended. A call that has begun is finished under the grant it began with.

use magic_contract::Grant;
use std::sync::Arc;

/// Something that knows what a controller version may do right now. Must not block.
pub trait GrantSource: Send + Sync {
    /// The grant under the policy of this moment.
    fn current(&self) -> Arc<Grant>;
}

/// Rights that never change.
impl GrantSource for Arc<Grant> {
    fn current(&self) -> Arc<Grant> {
        Arc::clone(self)
    }
}
