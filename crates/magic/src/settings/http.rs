//! The `[http]` table of `magic.toml`: the limits of the HTTP side.
//!
//! They have no flags and no variables: whoever needs other limits than the defaults needs them at every start.

use std::num::NonZeroU32;
use std::time::Duration;

use magic_api::{ApiOptions, Rate};
use serde::{Deserialize, Deserializer, de::Error as _};

/// What the table may say. Sizes are bytes, times are text such as `30s` or `500ms`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpSettings {
    body_limit: Option<usize>,
    #[serde(default, deserialize_with = "time")]
    body_timeout: Option<Duration>,
    body_memory: Option<usize>,
    header_count: Option<usize>,
    header_bytes: Option<usize>,
    #[serde(default, deserialize_with = "time")]
    header_read_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "time")]
    idle_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "time")]
    write_stall_timeout: Option<Duration>,
    connections: Option<usize>,
    followers: Option<usize>,
    /// How many requests one caller may make in a second, and how many at once: twice as many, if not said.
    rate: Option<NonZeroU32>,
    burst: Option<NonZeroU32>,
    /// How many failed authentications of one source address are answered and recorded at once; one more each second.
    failed_attempts: Option<NonZeroU32>,
    #[serde(default, deserialize_with = "time")]
    drain_grace: Option<Duration>,
    #[serde(default, deserialize_with = "time")]
    linger: Option<Duration>,
}

const TWO: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

impl HttpSettings {
    /// The defaults with what the table says in their place.
    pub(crate) fn over(&self, defaults: ApiOptions) -> ApiOptions {
        ApiOptions {
            body_limit: self.body_limit.unwrap_or(defaults.body_limit),
            body_timeout: self.body_timeout.unwrap_or(defaults.body_timeout),
            body_memory: self.body_memory.unwrap_or(defaults.body_memory),
            header_count: self.header_count.unwrap_or(defaults.header_count),
            header_bytes: self.header_bytes.unwrap_or(defaults.header_bytes),
            header_read_timeout: self
                .header_read_timeout
                .unwrap_or(defaults.header_read_timeout),
            idle_timeout: self.idle_timeout.unwrap_or(defaults.idle_timeout),
            write_stall_timeout: self
                .write_stall_timeout
                .unwrap_or(defaults.write_stall_timeout),
            connections: self.connections.unwrap_or(defaults.connections),
            followers: self.followers.unwrap_or(defaults.followers),
            rate: self.rate.map(|per_second| Rate {
                per_second,
                burst: self.burst.unwrap_or_else(|| per_second.saturating_mul(TWO)),
            }),
            failed_attempts: self.failed_attempts.unwrap_or(defaults.failed_attempts),
            drain_grace: self.drain_grace.unwrap_or(defaults.drain_grace),
            linger: self.linger.unwrap_or(defaults.linger),
            ..defaults
        }
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let duration: Option<Duration> = text
        .parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|parsed| parsed.try_into().ok())
        .filter(|duration: &Duration| !duration.is_zero());
    match duration {
        Some(duration) => Ok(Some(duration)),
        None => Err(D::Error::custom(format!(
            "{text} is not a time: write it like 30s or 500ms"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said replaces the default, what is not stays.
    #[test]
    fn what_is_said_counts() {
        let settings: HttpSettings =
            toml::from_str("body_limit = 10\nidle_timeout = '250ms'\n").expect("a valid table");
        let options = settings.over(ApiOptions::default());
        assert_eq!(options.body_limit, 10);
        assert_eq!(options.idle_timeout, Duration::from_millis(250));
        assert_eq!(options.connections, ApiOptions::default().connections);
    }

    /// Mistakes say what to write.
    #[test]
    fn mistakes_say_what_to_write() {
        for (text, expected) in [
            ("idle_timeout = 'soon'", "write it like 30s"),
            ("idle_timeout = '0s'", "write it like 30s"),
            ("idle_timeout = '-1s'", "write it like 30s"),
            ("body_limits = 1", "body_limits"),
        ] {
            let error = toml::from_str::<HttpSettings>(text).expect_err(expected);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
