//! One spelling per host: the form in which hosts are listed, compared and dialled.
//!
//! Allow lists fail when the text that was compared and the text that was dialled differ by a
//! trailing dot, a capital letter, a full-width dot or an at sign. So there is one canonical form:
//! lower-case ASCII labels (international names as valid punycode), no trailing dot, and an address
//! only in the one notation that its parser prints. [`Host`] is made by [`Host::parse`] alone; the
//! broker compares a `Host` with a list of [`HostPattern`]s and then dials *that same* `Host`.
//!
//! A pattern may carry a wildcard for the whole leftmost label, and then at least two labels must
//! follow, so that nobody writes `*.com` and means it. There is no list of public suffixes here:
//! `*.co.uk` passes this module, and a policy rule is where an operator refuses it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Serialize, Serializer};

/// The longest name of the domain name system, in its text form (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 253;
/// The longest label (RFC 1035, section 2.3.4).
const LONGEST_LABEL: usize = 63;
/// The port when none is named: https.
const DEFAULT_PORT: u16 = 443;

/// Why a text is not a host, or not a pattern for hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostProblem {
    /// Nothing is there.
    #[error("a host cannot be empty")]
    Empty,
    /// A scheme, path, user or query was written with the host.
    #[error("only a host and an optional port belong here, without scheme, path or user")]
    NotOnlyHost,
    /// A character that no host name has.
    #[error("a host name has lower-case ASCII letters, digits, hyphens and dots only")]
    Character,
    /// A capital letter.
    #[error("host names are written in lower case")]
    Capital,
    /// A dot at the end.
    #[error("a host name is written without a dot at its end")]
    TrailingDot,
    /// Two dots in a row, or a dot at the start.
    #[error("a host name cannot have an empty label")]
    EmptyLabel,
    /// A hyphen at either end of a label, or at its third and fourth place without being punycode.
    #[error(
        "a label of a host name cannot start or end with a hyphen, nor have hyphens in third and fourth place unless it is punycode"
    )]
    Hyphen,
    /// A label that says it is punycode and is not, or is not its canonical form.
    #[error("a label that starts with `xn--` must be valid punycode of a name that needs it")]
    Punycode,
    /// More than 253 characters, or a label of more than 63.
    #[error("a host name has at most 253 characters, and each label at most 63")]
    TooLong,
    /// An address in a spelling other than the canonical one.
    #[error("an IP address is written in its canonical form, IPv6 in brackets")]
    Address,
    /// A wildcard anywhere but in place of the whole leftmost label before two more labels.
    #[error(
        "`*` may only stand for the whole leftmost label, with at least two labels after it, such as `*.example.org`"
    )]
    Wildcard,
    /// A port that is not a number from 1 to 65535 without leading zeros.
    #[error("a port is a number from 1 to 65535")]
    Port,
}

/// One host in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A name to be resolved.
    Name(HostName),
    /// An address.
    Address(IpAddr),
}

/// A canonical host name; only [`Host::parse`] makes one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(String);

impl HostName {
    /// The name, lower case, without a dot at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Host {
    /// Reads a host in its canonical form and no other.
    ///
    /// # Errors
    /// A [`HostProblem`] that says which rule is broken. Nothing is repaired: what a lenient parser
    /// would silently change is exactly what lets two parsers disagree.
    pub fn parse(text: &str) -> Result<Self, HostProblem> {
        if text.is_empty() {
            return Err(HostProblem::Empty);
        }
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(HostProblem::Address)?;
            let address: Ipv6Addr = inner.parse().map_err(|_| HostProblem::Address)?;
            // A zone, capital letters or an uncompressed run would be a second spelling.
            return if address.to_string() == inner {
                Ok(Self::Address(IpAddr::V6(address)))
            } else {
                Err(HostProblem::Address)
            };
        }
        check_name(text)?;
        if last_label_is_numeric(text) {
            // `127.1`, `0x7f.1` and `2130706433` are addresses to some resolvers (the URL standard
            // reads every name whose last label is a number as IPv4), so only four plain decimal
            // parts are taken, and a name can never end in a number.
            let address: Ipv4Addr = text.parse().map_err(|_| HostProblem::Address)?;
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        Ok(Self::Name(HostName(text.to_owned())))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(&name.0),
            Self::Address(IpAddr::V4(address)) => address.fmt(formatter),
            Self::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]"),
        }
    }
}

/// One entry of an allow list: a host or a wildcard, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPattern {
    host: PatternHost,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum PatternHost {
    Exact(Host),
    /// The part after `*.`; it covers names with exactly one label more.
    Below(HostName),
}

