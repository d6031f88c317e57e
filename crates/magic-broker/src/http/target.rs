//! Where a request goes: a URL that two readers understand alike.
//!
//! URLs are where an allow list usually breaks: one parser judges, another dials, and a backslash,
//! an at sign or a tab makes them see different hosts. Here the text is checked before anything
//! parses it, and whatever a lenient parser would repair is refused. The host is read by
//! [`Host::parse`] out of the raw text; the `url` crate reads the whole, for the path and for
//! resolving redirects, and if it sees another host, port or scheme, the URL is refused as well.
//! The one [`Host`] is then what is compared, resolved, named to TLS and written into the request.

use magic_contract::{Host, HostProblem};
use std::fmt;
use url::{Position, Url};

/// The longest URL, in bytes. Servers in the field take about as much.
const LONGEST: usize = 8 * 1024;

/// Why a text is no URL to send a request to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetProblem {
    /// More bytes than are taken.
    #[error("a URL has at most {LONGEST} bytes")]
    TooLong,
    /// Whitespace, control characters or a backslash.
    #[error("a URL has no whitespace, control characters or backslashes; percent-encode them")]
    Character,
    /// Another scheme, or none, or in other letters.
    #[error("a URL begins with `https://` or `http://`")]
    Scheme,
    /// A user or password before the host.
    #[error("a URL names no user; send credentials in a header")]
    User,
    /// Percent-encoding or characters beyond ASCII in the host.
    #[error("the host of a URL is plain ASCII, international names as punycode")]
    Encoded,
    /// The host is not in its one spelling.
    #[error(transparent)]
    Host(#[from] HostProblem),
    /// The rest of the URL cannot be read, or is read differently by a second parser.
    #[error("the URL is ambiguous: two readers understand it differently")]
    Ambiguous,
}

/// A checked URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressTarget {
    tls: bool,
    host: Host,
    port: u16,
    url: Url,
}

impl EgressTarget {
    /// Reads an absolute URL.
    ///
    /// # Errors
    /// [`TargetProblem`]; nothing is repaired.
    pub fn parse(text: &str) -> Result<Self, TargetProblem> {
        check_characters(text)?;
        let (tls, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else {
            return Err(TargetProblem::Scheme);
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let authority = &rest[..end];
        if authority.contains('@') {
            return Err(TargetProblem::User);
        }
        if authority.contains('%') || !authority.is_ascii() {
            return Err(TargetProblem::Encoded);
        }
        let (host, port) = split_port(authority)?;
        let host = Host::parse(host)?;
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        let mut url = Url::parse(text).map_err(|_| TargetProblem::Ambiguous)?;
        url.set_fragment(None);
        let target = Self {
            tls,
            host,
            port,
            url,
        };
        if target.is_what_the_other_reader_sees() {
            Ok(target)
        } else {
            Err(TargetProblem::Ambiguous)
        }
    }

    /// Resolves a `Location` against this target (RFC 3986, section 5.2).
    ///
    /// # Errors
    /// [`TargetProblem`], as for a URL of a controller.
    pub fn resolve(&self, location: &str) -> Result<Self, TargetProblem> {
        check_characters(location)?;
        if has_scheme(location) {
            return Self::parse(location);
        }
        if location.starts_with("//") {
            return Self::parse(&format!("{}:{location}", self.scheme()));
        }
        let joined = self
            .url
            .join(location)
            .map_err(|_| TargetProblem::Ambiguous)?;
        let target = Self::parse(joined.as_str())?;
        // A relative reference has no authority, so it cannot lead elsewhere.
        if target.has_origin_of(self) {
            Ok(target)
        } else {
            Err(TargetProblem::Ambiguous)
        }
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, named or meant by the scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the scheme is https.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The whole URL, without a fragment.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// Whether scheme, host and port are the same: credentials stay within an origin.
    #[must_use]
    pub fn has_origin_of(&self, other: &Self) -> bool {
        self.tls == other.tls && self.port == other.port && self.host == other.host
    }

    /// Path and query, as a request line carries them.
    pub(crate) fn origin_form(&self) -> &str {
        &self.url[Position::BeforePath..Position::AfterQuery]
    }

    /// The value of the `Host` header (RFC 9110, section 7.2).
    pub(crate) fn host_header(&self) -> String {
        if self.port == if self.tls { 443 } else { 80 } {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    fn is_what_the_other_reader_sees(&self) -> bool {
        let same_host = match (self.url.host(), &self.host) {
            (Some(url::Host::Domain(theirs)), Host::Name(ours)) => theirs == ours.as_str(),
            (Some(url::Host::Ipv4(theirs)), Host::Address(ours)) => *ours == theirs,
            (Some(url::Host::Ipv6(theirs)), Host::Address(ours)) => *ours == theirs,
            _ => false,
        };
        same_host
            && self.url.scheme() == self.scheme()
            && self.url.port_or_known_default() == Some(self.port)
            && self.url.username().is_empty()
            && self.url.password().is_none()
    }
}

impl fmt::Display for EgressTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

fn check_characters(text: &str) -> Result<(), TargetProblem> {
    if text.len() > LONGEST {
        return Err(TargetProblem::TooLong);
    }
    let unfit = |one: char| one.is_whitespace() || one.is_control() || one == '\\';
    if text.contains(unfit) {
        return Err(TargetProblem::Character);
    }
    Ok(())
}

/// Whether a reference begins with a scheme (RFC 3986, section 3.1) and so is absolute.
fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else {
        return false;
    };
    scheme.starts_with(|one: char| one.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), HostProblem> {
    // The colons of an IPv6 address lie within its brackets.
    let after_address = authority.rfind(']').map_or(0, |end| end + 1);
    let Some(colon) = authority[after_address..].find(':') else {
        return Ok((authority, None));
    };
    let (host, port) = authority.split_at(after_address + colon);
    let digits = &port[1..];
    let plain = !digits.is_empty()
        && !digits.starts_with('0')
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(port) if plain => Ok((host, Some(port))),
        _ => Err(HostProblem::Port),
    }
}

#[cfg(test)]
mod tests;
