//! The addresses of this machine at which others can reach it.

use std::io;
use std::net::IpAddr;

use cluster::pairing::MAX_ADDRESSES;

/// Interfaces that containers or virtual machines of this machine hang on, by how their names begin: each machine has the
/// same addresses there.
const LOCAL_INTERFACES: [&str; 4] = ["docker", "br-", "veth", "virbr"];

/// All addresses, those that only this machine can use left out; IPv4 first.
pub fn of_this_machine() -> io::Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = nix::ifaddrs::getifaddrs()?
        .filter(|interface| {
            let name = &interface.interface_name;
            !LOCAL_INTERFACES.iter().any(|local| name.starts_with(local))
        })
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        })
        .filter(is_of_use)
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// As [`of_this_machine`], `first` before all others and no more of them than the cluster takes.
pub fn led_by(first: Option<IpAddr>) -> Vec<IpAddr> {
    let others = of_this_machine().unwrap_or_default();
    let mut all: Vec<IpAddr> = first.into_iter().collect();
    all.extend(others.into_iter().filter(|address| Some(*address) != first));
    all.truncate(MAX_ADDRESSES);
    all
}

/// The address in `host:port`, where it is one and no name.
pub fn host(address: &str) -> Option<IpAddr> {
    let address: cluster::identity::Address = address.parse().ok()?;
    address.host().parse().ok()
}

fn is_of_use(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_cannot_use_is_left_out() {
        let of_use = |address: &str| is_of_use(&address.parse().unwrap());
        assert!(of_use("10.0.0.1") && of_use("fd00::1"));
        for local in ["127.0.0.1", "::1", "169.254.0.7", "fe80::1"] {
            assert!(!of_use(local), "{local}");
        }
        assert!(of_this_machine().unwrap().iter().all(is_of_use));
    }
}
