//! The runtime's own doors, which no controller may knock at.
//!
//! A controller that reaches the runtime's API, its database or its Redis through the supervisor
//! would speak to them from a place that they trust. Policies open private networks and loopback for
//! good reasons, so this is judged apart and whatever a policy says. Our listeners are compared by
//! port with every address of this machine, not only with the address they are bound to: a socket
//! bound to one address is often reachable by another, through a proxy or a rule of the firewall.
//!
//! An address of this machine that it does not know of (one that a router translates) cannot be
//! seen; an operator names such a door as an endpoint.

use crate::http::address::embedded;
use crate::http::resolve::Resolver;
use magic_contract::Host;
use std::net::{IpAddr, SocketAddr};
use tokio::time::Instant;

/// What belongs to the runtime itself.
#[derive(Debug, Clone, Default)]
pub struct OwnEndpoints {
    /// The addresses that the runtime listens on; an unspecified one means all of the machine's.
    pub listeners: Vec<SocketAddr>,
    /// Host and port of what the runtime itself uses: its database, its Redis.
    pub endpoints: Vec<(String, u16)>,
}

impl OwnEndpoints {
    /// Whether one of these addresses, to which `host` leads, belongs to the runtime. Whatever
    /// cannot be found out is taken for a yes.
    pub(crate) async fn include(
        &self,
        host: &Host,
        addresses: &[SocketAddr],
        resolver: &Resolver,
        until: Instant,
    ) -> bool {
        let Some(port) = addresses.first().map(SocketAddr::port) else {
            return false;
        };
        let asked: Vec<IpAddr> = addresses
            .iter()
            .flat_map(|address| {
                let carried = embedded(address.ip()).into_iter().map(IpAddr::V4);
                std::iter::once(address.ip().to_canonical()).chain(carried)
            })
            .collect();
        if self.listeners.iter().any(|one| one.port() == port)
            && asked
                .iter()
                .any(|one| is_of_this_machine(*one, &self.listeners))
        {
            return true;
        }
        for (name, _) in self.endpoints.iter().filter(|(_, one)| *one == port) {
            let name = name
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_ascii_lowercase();
            if matches!(host, Host::Name(host) if host.as_str() == name) {
                return true;
            }
            // Resolved now and not once at start: a database moves.
            let Ok(theirs) = resolver.lookup(&name, port, until).await else {
                return true;
            };
            let same = |address: &SocketAddr| asked.contains(&address.ip().to_canonical());
            if theirs.iter().any(same) {
                return true;
            }
            // Two names of this machine are one door.
            let local = |address: IpAddr| is_of_this_machine(address, &[]);
            if theirs.iter().any(|one| local(one.ip())) && asked.iter().any(|one| local(*one)) {
                return true;
            }
        }
        false
    }
}

fn is_of_this_machine(address: IpAddr, listeners: &[SocketAddr]) -> bool {
    let address = address.to_canonical();
    address.is_loopback()
        || address.is_unspecified()
        || listeners
            .iter()
            .any(|one| one.ip().to_canonical() == address)
        || interface_addresses().is_none_or(|all| all.contains(&address))
}

/// The addresses of this machine's interfaces, read each time because they come and go; `None` if
/// they cannot be read.
fn interface_addresses() -> Option<Vec<IpAddr>> {
    let interfaces = nix::ifaddrs::getifaddrs().ok()?;
    let addresses = interfaces.filter_map(|interface| {
        let storage = interface.address?;
        if let Some(address) = storage.as_sockaddr_in() {
            return Some(IpAddr::V4(address.ip()));
        }
        storage
            .as_sockaddr_in6()
            .map(|address| IpAddr::V6(address.ip()).to_canonical())
    });
    Some(addresses.collect())
}

#[cfg(test)]
mod tests;
