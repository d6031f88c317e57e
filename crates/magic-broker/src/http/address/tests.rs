//! The table of address kinds, and what policies make of them.

use super::*;
use proptest::prelude::*;

const TABLE: &str = include_str!("table.txt");

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn rules(classes: &[AddressClass], ranges: &[&str]) -> AddressRules {
    AddressRules {
        classes: classes.to_vec(),
        ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
    }
}

fn rows() -> Vec<(IpAddr, &'static str)> {
    TABLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (text, kind) = line.split_once(' ').unwrap();
            (address(text), kind)
        })
        .collect()
}

/// Every range by its edges, its inside and its neighbours.
#[test]
fn every_address_has_the_kind_of_the_table() {
    let rows = rows();
    assert!(rows.len() > 300, "{} rows", rows.len());
    for (address, kind) in rows {
        assert_eq!(classify(address).as_str(), kind, "{address}");
    }
}

/// Without a word of the policy only public addresses pass, in each of their spellings; and each
/// that is refused and not closed passes once its line is in the policy.
#[test]
fn only_public_addresses_pass_and_the_line_opens_the_rest() {
    let closed = rules(&[], &[]);
    for (address, kind) in rows() {
        let blocked = closed.judge(address);
        if kind == "public" {
            assert_eq!(blocked, [], "{address}");
            continue;
        }
        assert!(!blocked.is_empty(), "{address}");
        let line = closed.line_with(&blocked);
        let ranges: Vec<&str> = line
            .split_once("ranges: [")
            .and_then(|(_, rest)| rest.split_once(']'))
            .map(|(ranges, _)| {
                ranges
                    .split(", ")
                    .map(|one| one.trim_matches('"'))
                    .collect()
            })
            .unwrap();
        let opened = rules(&[], &ranges).judge(address);
        let never = blocked.iter().any(|one| one.kind.is_closed());
        assert_eq!(opened.is_empty(), !never, "{address}: {line}");
        if let IpAddr::V4(inner) = address {
            let mapped = IpAddr::V6(inner.to_ipv6_mapped());
            assert_eq!(closed.judge(mapped), blocked, "{mapped}");
            assert_eq!(rules(&[], &ranges).judge(mapped).is_empty(), !never);
        }
    }
}

/// What an address carries is judged beside it: the translator's range alone opens nothing private.
#[test]
fn carried_addresses_are_judged_as_well() {
    for (text, carried) in [
        ("64:ff9b::a00:1", "10.0.0.1"),
        ("64:ff9b::a9fe:a9fe", "169.254.169.254"),
        ("64:ff9b:1::7f00:1", "127.0.0.1"),
        ("64:ff9b:1:a00:0:100::", "10.0.0.1"),
        ("2002:a00:1::1", "10.0.0.1"),
        ("2002:c0a8:101::", "192.168.1.1"),
        ("2001:0:a00:1::", "10.0.0.1"),
        ("2001::f5ff:fffe", "10.0.0.1"),
        ("::10.0.0.1", "10.0.0.1"),
        ("::ffff:0:10.0.0.1", "10.0.0.1"),
        ("2606:4700::5efe:10.0.0.1", "10.0.0.1"),
        ("2606:4700::200:5efe:192.168.1.1", "192.168.1.1"),
        ("fe80::5efe:127.0.0.1", "127.0.0.1"),
    ] {
        let outer = address(text);
        assert!(
            embedded(outer).iter().any(|one| one.to_string() == carried),
            "{text} carries {:?}",
            embedded(outer)
        );
        let whole = ["::/0"];
        let blocked = rules(&[], &whole).judge(outer);
        assert!(
            blocked.iter().any(|one| one.address.to_string() == carried),
            "{text}: {blocked:?}"
        );
        // The twin: whoever opens the carried address too may reach it.
        let both = [
            "::/0",
            "10.0.0.0/8",
            "127.0.0.0/8",
            "192.168.0.0/16",
            "169.254.0.0/16",
        ];
        let left = rules(&[], &both).judge(outer);
        assert!(
            left.iter().all(|one| one.kind.is_closed()),
            "{text}: {left:?}"
        );
    }
    for text in ["::1", "::", "2606:4700::1", "fd00::1"] {
        assert_eq!(embedded(address(text)), Vec::<Ipv4Addr>::new(), "{text}");
    }
    let nat64 = rules(&[], &["64:ff9b::/96"]);
    assert_eq!(nat64.judge(address("64:ff9b::808:808")), []);
}

/// Classes open what they name and nothing beside it: metadata lies inside private and shared space.
#[test]
fn classes_open_no_metadata() {
    let both = rules(&[AddressClass::Loopback, AddressClass::Private], &[]);
    for text in [
        "127.0.0.1",
        "127.77.1.2",
        "::1",
        "10.1.2.3",
        "192.168.0.9",
        "fd00::1",
    ] {
        assert_eq!(both.judge(address(text)), [], "{text}");
    }
    for text in [
        "169.254.169.254",
        "fd00:ec2::254",
        "100.100.100.200",
        "100.64.0.1",
        "168.63.129.16",
        "169.254.0.1",
        "fe80::1",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "255.255.255.255",
        "fec0::1",
        "192.0.2.1",
    ] {
        assert_ne!(both.judge(address(text)), [], "{text}");
    }
    assert_eq!(
        rules(&[], &["169.254.169.254/32"]).judge(address("169.254.169.254")),
        []
    );
    let everything = rules(AddressClass::ALL, &["0.0.0.0/0", "::/0"]);
    for text in [
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "::ffff:0.0.0.0",
    ] {
        assert_ne!(everything.judge(address(text)), [], "{text}");
    }
}

/// The line keeps what the policy opens already.
#[test]
fn the_line_is_complete() {
    let some = rules(&[AddressClass::Private], &["100.64.0.0/10", "64:ff9b::/96"]);
    let blocked = some.judge(address("127.0.0.1"));
    assert_eq!(
        some.line_with(&blocked),
        "network: { classes: [private], ranges: [100.64.0.0/10, \"64:ff9b::/96\", 127.0.0.1/32] }"
    );
}

proptest! {
    /// An address that passes the closed rules is public, and so is every IPv4 address it carries.
    #[test]
    fn what_passes_is_public(bits in any::<u128>(), short in any::<u32>(), prefix in 0_usize..6) {
        let prefixes = [0, 0xffff << 32, 0x64_ff9b << 96, 0x2002 << 112, 0x2001 << 112, bits << 64];
        let candidates = [
            IpAddr::V6(Ipv6Addr::from_bits(bits)),
            IpAddr::V4(Ipv4Addr::from_bits(short)),
            IpAddr::V6(Ipv6Addr::from_bits(prefixes[prefix] | u128::from(short))),
        ];
        for address in candidates {
            if rules(&[], &[]).judge(address).is_empty() {
                prop_assert_eq!(classify(address), Kind::Public);
                for inner in embedded(address) {
                    prop_assert_eq!(classify(IpAddr::V4(inner)), Kind::Public);
                }
            }
        }
    }
}