impl HostPattern {
    /// Reads `host`, `host:port`, `*.host` or `*.host:port`.
    ///
    /// # Errors
    /// A [`HostProblem`] that says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, HostProblem> {
        if text.is_empty() {
            return Err(HostProblem::Empty);
        }
        if text.contains(['/', '@', '?', '#', '\\']) {
            return Err(HostProblem::NotOnlyHost);
        }
        let (host, port) = split_port(text)?;
        let host = match host.strip_prefix("*.") {
            Some(rest) => match Host::parse(rest) {
                Ok(Host::Name(name)) if name.0.contains('.') => PatternHost::Below(name),
                Ok(_) => return Err(HostProblem::Wildcard),
                Err(_) if rest.contains('*') => return Err(HostProblem::Wildcard),
                Err(problem) => return Err(problem),
            },
            None if host.contains('*') => return Err(HostProblem::Wildcard),
            None => PatternHost::Exact(Host::parse(host)?),
        };
        Ok(Self { host, port })
    }

    /// Whether the pattern covers this host and port. Without a port of its own it means 443.
    #[must_use]
    pub fn covers(&self, host: &Host, port: u16) -> bool {
        self.port() == port && self.covers_host(host)
    }

    /// Whether the pattern covers this host, whatever the port.
    #[must_use]
    pub fn covers_host(&self, host: &Host) -> bool {
        match (&self.host, host) {
            (PatternHost::Exact(listed), host) => listed == host,
            (PatternHost::Below(parent), Host::Name(name)) => name
                .0
                .split_once('.')
                .is_some_and(|(_, rest)| rest == parent.0),
            (PatternHost::Below(_), Host::Address(_)) => false,
        }
    }

    /// The port that the pattern means.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(DEFAULT_PORT)
    }

    /// Whether a port was named. Plain http is possible only then.
    #[must_use]
    pub fn names_port(&self) -> bool {
        self.port.is_some()
    }

    /// Whether everything that `other` covers is covered by this pattern too.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.port() == other.port()
            && match (&self.host, &other.host) {
                (_, PatternHost::Exact(host)) => self.covers_host(host),
                (PatternHost::Below(mine), PatternHost::Below(theirs)) => mine == theirs,
                (PatternHost::Exact(_), PatternHost::Below(_)) => false,
            }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            PatternHost::Exact(host) => host.fmt(formatter)?,
            PatternHost::Below(parent) => write!(formatter, "*.{}", parent.0)?,
        }
        match self.port {
            Some(port) => write!(formatter, ":{port}"),
            None => Ok(()),
        }
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), HostProblem> {
    let (host, port) = if text.starts_with('[') {
        let end = text.find(']').ok_or(HostProblem::Address)?;
        let (host, rest) = text.split_at(end + 1);
        match rest.strip_prefix(':') {
            Some(port) => (host, port),
            None if rest.is_empty() => return Ok((host, None)),
            None => return Err(HostProblem::Address),
        }
    } else {
        match text.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err(HostProblem::Address),
            Some(parts) => parts,
            None => return Ok((text, None)),
        }
    };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || port.starts_with('0') {
        return Err(HostProblem::Port);
    }
    port.parse()
        .map(|port| (host, Some(port)))
        .map_err(|_| HostProblem::Port)
}

fn check_name(text: &str) -> Result<(), HostProblem> {
    if text.contains(['/', '@', '?', '#', '\\', ':']) {
        return Err(HostProblem::NotOnlyHost);
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(HostProblem::Capital);
    }
    let plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
    };
    if !text.bytes().all(plain) {
        return Err(HostProblem::Character);
    }
    if text.len() > 1 && text.ends_with('.') {
        return Err(HostProblem::TrailingDot);
    }
    if text.len() > LONGEST_NAME {
        return Err(HostProblem::TooLong);
    }
    text.split('.').try_for_each(check_label)
}

fn check_label(label: &str) -> Result<(), HostProblem> {
    if label.is_empty() {
        return Err(HostProblem::EmptyLabel);
    }
    if label.len() > LONGEST_LABEL {
        return Err(HostProblem::TooLong);
    }
    match label.strip_prefix("xn--") {
        Some(encoded) if punycode::is_canonical(encoded) => Ok(()),
        Some(_) => Err(HostProblem::Punycode),
        None if label.as_bytes().get(2..4) == Some(b"--") => Err(HostProblem::Hyphen),
        None if label.starts_with('-') || label.ends_with('-') => Err(HostProblem::Hyphen),
        None => Ok(()),
    }
}

fn last_label_is_numeric(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or(text);
    let hexadecimal = last
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    last.bytes().all(|byte| byte.is_ascii_digit()) || hexadecimal
}

mod punycode;

#[cfg(test)]
mod tests;
