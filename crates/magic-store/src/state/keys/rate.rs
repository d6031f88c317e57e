//! How often a key may be used.

use std::num::NonZeroU32;

use super::super::StateError;
use super::KeyError;

/// The most that a rate or its burst may be.
const FASTEST: u32 = 1_000_000;

/// For how many seconds of its rate a burst may stand: whoever counts may forget
/// a key that was not used for so long, because by then it has all of it again.
const LONGEST_BURST: u32 = 600;

/// How often a key may be used, on each node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRate {
    /// Requests in a second.
    pub per_second: NonZeroU32,
    /// Requests at once.
    pub burst: NonZeroU32,
}

impl KeyRate {
    /// A rate within the bounds; without a burst, twice the rate at once.
    ///
    /// # Errors
    ///
    /// [`KeyError::Invalid`], with the bounds.
    pub fn new(per_second: u32, burst: Option<u32>) -> Result<Self, KeyError> {
        let burst = burst.unwrap_or(per_second.saturating_mul(2).min(FASTEST));
        let fits = |number: u32| NonZeroU32::new(number).filter(|number| number.get() <= FASTEST);
        match (fits(per_second), fits(burst)) {
            (Some(per_second), Some(burst))
                if burst.get() <= per_second.get().saturating_mul(LONGEST_BURST) =>
            {
                Ok(Self { per_second, burst })
            }
            _ => Err(KeyError::Invalid(
                "a rate is 1 to 1,000,000 requests per second, and its burst 1 to 1,000,000 and at most 600 times the rate",
            )),
        }
    }

    /// As it is stored; nothing where there is none.
    pub(super) fn stored(
        per_second: Option<i64>,
        burst: Option<i64>,
    ) -> Result<Option<Self>, StateError> {
        let unreadable = || StateError::unreadable("the rate of an API key");
        let number = |number: i64| u32::try_from(number).map_err(|_| unreadable());
        let Some(per_second) = per_second else {
            return Ok(None);
        };
        let burst = burst.map(number).transpose()?;
        let rate = Self::new(number(per_second)?, burst);
        rate.map(Some).map_err(|_| unreadable())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is within the bounds is taken, and their neighbours are not.
    #[test]
    fn rates_have_bounds() {
        for (per_second, burst, expected) in [
            (1, None, Some((1, 2))),
            (20, None, Some((20, 40))),
            (20, Some(1), Some((20, 1))),
            (FASTEST, None, Some((FASTEST, FASTEST))),
            (FASTEST, Some(FASTEST), Some((FASTEST, FASTEST))),
            (1, Some(LONGEST_BURST), Some((1, LONGEST_BURST))),
            (0, None, None),
            (0, Some(1), None),
            (FASTEST + 1, None, None),
            (u32::MAX, None, None),
            (FASTEST, Some(FASTEST + 1), None),
            (1, Some(0), None),
            (1, Some(LONGEST_BURST + 1), None),
        ] {
            let rate = KeyRate::new(per_second, burst).ok();
            let found = rate.map(|rate| (rate.per_second.get(), rate.burst.get()));
            assert_eq!(found, expected, "{per_second} {burst:?}");
        }
    }
}
