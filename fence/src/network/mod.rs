//! How a container is reached: the node's ports that lead to it, and the rules in the kernel that make them.
//!
//! Pure parts decide ([`ports`], [`rules`]), [`Firewall`] does. The rules are fence's own table, written whole each
//! time it changes, so that applying them again is also how they are repaired. Which container has which address and
//! port is written down by the supervisor; this module keeps no truth of its own but the ports it holds open.

mod error;
mod firewall;
mod ports;
mod rules;

pub use error::{Error, Result};
#[cfg(test)]
pub use firewall::FakeFirewall;
pub use firewall::{Firewall, Nft};
pub use ports::{PortGuard, PortPool};
pub use rules::Forward;
