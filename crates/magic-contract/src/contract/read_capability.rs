//! Reads the section `capabilities`: bare names, and names with what they are limited to.

use std::num::NonZeroU32;
use std::str::FromStr;

use crate::capability::{Capability, CapabilityKind, HttpMethod};
use crate::document::{Kind, Member, Node, child, item};
use crate::error_code::ErrorCode;
use crate::host::{HostPattern, HostProblem};
use crate::name::{CacheKeyPattern, QueueName, SecretName, TableName};
use crate::quantity::{format_bytes, parse_bytes};
use crate::reader::{Reader, Spot, nearest, problem};
use crate::violation::{quote, shorten};

/// The least and the most of a temporary directory.
const TEMP_RANGE: (u64, u64) = (4 << 10, 1 << 30);
/// The most rows that a contract can ask to change in one request.
pub(super) const MOST_ROWS: u32 = 1_000_000;

pub(super) fn read_capabilities(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<Capability>> {
    let items = match &node.kind {
        Kind::List(items) => items,
        // An empty object is the other spelling of nothing.
        Kind::Object(members) if members.is_empty() => return Some(Vec::new()),
        _ => {
            let spot = Spot {
                path: "/capabilities".to_owned(),
                span: node.span.clone(),
            };
            let message = format!("`capabilities` must be a list, found {}", node.describe());
            reader.refuse(
                &spot,
                message,
                "lines such as `- db:read: { tables: [customers] }`",
            );
            return None;
        }
    };
    let mut capabilities: Vec<Capability> = Vec::new();
    let mut complete = true;
    for (index, node) in items.iter().enumerate() {
        let path = item("/capabilities", index);
        let Some(capability) = read_capability(reader, node, &path) else {
            complete = false;
            continue;
        };
        if capabilities
            .iter()
            .any(|one| one.kind() == capability.kind())
        {
            let spot = Spot {
                path,
                span: place_of(node),
            };
            let message = format!("`{}` is declared twice", capability.kind());
            reader.refuse(
                &spot,
                message,
                "each capability once, with everything that it covers",
            );
            complete = false;
            continue;
        }
        capabilities.push(capability);
    }
    if complete {
        warn_of_unreachable(reader, node, &capabilities);
    }
    complete.then_some(capabilities)
}

/// A secret that is bound to hosts that egress cannot reach is of no use.
fn warn_of_unreachable(reader: &mut Reader<'_>, node: &Node, capabilities: &[Capability]) {
    let egress = capabilities.iter().find_map(|one| match one {
        Capability::HttpEgress { allow, .. } => Some(allow),
        _ => None,
    });
    for (index, capability) in capabilities.iter().enumerate() {
        let Capability::SecretsRead {
            only_for: Some(hosts),
            ..
        } = capability
        else {
            continue;
        };
        for host in hosts {
            let reachable = match egress {
                Some(None) => true,
                Some(Some(allow)) => allow
                    .iter()
                    .any(|pattern| pattern.contains(host) || host.contains(pattern)),
                None => false,
            };
            if !reachable {
                let pointer = format!("/{index}/secrets:read/only_for");
                let spot = Spot {
                    path: format!("/capabilities{pointer}"),
                    span: node.locate(&pointer),
                };
                reader.warn(
                    &spot,
                    format!("`only_for` names {host}, which `http:egress` cannot reach"),
                    "list the host under `http:egress: { allow: [...] }`",
                );
            }
        }
    }
}

fn place_of(node: &Node) -> std::ops::Range<usize> {
    match &node.kind {
        Kind::Object(members) => members
            .first()
            .map_or(node.span.clone(), |member| member.key_span.clone()),
        _ => node.span.clone(),
    }
}

fn read_capability(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Capability> {
    let spot = Spot {
        path: path.to_owned(),
        span: node.span.clone(),
    };
    match &node.kind {
        Kind::Text(name) => read_kind(reader, name, &spot).map(bare),
        Kind::Object(members) => {
            let [member] = members.as_slice() else {
                let message = format!(
                    "one list entry declares one capability, found {}",
                    members.len()
                );
                reader.refuse(&spot, message, "one line with `- ` for each capability");
                return None;
            };
            let spot = Spot {
                path: child(path, &member.key),
                span: member.key_span.clone(),
            };
            let kind = read_kind(reader, &member.key, &spot)?;
            if member.node.kind == Kind::Null {
                let message = format!("nothing follows `{kind}:`");
                let accepted = format!(
                    "`- {kind}` for the policy's default, or `{}`",
                    kind.example_line()
                );
                reader.refuse(&spot, message, accepted);
                return None;
            }
            read_limited(reader, kind, member, &spot)
        }
        _ => {
            let message = format!("a capability cannot be {}", node.describe());
            reader.refuse(
                &spot,
                message,
                "a line such as `- db:read` or `- db:read: { tables: [customers] }`",
            );
            None
        }
    }
}

fn read_kind(reader: &mut Reader<'_>, name: &str, spot: &Spot) -> Option<CapabilityKind> {
    let known: Vec<&str> = CapabilityKind::ALL
        .iter()
        .map(|kind| kind.as_str())
        .collect();
    CapabilityKind::from_str(name).ok().or_else(|| {
        let message = format!("there is no capability `{}`", shorten(name));
        let mut noted = problem(ErrorCode::InvalidContract, spot, message)
            .expecting(crate::reader::listing(&known));
        noted.hint = nearest(name, &known).map(|meant| format!("did you mean `{meant}`?"));
        reader.note(noted);
        None
    })
}

pub(crate) fn bare(kind: CapabilityKind) -> Capability {
    match kind {
        CapabilityKind::DbRead => Capability::DbRead { tables: None },
        CapabilityKind::DbWrite => Capability::DbWrite {
            tables: None,
            max_rows: None,
        },
        CapabilityKind::DbRawsql => Capability::DbRawsql,
        CapabilityKind::HttpEgress => Capability::HttpEgress {
            allow: None,
            methods: None,
        },
        CapabilityKind::SecretsRead => Capability::SecretsRead {
            keys: None,
            only_for: None,
        },
        CapabilityKind::QueuePublish => Capability::QueuePublish { queues: None },
        CapabilityKind::QueueSubscribe => Capability::QueueSubscribe { queues: None },
        CapabilityKind::CacheRead => Capability::CacheRead { keys: None },
        CapabilityKind::CacheWrite => Capability::CacheWrite { keys: None },
        CapabilityKind::FsTemp => Capability::FsTemp { size: None },
    }
}

/// The options of one capability, each read once.
struct Options<'r, 'a, 'n> {
    reader: &'r mut Reader<'a>,
    members: &'n [Member],
    path: String,
    complete: bool,
}

impl Options<'_, '_, '_> {
    fn names<T: FromStr + PartialEq>(
        &mut self,
        key: &str,
        what: &str,
        rule: &str,
    ) -> Option<Vec<T>> {
        self.with_list(key, rule, |reader, node, spot| {
            reader.parsed(node, spot, what, rule)
        })
    }

    fn hosts(&mut self, key: &str) -> Option<Vec<HostPattern>> {
        self.with_list(
            key,
            "hosts such as api.stripe.com, \"*.example.org\" or \"localhost:9000\"",
            read_host,
        )
    }

    fn with_list<T: PartialEq>(
        &mut self,
        key: &str,
        accepted: &str,
        read: impl FnMut(&mut Reader<'_>, &Node, &Spot) -> Option<T>,
    ) -> Option<Vec<T>> {
        let member = self.members.iter().find(|member| member.key == key)?;
        let path = child(&self.path, key);
        let list = list_of(
            self.reader,
            &member.node,
            &path,
            &format!("`{key}`"),
            accepted,
            read,
        );
        self.complete &= list.is_some();
        list
    }
}

/// [`Reader::list`], for readers of any lifetime.
fn list_of<T: PartialEq>(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    what: &str,
    accepted: &str,
    mut read: impl FnMut(&mut Reader<'_>, &Node, &Spot) -> Option<T>,
) -> Option<Vec<T>> {
    reader.list(node, path, what, accepted, |reader, node, spot| {
        read(reader, node, spot)
    })
}

/// The keys of a capability's options; none if it takes no options.
pub(super) fn option_keys(kind: CapabilityKind) -> &'static [&'static str] {
    match kind {
        CapabilityKind::DbRawsql => &[],
        CapabilityKind::FsTemp => &["size"],
        CapabilityKind::DbRead => &["tables"],
        CapabilityKind::DbWrite => &["tables", "max_rows"],
        CapabilityKind::HttpEgress => &["allow", "methods"],
        CapabilityKind::SecretsRead => &["keys", "only_for"],
        CapabilityKind::QueuePublish | CapabilityKind::QueueSubscribe => &["queues"],
        CapabilityKind::CacheRead | CapabilityKind::CacheWrite => &["keys"],
    }
}

/// The list that options must have. `max_rows` alone limits without widening, so a bare list of tables may go with it.
pub(super) fn required_list(kind: CapabilityKind) -> Option<&'static str> {
    kind.resource_kind()
        .map(|resource| resource.list_key())
        .filter(|_| kind != CapabilityKind::DbWrite)
}

