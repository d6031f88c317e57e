//! Amounts with units: memory, time and processor share, as people write them in a contract.
//!
//! All are read exactly, in whole units of the smallest kind (bytes, milliseconds, thousandths of a
//! core), because a limit that was rounded is a limit that nobody wrote.

use std::time::Duration;

/// Reads a size such as `64Mi`, `2Gi`, `512Ki` or a plain number of bytes.
///
/// Only binary units are taken: with `M` and `MB` half of the readers expect the other meaning.
pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
    let (digits, unit) = split_unit(text)?;
    let factor: u64 = match unit {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// Reads a time such as `30s`, `250ms` or `5m`. A plain number is refused: seconds and
/// milliseconds are too easily taken for each other.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let (digits, unit) = split_unit(text)?;
    let factor: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return None,
    };
    digits
        .parse::<u64>()
        .ok()?
        .checked_mul(factor)
        .map(Duration::from_millis)
}

/// Reads a number of cores such as `0.5`, `2` or `0.125` into thousandths.
pub(crate) fn parse_cores(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let all_digits =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) || whole.len() > 6 {
        return None;
    }
    let significant = fraction.trim_end_matches('0');
    if significant.len() > 3 {
        return None;
    }
    let thousandths: u32 = format!("{significant:0<3}").parse().ok()?;
    whole
        .parse::<u32>()
        .ok()?
        .checked_mul(1000)?
        .checked_add(thousandths)
}

/// Writes a size with the largest unit that divides it.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    for (unit, factor) in [("Gi", 1u64 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}

/// Writes a time with the largest unit that divides it.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds >= 60_000 && milliseconds.is_multiple_of(60_000) {
        format!("{}m", milliseconds / 60_000)
    } else if milliseconds >= 1000 && milliseconds.is_multiple_of(1000) {
        format!("{}s", milliseconds / 1000)
    } else {
        format!("{milliseconds}ms")
    }
}

/// Writes thousandths of a core as a decimal number of cores.
#[must_use]
pub fn format_cores(millicores: u32) -> String {
    let text = format!("{}.{:03}", millicores / 1000, millicores % 1000);
    let text = text.trim_end_matches('0');
    if text.ends_with('.') {
        format!("{text}0")
    } else {
        text.to_owned()
    }
}

fn split_unit(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written comes back the same.
    #[test]
    fn amounts_round_trip() {
        for text in ["32Mi", "2Gi", "512Ki", "7"] {
            assert_eq!(format_bytes(parse_bytes(text).unwrap()), text);
        }
        for text in ["10ms", "30s", "15m", "1500ms"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        for text in ["0.1", "2.0", "0.125", "1.5"] {
            assert_eq!(format_cores(parse_cores(text).unwrap()), text);
        }
        assert_eq!(parse_cores("0.5000"), Some(500));
        assert_eq!(parse_cores("2"), Some(2000));
    }

    /// Nothing is guessed.
    #[test]
    fn oddities_are_refused() {
        for text in [
            "",
            "Mi",
            "64M",
            "64MB",
            "64 Mi",
            "-1",
            "1.5Gi",
            "99999999999999999999",
            "18014398509481984Ki",
        ] {
            assert_eq!(parse_bytes(text), None, "{text:?}");
        }
        for text in [
            "",
            "30",
            "30 s",
            "1h",
            "1.5s",
            "-1s",
            "s",
            "18446744073709551615m",
        ] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
        for text in [
            "",
            ".5",
            "1.",
            "0.0001",
            "1e3",
            "-1",
            "+1",
            "half",
            "inf",
            "9999999999",
        ] {
            assert_eq!(parse_cores(text), None, "{text:?}");
        }
    }
}
