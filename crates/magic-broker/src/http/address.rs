//! What kind of place an IP address is: one pure function, and the policy's word on its answer.
//!
//! A name resolves to whatever its owner likes, so an allow list of names alone protects nothing
//! behind the runtime: every address is judged here, right before it is dialled. The table follows
//! the "Globally Reachable" column of the IANA special-purpose address registries (RFC 6890), and is
//! stricter where the registry speaks of routing and we mean reach: addresses that stand for another
//! address (NAT64, 6to4, Teredo and their like) are never public, and the IPv4 address that they
//! carry is judged beside them. In IPv6 only 2000::/3 is assigned to the public internet, so all else
//! is refused without being listed.
//!
//! A translator with a prefix of its operator's choice (RFC 6052, section 2.2) cannot be told from
//! ordinary addresses; whoever runs one keeps it from private IPv4 addresses there.

use magic_contract::{AddressClass, AddressRange};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kinds of address. Only [`Kind::Public`] is dialled without the policy's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// The public internet.
    Public,
    /// The machine itself.
    Loopback,
    /// Private networks: RFC 1918, and unique local addresses (RFC 4193).
    Private,
    /// Between a provider and its customers (RFC 6598).
    Shared,
    /// One link (RFC 3927; RFC 4291, section 2.5.6), and the old site-local range.
    LinkLocal,
    /// Where a cloud tells a machine its own credentials.
    Metadata,
    /// Many receivers.
    Multicast,
    /// No address: a connection would reach the machine itself.
    Unspecified,
    /// All of a link.
    Broadcast,
    /// Examples in documents.
    Documentation,
    /// Measuring equipment (RFC 2544, RFC 5180).
    Benchmark,
    /// Stands for an IPv4 address behind a translator or a tunnel.
    Embedding,
    /// Everything else that is not assigned to the public internet.
    Reserved,
}

impl Kind {
    /// The word that refusals and their details carry.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Shared => "shared",
            Self::LinkLocal => "link_local",
            Self::Metadata => "metadata",
            Self::Multicast => "multicast",
            Self::Unspecified => "unspecified",
            Self::Broadcast => "broadcast",
            Self::Documentation => "documentation",
            Self::Benchmark => "benchmark",
            Self::Embedding => "embedding",
            Self::Reserved => "reserved",
        }
    }

    /// Whether no policy can open it, since nothing that answers HTTP is there.
    pub(crate) const fn is_closed(self) -> bool {
        matches!(self, Self::Multicast | Self::Unspecified | Self::Broadcast)
    }
}

/// IPv4 ranges that are not public, the narrower before the wider. The services that tell
/// credentials: 169.254.169.254 and 169.254.170.0/24 (most clouds, containers), 100.100.100.200
/// (Alibaba), 168.63.129.16 (Azure, of all things in public space), 192.0.0.192 (Oracle).
const V4: &[([u8; 4], u32, Kind)] = &[
    ([169, 254, 169, 254], 32, Kind::Metadata),
    ([169, 254, 169, 253], 32, Kind::Metadata),
    ([169, 254, 170, 0], 24, Kind::Metadata),
    ([100, 100, 100, 200], 32, Kind::Metadata),
    ([168, 63, 129, 16], 32, Kind::Metadata),
    ([192, 0, 0, 192], 32, Kind::Metadata),
    // Anycast of the Port Control Protocol and of TURN: globally reachable (RFC 7723, RFC 8155).
    ([192, 0, 0, 9], 32, Kind::Public),
    ([192, 0, 0, 10], 32, Kind::Public),
    ([0, 0, 0, 0], 32, Kind::Unspecified),
    ([0, 0, 0, 0], 8, Kind::Reserved),
    ([10, 0, 0, 0], 8, Kind::Private),
    ([100, 64, 0, 0], 10, Kind::Shared),
    ([127, 0, 0, 0], 8, Kind::Loopback),
    ([169, 254, 0, 0], 16, Kind::LinkLocal),
    ([172, 16, 0, 0], 12, Kind::Private),
    ([192, 0, 0, 0], 24, Kind::Reserved),
    ([192, 0, 2, 0], 24, Kind::Documentation),
    ([192, 88, 99, 0], 24, Kind::Reserved),
    ([192, 168, 0, 0], 16, Kind::Private),
    ([198, 18, 0, 0], 15, Kind::Benchmark),
    ([198, 51, 100, 0], 24, Kind::Documentation),
    ([203, 0, 113, 0], 24, Kind::Documentation),
    ([224, 0, 0, 0], 4, Kind::Multicast),
    ([255, 255, 255, 255], 32, Kind::Broadcast),
    ([240, 0, 0, 0], 4, Kind::Reserved),
];

/// IPv6 ranges, the narrower before the wider; what none of them covers is public inside 2000::/3
/// and reserved outside. Metadata: Amazon, Google, Oracle, Scaleway.
const V6: &[([u16; 8], u32, Kind)] = &[
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, Kind::Unspecified),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, Kind::Loopback),
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, Kind::Embedding),
    ([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, Kind::Embedding),
    ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, Kind::Embedding),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, Kind::Embedding),
    // What the registry calls globally reachable inside 2001::/23.
    ([0x2001, 1, 0, 0, 0, 0, 0, 1], 128, Kind::Public),
    ([0x2001, 1, 0, 0, 0, 0, 0, 2], 128, Kind::Public),
    ([0x2001, 1, 0, 0, 0, 0, 0, 3], 128, Kind::Public),
    ([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, Kind::Public),
    ([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, Kind::Public),
    ([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, Kind::Public),
    ([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, Kind::Public),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, Kind::Embedding),
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, Kind::Benchmark),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Kind::Reserved),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, Kind::Documentation),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, Kind::Embedding),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Kind::Documentation),
    ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3, Kind::Public),
    ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32, Kind::Metadata),
    ([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, Kind::Metadata),
    (
        [0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe],
        128,
        Kind::Metadata,
    ),
    ([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128, Kind::Metadata),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Kind::Private),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, Kind::LinkLocal),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, Kind::LinkLocal),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Kind::Multicast),
];

