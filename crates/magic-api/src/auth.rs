//! Who asks, and what they may do.
//!
//! Two questions that are kept apart. *Authentication* ([`Authenticator`]) makes of a request's head and its connection a
//! [`Caller`], or says why not; it knows nothing of routes. *Authorization* ([`authorize`]) holds that caller against the row of
//! the route table that the request has matched. It never looks at the raw path: a filter that compares path texts and a router
//! that reads them differently have let strangers in elsewhere.
//!
//! The chain is made of types. A handler can ask for an `Authorized`, which only `authorize` can make, and the router puts that
//! check around every row that is not public when it is built; a row that nobody thought about is one that nobody gets through.
//!
//! Every secret here is either 256 random bits or refused at the start in production when it is short, so a fast hash and a
//! comparison in constant time are enough; what is worth limiting is not guesses but the work and the records that they cause.

pub(crate) mod allowlist;
pub(crate) mod authenticator;
pub(crate) mod authorize;
pub(crate) mod caller;
pub(crate) mod credentials;
pub(crate) mod failure;
pub(crate) mod key_ring;
pub(crate) mod key_set;
pub(crate) mod rate;
pub(crate) mod role;
mod signatures;
pub(crate) mod token;
