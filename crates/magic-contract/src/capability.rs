//! What a controller may ask the runtime to do for it: the closed list of capabilities.
//!
//! A capability that is written *bare* (`- db:read`) means what the policy's default for the
//! environment allows; one with a list means that list and nothing else. The difference is kept as
//! `Option`, never as an empty list: an empty list would read as "nothing" to one half of the code
//! and as "everything" to the other, so the reader of contracts refuses it.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::host::HostPattern;
use crate::name::{CacheKeyPattern, QueueName, SecretName, TableName};
use crate::quantity::format_bytes;

/// The kinds of capability, in the order in which they are listed to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CapabilityKind {
    /// Read rows of tables.
    DbRead,
    /// Insert, update and delete rows of tables.
    DbWrite,
    /// Run SQL text as it is.
    DbRawsql,
    /// Send HTTP requests.
    HttpEgress,
    /// Read secrets.
    SecretsRead,
    /// Publish messages.
    QueuePublish,
    /// Receive messages.
    QueueSubscribe,
    /// Read the cache.
    CacheRead,
    /// Write the cache.
    CacheWrite,
    /// A directory for temporary files.
    FsTemp,
}

/// What the targets of a capability are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// Tables of a database.
    Table,
    /// Hosts on the network.
    Host,
    /// Names of secrets.
    Secret,
    /// Message queues.
    Queue,
    /// Keys of the cache.
    CacheKey,
}

impl CapabilityKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::DbRead,
        Self::DbWrite,
        Self::DbRawsql,
        Self::HttpEgress,
        Self::SecretsRead,
        Self::QueuePublish,
        Self::QueueSubscribe,
        Self::CacheRead,
        Self::CacheWrite,
        Self::FsTemp,
    ];

    /// The spelling used in contracts, policies and audit records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DbRead => "db:read",
            Self::DbWrite => "db:write",
            Self::DbRawsql => "db:rawsql",
            Self::HttpEgress => "http:egress",
            Self::SecretsRead => "secrets:read",
            Self::QueuePublish => "queue:publish",
            Self::QueueSubscribe => "queue:subscribe",
            Self::CacheRead => "cache:read",
            Self::CacheWrite => "cache:write",
            Self::FsTemp => "fs:temp",
        }
    }

    /// What a contract can list for this kind, if anything.
    #[must_use]
    pub const fn resource_kind(self) -> Option<ResourceKind> {
        match self {
            Self::DbRead | Self::DbWrite => Some(ResourceKind::Table),
            Self::HttpEgress => Some(ResourceKind::Host),
            Self::SecretsRead => Some(ResourceKind::Secret),
            Self::QueuePublish | Self::QueueSubscribe => Some(ResourceKind::Queue),
            Self::CacheRead | Self::CacheWrite => Some(ResourceKind::CacheKey),
            Self::DbRawsql | Self::FsTemp => None,
        }
    }

    /// A contract line that lists targets for this kind, as an example to write.
    #[must_use]
    pub const fn example_line(self) -> &'static str {
        match self {
            Self::DbRead => "- db:read: { tables: [customers] }",
            Self::DbWrite => "- db:write: { tables: [customers], max_rows: 100 }",
            Self::DbRawsql => "- db:rawsql",
            Self::HttpEgress => "- http:egress: { allow: [api.example.org], methods: [GET] }",
            Self::SecretsRead => "- secrets:read: { keys: [API_KEY] }",
            Self::QueuePublish => "- queue:publish: { queues: [invoices] }",
            Self::QueueSubscribe => "- queue:subscribe: { queues: [invoices] }",
            Self::CacheRead => "- cache:read: { keys: [\"rates:*\"] }",
            Self::CacheWrite => "- cache:write: { keys: [\"rates:*\"] }",
            Self::FsTemp => "- fs:temp: { size: 16Mi }",
        }
    }
}

impl ResourceKind {
    /// The key of the contract's list: `tables`, `allow`, `keys` or `queues`.
    #[must_use]
    pub const fn list_key(self) -> &'static str {
        match self {
            Self::Table => "tables",
            Self::Host => "allow",
            Self::Secret | Self::CacheKey => "keys",
            Self::Queue => "queues",
        }
    }

    /// One of them, in words.
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Host => "host",
            Self::Secret => "secret",
            Self::Queue => "queue",
            Self::CacheKey => "cache key",
        }
    }
}

impl fmt::Display for CapabilityKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for CapabilityKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The text is not the name of a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a capability")]
pub struct UnknownCapability;

impl FromStr for CapabilityKind {
    type Err = UnknownCapability;

    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.as_str() == text)
            .ok_or(UnknownCapability)
    }
}

/// The HTTP methods that egress knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of the protocol")]
pub enum HttpMethod {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl HttpMethod {
    /// Every method.
    pub const ALL: &'static [Self] = &[
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Patch,
        Self::Delete,
        Self::Options,
    ];