fn read_limited(
    reader: &mut Reader<'_>,
    kind: CapabilityKind,
    member: &Member,
    spot: &Spot,
) -> Option<Capability> {
    let list_key = kind.resource_kind().map(|resource| resource.list_key());
    let known = option_keys(kind);
    if known.is_empty() {
        reader.refuse(
            spot,
            format!("`{kind}` takes no options"),
            format!("`- {kind}`"),
        );
        return None;
    }
    let members = reader.members(&member.node, &spot.path, &format!("`{kind}`"), known)?;
    let unknown = members
        .iter()
        .any(|member| !known.contains(&member.key.as_str()));
    // Options without the list would leave open whether everything or nothing is meant.
    let lacks_list = list_key.filter(|key| !members.iter().any(|member| member.key == *key));
    let excused =
        required_list(kind).is_none() && members.iter().any(|member| member.key == "max_rows");
    if let Some(key) = lacks_list.filter(|_| !excused && !unknown) {
        let message = format!("`{kind}` has options but no `{key}`");
        reader.refuse(
            spot,
            message,
            format!(
                "`{}`, or `- {kind}` for the policy's default",
                kind.example_line()
            ),
        );
        return None;
    }
    let mut options = Options {
        reader,
        members,
        path: spot.path.clone(),
        complete: !unknown,
    };
    let capability = match kind {
        CapabilityKind::DbRead => Capability::DbRead {
            tables: options.names("tables", TableName::WHAT, TableName::RULE),
        },
        CapabilityKind::DbWrite => Capability::DbWrite {
            tables: options.names("tables", TableName::WHAT, TableName::RULE),
            max_rows: read_max_rows(&mut options),
        },
        CapabilityKind::DbRawsql => Capability::DbRawsql,
        CapabilityKind::HttpEgress => Capability::HttpEgress {
            allow: options.hosts("allow"),
            methods: options.with_list(
                "methods",
                "methods such as GET and POST",
                |reader, node, spot| {
                    let words: Vec<_> = HttpMethod::ALL
                        .iter()
                        .map(|method| (method.as_str(), *method))
                        .collect();
                    reader.choice(node, spot, "a method", &words)
                },
            ),
        },
        CapabilityKind::SecretsRead => Capability::SecretsRead {
            keys: options.names("keys", SecretName::WHAT, SecretName::RULE),
            only_for: options.hosts("only_for"),
        },
        CapabilityKind::QueuePublish => Capability::QueuePublish {
            queues: options.names("queues", QueueName::WHAT, QueueName::RULE),
        },
        CapabilityKind::QueueSubscribe => Capability::QueueSubscribe {
            queues: options.names("queues", QueueName::WHAT, QueueName::RULE),
        },
        CapabilityKind::CacheRead => Capability::CacheRead {
            keys: options.names("keys", CacheKeyPattern::WHAT, CacheKeyPattern::RULE),
        },
        CapabilityKind::CacheWrite => Capability::CacheWrite {
            keys: options.names("keys", CacheKeyPattern::WHAT, CacheKeyPattern::RULE),
        },
        CapabilityKind::FsTemp => Capability::FsTemp {
            size: read_size(&mut options),
        },
    };
    options.complete.then_some(capability)
}

