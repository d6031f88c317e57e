//! How often somebody may do something.
//!
//! A bucket for each name, kept in a map that holds so many and no more: when there is no room, the names that were not heard of
//! for longest are forgotten, which gives them a full bucket again and nobody anything that grows.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

/// How many names are remembered.
const MOST_NAMES: u64 = 10_000;

/// How long a name is remembered that is not heard of. Every bucket is full again by then.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// So many in a second, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How fast the bucket fills.
    pub per_second: NonZeroU32,
    /// How much it holds.
    pub burst: NonZeroU32,
}

/// Buckets by name. Each fills as fast as its name may go, which is told when it is taken from for the first time.
#[derive(Debug)]
pub(crate) struct Buckets<N: Hash + Eq + Send + Sync + 'static> {
    clock: DefaultClock,
    buckets: Cache<N, Arc<DefaultDirectRateLimiter>>,
}

impl<N: Hash + Eq + Send + Sync + 'static> Buckets<N> {
    pub(crate) fn new() -> Self {
        Self {
            clock: DefaultClock::default(),
            buckets: Cache::builder()
                .max_capacity(MOST_NAMES)
                .time_to_idle(FORGET_AFTER)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
        }
    }

    /// Takes one from the bucket of that name, which always has that rate.
    ///
    /// # Errors
    /// When it is empty: how long until there is one again.
    pub(crate) fn take(&self, name: N, rate: Rate) -> Result<(), Duration> {
        let bucket = self.buckets.get_with(name, || {
            let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
            Arc::new(RateLimiter::direct(quota))
        });
        bucket
            .check()
            .map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

/// Where a connection comes from, as a name: an address, of which the half that a single customer is given counts in IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SourceAddress(IpAddr);

impl From<IpAddr> for SourceAddress {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) & (u128::MAX << 64);
                IpAddr::V6(network.into())
            }
            v4 => v4,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32, burst: u32) -> Rate {
        Rate {
            per_second: NonZeroU32::new(per_second).expect("not zero"),
            burst: NonZeroU32::new(burst).expect("not zero"),
        }
    }

    /// A bucket holds what it holds, and another name has another one.
    #[test]
    fn names_have_buckets_of_their_own() {
        let buckets = Buckets::new();
        for _ in 0..3 {
            assert_eq!(buckets.take("ada", rate(1, 3)), Ok(()));
        }
        let wait = buckets.take("ada", rate(1, 3)).expect_err("it is empty");
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        // Another name has another one, of its own rate.
        for _ in 0..100 {
            assert_eq!(buckets.take("bob", rate(1, 100)), Ok(()));
        }
    }

    /// However many names there are, so many are kept.
    #[test]
    fn memory_is_bounded() {
        let buckets = Buckets::new();
        for name in 0..3 * MOST_NAMES {
            let _ = buckets.take(name, rate(1, 1));
        }
        buckets.buckets.run_pending_tasks();
        assert!(buckets.buckets.entry_count() <= MOST_NAMES);
    }

    /// Neighbours in one IPv6 network are one source, and an IPv4 address is one however it is written.
    #[test]
    fn sources() {
        let source = |text: &str| SourceAddress::from(text.parse::<IpAddr>().expect("an address"));
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    }
}