    /// The method's name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }
}

/// One capability as the contract declares it. A list is never empty; `None` means bare.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Capability {
    /// `db:read`
    DbRead {
        /// The tables that may be read.
        tables: Option<Vec<TableName>>,
    },
    /// `db:write`
    DbWrite {
        /// The tables that may be written.
        tables: Option<Vec<TableName>>,
        /// How many rows one request may change.
        max_rows: Option<NonZeroU32>,
    },
    /// `db:rawsql`
    DbRawsql,
    /// `http:egress`
    HttpEgress {
        /// The hosts that may be called.
        allow: Option<Vec<HostPattern>>,
        /// The methods that may be used; all when not given.
        methods: Option<Vec<HttpMethod>>,
    },
    /// `secrets:read`
    SecretsRead {
        /// The secrets that may be read.
        keys: Option<Vec<SecretName>>,
        /// The only hosts that the secrets may be sent to.
        only_for: Option<Vec<HostPattern>>,
    },
    /// `queue:publish`
    QueuePublish {
        /// The queues that may be published to.
        queues: Option<Vec<QueueName>>,
    },
    /// `queue:subscribe`
    QueueSubscribe {
        /// The queues that may be received from.
        queues: Option<Vec<QueueName>>,
    },
    /// `cache:read`
    CacheRead {
        /// The shared keys that may be read; bare means the controller's private key space.
        keys: Option<Vec<CacheKeyPattern>>,
    },
    /// `cache:write`
    CacheWrite {
        /// The shared keys that may be written; bare means the controller's private key space.
        keys: Option<Vec<CacheKeyPattern>>,
    },
    /// `fs:temp`
    FsTemp {
        /// The size of the directory in bytes.
        size: Option<u64>,
    },
}

impl Capability {
    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> CapabilityKind {
        match self {
            Self::DbRead { .. } => CapabilityKind::DbRead,
            Self::DbWrite { .. } => CapabilityKind::DbWrite,
            Self::DbRawsql => CapabilityKind::DbRawsql,
            Self::HttpEgress { .. } => CapabilityKind::HttpEgress,
            Self::SecretsRead { .. } => CapabilityKind::SecretsRead,
            Self::QueuePublish { .. } => CapabilityKind::QueuePublish,
            Self::QueueSubscribe { .. } => CapabilityKind::QueueSubscribe,
            Self::CacheRead { .. } => CapabilityKind::CacheRead,
            Self::CacheWrite { .. } => CapabilityKind::CacheWrite,
            Self::FsTemp { .. } => CapabilityKind::FsTemp,
        }
    }

    /// The listed targets as text, or nothing if the capability is bare.
    #[must_use]
    pub fn targets(&self) -> Option<Vec<String>> {
        fn texts<T: ToString>(list: Option<&Vec<T>>) -> Option<Vec<String>> {
            list.map(|items| items.iter().map(T::to_string).collect())
        }
        match self {
            Self::DbRead { tables } | Self::DbWrite { tables, .. } => texts(tables.as_ref()),
            Self::HttpEgress { allow, .. } => texts(allow.as_ref()),
            Self::SecretsRead { keys, .. } => texts(keys.as_ref()),
            Self::QueuePublish { queues } | Self::QueueSubscribe { queues } => {
                texts(queues.as_ref())
            }
            Self::CacheRead { keys } | Self::CacheWrite { keys } => texts(keys.as_ref()),
            Self::DbRawsql | Self::FsTemp { .. } => None,
        }
    }

    /// Whether the capability was written without a list of targets.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.targets().is_none()
    }

    /// The capability as a contract writes it: a string when nothing is attached, else an object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let kind = self.kind();
        let mut options = Map::new();
        if let (Some(resource), Some(targets)) = (kind.resource_kind(), self.targets()) {
            options.insert(resource.list_key().to_owned(), json!(targets));
        }
        match self {
            Self::DbWrite {
                max_rows: Some(rows),
                ..
            } => {
                options.insert("max_rows".to_owned(), json!(rows));
            }
            Self::HttpEgress {
                methods: Some(methods),
                ..
            } => {
                let names: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
                options.insert("methods".to_owned(), json!(names));
            }
            Self::SecretsRead {
                only_for: Some(hosts),
                ..
            } => {
                options.insert("only_for".to_owned(), json!(hosts));
            }
            Self::FsTemp { size: Some(bytes) } => {
                options.insert("size".to_owned(), json!(format_bytes(*bytes)));
            }
            _ => {}
        }
        if options.is_empty() {
            Value::String(kind.as_str().to_owned())
        } else {
            let mut object = Map::new();
            object.insert(kind.as_str().to_owned(), Value::Object(options));
            Value::Object(object)
        }
    }
}
