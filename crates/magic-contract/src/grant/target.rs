//! What a capability call is about.

use std::fmt;

use crate::capability::{CapabilityKind, ResourceKind};
use crate::host::{Host, HostPattern, HostProblem};
use crate::name::{CacheKeyPattern, NameProblem, QueueName, SecretName, TableName};

/// One thing that a capability call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A table.
    Table(&'a str),
    /// A host in canonical form, and a port.
    Host(&'a Host, u16),
    /// The name of a secret.
    Secret(&'a str),
    /// A queue.
    Queue(&'a str),
    /// A key of the shared cache.
    CacheKey(&'a str),
}

impl Target<'_> {
    pub(super) fn kind(&self) -> ResourceKind {
        match self {
            Self::Table(_) => ResourceKind::Table,
            Self::Host(..) => ResourceKind::Host,
            Self::Secret(_) => ResourceKind::Secret,
            Self::Queue(_) => ResourceKind::Queue,
            Self::CacheKey(_) => ResourceKind::CacheKey,
        }
    }

    /// The target as rules compare it: a host always with its port.
    pub(crate) fn to_question(self) -> String {
        match self {
            Self::Host(host, port) => format!("{host}:{port}"),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(name) | Self::Secret(name) | Self::Queue(name) | Self::CacheKey(name) => {
                formatter.write_str(name)
            }
            Self::Host(host, 443) => host.fmt(formatter),
            Self::Host(host, port) => write!(formatter, "{host}:{port}"),
        }
    }
}

/// A target that a person wrote down, for explanations and tests of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedTarget {
    kind: ResourceKind,
    text: String,
    host: Option<(Host, u16)>,
}

/// The text is not a target of that kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetProblem {
    /// Not a host with an optional port.
    #[error("not a host: {0}")]
    Host(#[source] HostProblem),
    /// Not a name of its kind.
    #[error(transparent)]
    Name(#[from] NameProblem),
    /// A pattern, where one target is asked about.
    #[error("a single target is asked about, so it cannot contain `*`")]
    Pattern,
    /// The capability has none.
    #[error("`{0}` has no targets")]
    None(CapabilityKind),
}

impl NamedTarget {
    /// Reads one target of a capability: a name, or `host` or `host:port` (443 if not named).
    ///
    /// # Errors
    /// [`TargetProblem`], which says what is accepted.
    pub fn parse(capability: CapabilityKind, text: &str) -> Result<Self, TargetProblem> {
        let kind = capability
            .resource_kind()
            .ok_or(TargetProblem::None(capability))?;
        if text.contains('*') {
            return Err(TargetProblem::Pattern);
        }
        let host = match kind {
            ResourceKind::Table => text.parse::<TableName>().map(|_| None)?,
            ResourceKind::Secret => text.parse::<SecretName>().map(|_| None)?,
            ResourceKind::Queue => text.parse::<QueueName>().map(|_| None)?,
            ResourceKind::CacheKey => text.parse::<CacheKeyPattern>().map(|_| None)?,
            ResourceKind::Host => Some(read_host(text).map_err(TargetProblem::Host)?),
        };
        Ok(Self {
            kind,
            text: text.to_owned(),
            host,
        })
    }

    pub(crate) fn to_question(&self) -> String {
        self.as_target().to_question()
    }

    /// The target as calls name it.
    #[must_use]
    pub fn as_target(&self) -> Target<'_> {
        match (&self.host, self.kind) {
            (Some((host, port)), _) => Target::Host(host, *port),
            (None, ResourceKind::Table) => Target::Table(&self.text),
            (None, ResourceKind::Secret) => Target::Secret(&self.text),
            (None, ResourceKind::Queue) => Target::Queue(&self.text),
            // Hosts are never without their host, so what is left is a key.
            (None, ResourceKind::CacheKey | ResourceKind::Host) => Target::CacheKey(&self.text),
        }
    }
}

impl fmt::Display for NamedTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_target().fmt(formatter)
    }
}

fn read_host(text: &str) -> Result<(Host, u16), HostProblem> {
    let pattern = HostPattern::parse(text)?;
    let host = match text.rsplit_once(':') {
        Some((host, _)) if pattern.names_port() => host,
        _ => text,
    };
    Ok((Host::parse(host)?, pattern.port()))
}
