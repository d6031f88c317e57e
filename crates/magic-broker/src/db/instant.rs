//! Dates and times as text: read strictly, written in one fixed width.
//!
//! ISO 8601 allows the same moment to be written in many ways. Here each is written in one: dates
//! in ten characters, times in microseconds, points in time in UTC. In SQLite, where they are
//! stored as text, comparing the text then compares the times.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

/// A date and time, with or without an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Datetime {
    /// Without: a reading of some clock.
    Local(DateTime),
    /// With: a point in time, in UTC.
    Universal(DateTime),
}

/// Reads `2026-01-01`.
pub(crate) fn date(text: &str) -> Option<Date> {
    let shape = text.len() == 10
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-');
    if !shape {
        return None;
    }
    text.parse().ok().filter(|date: &Date| date.year() > 0)
}

/// Reads `10:00`, `10:00:00` and `10:00:00.000001`.
pub(crate) fn time(text: &str) -> Option<Time> {
    let shape = (5..=18).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'))
        && text.as_bytes()[2] == b':';
    if !shape {
        return None;
    }
    text.parse().ok()
}

/// Reads a date and a time, joined by `T` or a space, with `Z` or an offset or without either.
pub(crate) fn datetime(text: &str) -> Option<Datetime> {
    let (day, rest) = text.split_at_checked(10)?;
    let day = date(day)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, offset) = match rest.find(['Z', 'z', '+', '-']) {
        Some(at) => (&rest[..at], Some(&rest[at..])),
        None => (rest, None),
    };
    let local = day.to_datetime(time(clock)?);
    let Some(offset) = offset else {
        return Some(Datetime::Local(local));
    };
    if offset.len() > 9
        || !offset
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'Z' | b'z' | b'+' | b'-' | b':'))
    {
        return None;
    }
    // A day has 24 hours; an offset of more is a slip.
    if offset.len() > 1
        && offset
            .get(1..3)?
            .parse::<u8>()
            .is_ok_and(|hours| hours >= 24)
    {
        return None;
    }
    let instant: Timestamp = format!("{local}{offset}").parse().ok()?;
    let universal = TimeZone::UTC.to_datetime(instant);
    (universal.year() > 0).then_some(Datetime::Universal(universal))
}

/// Writes a date.
pub(crate) fn date_text(date: Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
}

/// Writes a time of day.
pub(crate) fn time_text(time: Time) -> String {
    format!(
        "{:02}:{:02}:{:02}.{:06}",
        time.hour(),
        time.minute(),
        time.second(),
        time.subsec_nanosecond() / 1_000
    )
}

/// Writes a date and time; one in UTC says so.
pub(crate) fn datetime_text(datetime: Datetime) -> String {
    let (local, offset) = match datetime {
        Datetime::Local(local) => (local, ""),
        Datetime::Universal(universal) => (universal, "+00:00"),
    };
    format!(
        "{}T{}{offset}",
        date_text(local.date()),
        time_text(local.time())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_writing_becomes_one() {
        for (written, text) in [
            (
                "2026-01-01T10:00:00.000001+00:00",
                Some("2026-01-01T10:00:00.000001+00:00"),
            ),
            (
                "2026-01-01 10:00:00Z",
                Some("2026-01-01T10:00:00.000000+00:00"),
            ),
            (
                "2026-01-01T00:30:00+02:00",
                Some("2025-12-31T22:30:00.000000+00:00"),
            ),
            ("2026-01-01T10:00", Some("2026-01-01T10:00:00.000000")),
            ("2026-01-01 10:00:00.5", Some("2026-01-01T10:00:00.500000")),
            ("0001-01-01T00:00:00+01:00", None),
            ("2026-01-01", None),
            ("2026-02-30T10:00:00", None),
            ("2026-01-01T10:00:00[Europe/Berlin]", None),
            ("2026-01-01T10:00:00+25:00", None),
            ("2026-01-01T10:00:00-", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(
                datetime(written).map(datetime_text).as_deref(),
                text,
                "{written}"
            );
        }
        assert_eq!(
            time("10:00:00.000001").map(time_text).as_deref(),
            Some("10:00:00.000001")
        );
        assert_eq!(time("25:00:00"), None);
        assert_eq!(
            date("2024-02-29").map(date_text).as_deref(),
            Some("2024-02-29")
        );
        assert_eq!(date("2026-2-2"), None);
    }
}
