//! Where a node can be reached, the most useful address first: the one by which it reaches the core, or was set up with.

use std::net::IpAddr;

use crate::addresses;

/// The most addresses that are told.
const MOST: usize = cluster::pairing::MAX_ADDRESSES;

/// `first`, then all others of this machine.
pub fn of_this_machine(first: Option<IpAddr>) -> Vec<IpAddr> {
    let others = addresses::of_this_machine().unwrap_or_default();
    let mut all: Vec<IpAddr> = first.into_iter().collect();
    all.extend(others.into_iter().filter(|address| Some(*address) != first));
    all.truncate(MOST);
    all
}

/// The address in `host:port`, where it is one and no name.
pub fn host(address: &str) -> Option<IpAddr> {
    let address: cluster::identity::Address = address.parse().ok()?;
    address.host().parse().ok()
}
