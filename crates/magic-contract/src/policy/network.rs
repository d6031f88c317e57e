//! Which addresses egress may reach: classes by name, and ranges by prefix.
//!
//! Only the vocabulary is here. Deciding the class of an address is the egress broker's work, right
//! before it dials.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A class of addresses that is not the public internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// The machine itself.
    Loopback,
    /// Private networks (RFC 1918, and unique local addresses of IPv6).
    Private,
}

impl AddressClass {
    /// Every class. What is in none of them and not public (link-local with its metadata services,
    /// multicast, reserved) can be named by range alone.
    pub const ALL: &'static [Self] = &[Self::Loopback, Self::Private];

    /// The spelling used in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Private => "private",
        }
    }
}

/// The text is not an address range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address range such as 10.1.0.0/16, with no bits set behind the prefix")]
pub struct NotARange;

/// A range of addresses in prefix notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressRange {
    network: IpAddr,
    length: u8,
}

impl AddressRange {
    /// Whether the address lies in the range. Both must be of the same family: an IPv4 address
    /// inside IPv6 must be unwrapped before.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address, self.length) == Some(self.network)
            && address.is_ipv4() == self.network.is_ipv4()
    }
}

impl FromStr for AddressRange {
    type Err = NotARange;

    fn from_str(text: &str) -> Result<Self, NotARange> {
        let (address, length) = text.split_once('/').ok_or(NotARange)?;
        let network: IpAddr = address.parse().map_err(|_| NotARange)?;
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length: u8 = if digits {
            length.parse().map_err(|_| NotARange)?
        } else {
            return Err(NotARange);
        };
        // Bits behind the prefix usually mean that another range was meant.
        if masked(network, length) == Some(network) {
            Ok(Self { network, length })
        } else {
            Err(NotARange)
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.network, self.length)
    }
}

fn masked(address: IpAddr, length: u8) -> Option<IpAddr> {
    let length = u32::from(length);
    Some(match address {
        IpAddr::V4(address) => {
            let shift = 32u32.checked_sub(length)?;
            let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let shift = 128u32.checked_sub(length)?;
            let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    })
}