fn read_max_rows(options: &mut Options<'_, '_, '_>) -> Option<NonZeroU32> {
    let member = options
        .members
        .iter()
        .find(|member| member.key == "max_rows")?;
    let spot = Spot {
        path: child(&options.path, "max_rows"),
        span: member.node.span.clone(),
    };
    let rows = options
        .reader
        .whole(&member.node, &spot, "`max_rows`", (1, MOST_ROWS))
        .and_then(NonZeroU32::new);
    options.complete &= rows.is_some();
    rows
}

fn read_size(options: &mut Options<'_, '_, '_>) -> Option<u64> {
    let member = options.members.iter().find(|member| member.key == "size")?;
    let spot = Spot {
        path: child(&options.path, "size"),
        span: member.node.span.clone(),
    };
    let size = options.reader.amount(
        &member.node,
        &spot,
        "`size`",
        (TEMP_RANGE, format_bytes),
        parse_bytes,
        "a size such as 16Mi",
    );
    options.complete &= size.is_some();
    size
}

fn read_host(reader: &mut Reader<'_>, node: &Node, spot: &Spot) -> Option<HostPattern> {
    let accepted = "a host such as api.stripe.com, \"*.example.org\" or \"localhost:9000\"";
    let text = reader.text(node, spot, "a host", accepted)?;
    match HostPattern::parse(text) {
        Ok(pattern) => Some(pattern),
        Err(reason) => {
            let message = format!("{} is not a host: {reason}", quote(text));
            let mut noted = problem(ErrorCode::InvalidContract, spot, message).expecting(accepted);
            noted.hint = repaired(text, reason).map(|host| format!("write `{host}`"));
            reader.note(noted);
            None
        }
    }
}

/// The entry that was probably meant, for the mistakes that have only one repair.
fn repaired(text: &str, reason: HostProblem) -> Option<HostPattern> {
    let candidate = match reason {
        HostProblem::NotOnlyHost => {
            let rest = text
                .strip_prefix("https://")
                .or_else(|| text.strip_prefix("http://"))?;
            rest.split('/').next()?.to_owned()
        }
        HostProblem::Capital => text.to_ascii_lowercase(),
        HostProblem::TrailingDot => text.strip_suffix('.')?.to_owned(),
        _ => return None,
    };
    HostPattern::parse(&candidate).ok()
}
