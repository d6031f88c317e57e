//! The methods a controller can call, and the capability each one needs.
//!
//! The match below is the only way from a name on the wire to a right, so a
//! method without a capability cannot exist.

use magic_contract::CapabilityKind;

/// A method of the SDK that is answered by the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the SDK's methods")]
pub enum Method {
    DbQuery,
    DbQueryOne,
    DbCount,
    DbInsert,
    DbUpdate,
    DbDelete,
    DbRaw,
    HttpRequest,
    SecretsGet,
    QueuePublish,
    QueueReceive,
    QueueAck,
    CacheGet,
    CacheSet,
    CacheDelete,
    FsTemp,
}

impl Method {
    /// The method of that name on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "db.query" => Self::DbQuery,
            "db.query_one" => Self::DbQueryOne,
            "db.count" => Self::DbCount,
            "db.insert" => Self::DbInsert,
            "db.update" => Self::DbUpdate,
            "db.delete" => Self::DbDelete,
            "db.raw" => Self::DbRaw,
            "http.get" | "http.post" | "http.put" | "http.patch" | "http.delete" | "http.head"
            | "http.request" => Self::HttpRequest,
            "secrets.get" => Self::SecretsGet,
            "queue.publish" => Self::QueuePublish,
            "queue.receive" => Self::QueueReceive,
            "queue.ack" => Self::QueueAck,
            "cache.get" => Self::CacheGet,
            "cache.set" => Self::CacheSet,
            "cache.delete" => Self::CacheDelete,
            "fs.temp" => Self::FsTemp,
            _ => return None,
        })
    }

    /// The method's name on the wire; of several that mean the same, the first.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DbQuery => "db.query",
            Self::DbQueryOne => "db.query_one",
            Self::DbCount => "db.count",
            Self::DbInsert => "db.insert",
            Self::DbUpdate => "db.update",
            Self::DbDelete => "db.delete",
            Self::DbRaw => "db.raw",
            Self::HttpRequest => "http.request",
            Self::SecretsGet => "secrets.get",
            Self::QueuePublish => "queue.publish",
            Self::QueueReceive => "queue.receive",
            Self::QueueAck => "queue.ack",
            Self::CacheGet => "cache.get",
            Self::CacheSet => "cache.set",
            Self::CacheDelete => "cache.delete",
            Self::FsTemp => "fs.temp",
        }
    }

    /// Whether a commit keeps what the call has done, so that a request whose
    /// call was cut off must not be committed. Outbound HTTP is not among them:
    /// it cannot be taken back, and its record says what became of it.
    pub(crate) fn changes(self) -> bool {
        match self {
            Self::DbInsert
            | Self::DbUpdate
            | Self::DbDelete
            | Self::DbRaw
            | Self::QueuePublish
            | Self::QueueAck
            | Self::CacheSet
            | Self::CacheDelete => true,
            Self::DbQuery
            | Self::DbQueryOne
            | Self::DbCount
            | Self::HttpRequest
            | Self::SecretsGet
            | Self::QueueReceive
            | Self::CacheGet
            | Self::FsTemp => false,
        }
    }

    /// The capability that a contract must declare for this method.
    pub fn capability(self) -> CapabilityKind {
        match self {
            Self::DbQuery | Self::DbQueryOne | Self::DbCount => CapabilityKind::DbRead,
            Self::DbInsert | Self::DbUpdate | Self::DbDelete => CapabilityKind::DbWrite,
            Self::DbRaw => CapabilityKind::DbRawsql,
            Self::HttpRequest => CapabilityKind::HttpEgress,
            Self::SecretsGet => CapabilityKind::SecretsRead,
            Self::QueuePublish => CapabilityKind::QueuePublish,
            Self::QueueReceive | Self::QueueAck => CapabilityKind::QueueSubscribe,
            Self::CacheGet => CapabilityKind::CacheRead,
            Self::CacheSet | Self::CacheDelete => CapabilityKind::CacheWrite,
            Self::FsTemp => CapabilityKind::FsTemp,
        }
    }
}