/// The kind of one address. An IPv4 address in its IPv6 spelling (::ffff:0:0/96) is that IPv4
/// address, as it is for the kernel.
pub(crate) fn classify(address: IpAddr) -> Kind {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let bits = address.to_bits();
            V4.iter()
                .find(|(network, length, _)| {
                    let network = Ipv4Addr::from(*network).to_bits();
                    (bits ^ network).checked_shr(32 - length).unwrap_or(0) == 0
                })
                .map_or(Kind::Public, |(_, _, kind)| *kind)
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            V6.iter()
                .find(|(network, length, _)| {
                    let network = Ipv6Addr::from(*network).to_bits();
                    (bits ^ network).checked_shr(128 - length).unwrap_or(0) == 0
                })
                .map_or(Kind::Reserved, |(_, _, kind)| *kind)
        }
    }
}

/// The IPv4 addresses that an IPv6 address carries and that a translator or a tunnel may turn it
/// into. (The mapped spelling carries none: it is one.)
pub(crate) fn embedded(address: IpAddr) -> Vec<Ipv4Addr> {
    let IpAddr::V6(address) = address.to_canonical() else {
        return Vec::new();
    };
    let parts = address.segments();
    let four = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    let last = four(parts[6], parts[7]);
    match parts {
        // :: and ::1 are themselves; the rest is IPv4-compatible (RFC 4291, section 2.5.5.1).
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Vec::new(),
        // IPv4-compatible; IPv4-translated (RFC 2765, section 2.1); NAT64 (RFC 6052).
        [0, 0, 0, 0, 0 | 0xffff, 0, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => vec![last],
        // NAT64 of local use (RFC 8215) may be read with a prefix of 96 bits or of 48, in which
        // bits 64 to 71 are left out (RFC 6052, section 2.2). The reading that was not meant
        // usually yields no address at all.
        [0x64, 0xff9b, 1, third, fourth, fifth, _, _] => {
            let middle = four(third, (fourth & 0xff) << 8 | fifth >> 8);
            [last, middle]
                .into_iter()
                .filter(|one| !one.is_unspecified())
                .collect()
        }
        // 6to4 (RFC 3056, section 2).
        [0x2002, high, low, ..] => vec![four(high, low)],
        // Teredo (RFC 4380, section 4): the server, and the client with all bits turned.
        [0x2001, 0, high, low, ..] => vec![four(high, low), four(!parts[6], !parts[7])],
        // ISATAP (RFC 5214, section 6.1), in whatever prefix.
        [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => vec![last],
        _ => Vec::new(),
    }
}

/// What the policy opens beyond the public internet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressRules {
    /// Whole classes.
    pub classes: Vec<AddressClass>,
    /// Ranges.
    pub ranges: Vec<AddressRange>,
}

/// One address that may not be dialled, and what it would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocked {
    /// The address that offends: the one asked about, or one that it carries.
    pub(crate) address: IpAddr,
    /// Its kind.
    pub(crate) kind: Kind,
}

impl AddressRules {
    /// Everything about this address that the rules do not permit; nothing means that it may be
    /// dialled.
    pub(crate) fn judge(&self, address: IpAddr) -> Vec<Blocked> {
        let carried = embedded(address).into_iter().map(IpAddr::V4);
        std::iter::once(address.to_canonical())
            .chain(carried)
            .map(|address| Blocked {
                address,
                kind: classify(address),
            })
            .filter(|one| !self.permits(*one))
            .collect()
    }

    fn permits(&self, one: Blocked) -> bool {
        let class = match one.kind {
            Kind::Public => return true,
            kind if kind.is_closed() => return false,
            Kind::Loopback => Some(AddressClass::Loopback),
            Kind::Private => Some(AddressClass::Private),
            _ => None,
        };
        class.is_some_and(|class| self.classes.contains(&class))
            || self.ranges.iter().any(|range| range.contains(one.address))
    }

    /// The policy's line that opens these addresses too, and no more than these.
    pub(crate) fn line_with(&self, blocked: &[Blocked]) -> String {
        let classes: Vec<&str> = self.classes.iter().map(|class| class.as_str()).collect();
        let mut ranges: Vec<String> = self.ranges.iter().map(ToString::to_string).collect();
        for one in blocked {
            let range = match one.address {
                IpAddr::V4(address) => format!("{address}/32"),
                IpAddr::V6(address) => format!("{address}/128"),
            };
            if !ranges.contains(&range) {
                ranges.push(range);
            }
        }
        for range in &mut ranges {
            // A text that begins with a colon is not plain in YAML.
            if range.contains(':') {
                *range = format!("\"{range}\"");
            }
        }
        let classes = match classes.as_slice() {
            [] => String::new(),
            some => format!("classes: [{}], ", some.join(", ")),
        };
        format!("network: {{ {classes}ranges: [{}] }}", ranges.join(", "))
    }
}

#[cfg(test)]
mod tests;
