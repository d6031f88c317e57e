//! Patterns of a policy: exact text, one star at either end, or a host as contracts write it.

use std::fmt;

use crate::host::HostPattern;

/// Exact text, `prefix*`, `*suffix`, or `*` for everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TextPattern {
    Everything,
    Exact(String),
    Prefix(String),
    Suffix(String),
}

impl TextPattern {
    /// Reads a pattern; a star in the middle, two stars or no text at all give nothing.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let pattern = match (text.strip_suffix('*'), text.strip_prefix('*')) {
            _ if text.is_empty() => return None,
            _ if text == "*" => return Some(Self::Everything),
            (Some(prefix), _) => Self::Prefix(prefix.to_owned()),
            (None, Some(suffix)) => Self::Suffix(suffix.to_owned()),
            (None, None) => Self::Exact(text.to_owned()),
        };
        let (Self::Exact(fixed) | Self::Prefix(fixed) | Self::Suffix(fixed)) = &pattern else {
            return Some(pattern);
        };
        let clean = !fixed.contains('*') && !fixed.chars().any(char::is_control);
        clean.then_some(pattern)
    }

    pub(crate) fn covers(&self, text: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Exact(fixed) => fixed == text,
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
        }
    }

    /// Whether everything that the other pattern covers is covered too.
    pub(super) fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everything, _) => true,
            (pattern, Self::Exact(fixed)) => pattern.covers(fixed),
            (Self::Prefix(large), Self::Prefix(small)) => small.starts_with(large),
            (Self::Suffix(large), Self::Suffix(small)) => small.ends_with(large),
            _ => false,
        }
    }

    /// Whether everything that a contract's entry (exact, or with a star at its end) stands for is
    /// covered.
    fn contains(&self, entry: &str) -> bool {
        match (self, entry.strip_suffix('*')) {
            (Self::Everything, _) => true,
            (pattern, None) => pattern.covers(entry),
            (Self::Prefix(prefix), Some(stem)) => stem.starts_with(prefix),
            (Self::Exact(_) | Self::Suffix(_), Some(_)) => false,
        }
    }

    /// Whether anything that a contract's entry stands for is covered.
    fn overlaps(&self, entry: &str) -> bool {
        match (self, entry.strip_suffix('*')) {
            (pattern, None) => pattern.covers(entry),
            (Self::Everything | Self::Suffix(_), Some(_)) => true,
            (Self::Exact(fixed), Some(stem)) => fixed.starts_with(stem),
            (Self::Prefix(prefix), Some(stem)) => {
                prefix.starts_with(stem) || stem.starts_with(prefix)
            }
        }
    }
}

impl fmt::Display for TextPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => formatter.write_str("*"),
            Self::Exact(fixed) => formatter.write_str(fixed),
            Self::Prefix(prefix) => write!(formatter, "{prefix}*"),
            Self::Suffix(suffix) => write!(formatter, "*{suffix}"),
        }
    }
}

/// What a rule says about the targets of a capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ResourcePattern {
    /// For tables, queues, secrets and cache keys.
    Text(TextPattern),
    /// For hosts: compared label by label, never as text.
    Host(HostPattern),
    /// Every host and port.
    AnyHost,
}

impl ResourcePattern {
    /// Whether everything that the other pattern covers is covered too.
    pub(super) fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(pattern), Self::Text(other)) => pattern.includes(other),
            (Self::AnyHost, Self::AnyHost | Self::Host(_)) => true,
            (Self::Host(pattern), Self::Host(other)) => pattern.contains(other),
            _ => false,
        }
    }

    /// Whether everything that this entry of a contract stands for is covered.
    pub(crate) fn contains(&self, entry: &str) -> bool {
        match self {
            Self::Text(pattern) => pattern.contains(entry),
            Self::AnyHost => true,
            Self::Host(pattern) => {
                HostPattern::parse(entry).is_ok_and(|entry| pattern.contains(&entry))
            }
        }
    }

    /// Whether anything that this entry of a contract stands for is covered.
    pub(crate) fn overlaps(&self, entry: &str) -> bool {
        match self {
            Self::Text(pattern) => pattern.overlaps(entry),
            Self::AnyHost => true,
            Self::Host(pattern) => HostPattern::parse(entry)
                .is_ok_and(|entry| pattern.contains(&entry) || entry.contains(pattern)),
        }
    }
}

impl fmt::Display for ResourcePattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(pattern) => pattern.fmt(formatter),
            Self::Host(pattern) => pattern.fmt(formatter),
            Self::AnyHost => formatter.write_str("*"),
        }
    }
}
