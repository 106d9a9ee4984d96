//! The node's ports that fence gives to containers, and the proof that nobody else has them.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, socket};

/// The ports of one node. Clones share them.
#[derive(Clone, Debug)]
pub struct PortPool {
    first: u16,
    count: u16,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    ports: BTreeSet<u16>,
    /// Where the next search begins, so that a freed port is not given again at once.
    next: u16,
}

/// A port that is this container's until the guard is dropped.
///
/// It is bound, never listened on: nothing arrives there, but no other program of the node can have it either.
#[derive(Debug)]
pub struct PortGuard {
    port: u16,
    taken: Arc<Mutex<Taken>>,
    _bound: Option<OwnedFd>,
}

impl PortPool {
    /// A pool of `count` ports from `first` on.
    pub fn new(first: u16, count: u16) -> PortPool {
        PortPool {
            first,
            count: count.min((u16::MAX - first).saturating_add(1)),
            taken: Arc::default(),
        }
    }

    /// Any free port of the pool; `None` = there is none.
    pub fn any(&self) -> Option<PortGuard> {
        let start = self.taken().next;
        for step in 0..self.count {
            let offset = (start.wrapping_add(step)) % self.count;
            if let Some(guard) = self.this(self.first + offset) {
                self.taken().next = (offset + 1) % self.count;
                return Some(guard);
            }
        }
        None
    }

    /// This very port, of the pool or not; `None` = somebody has it.
    pub fn this(&self, port: u16) -> Option<PortGuard> {
        if !self.taken().ports.insert(port) {
            return None;
        }
        match hold(port) {
            Ok(bound) => Some(PortGuard {
                port,
                taken: self.taken.clone(),
                _bound: Some(bound),
            }),
            Err(errno) => {
                if errno != nix::errno::Errno::EADDRINUSE {
                    tracing::warn!(port, %errno, "could not bind a port for a container; passing it over");
                }
                self.taken().ports.remove(&port);
                None
            }
        }
    }

    /// A port that is recorded as a container's, whoever may have bound it meanwhile: the rules lead it to the
    /// container all the same. `None` = another container has it.
    pub fn again(&self, port: u16) -> Option<PortGuard> {
        if !self.taken().ports.insert(port) {
            return None;
        }
        Some(PortGuard {
            port,
            taken: self.taken.clone(),
            _bound: hold(port).ok(),
        })
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PortGuard {
    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for PortGuard {
    fn drop(&mut self) {
        self.taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ports
            .remove(&self.port);
    }
}

fn hold(port: u16) -> nix::Result<OwnedFd> {
    let held = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let address = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
    bind(std::os::fd::AsRawFd::as_raw_fd(&held), &address)?;
    Ok(held)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn no_port_is_given_twice_and_all_are_given() {
        let pool = PortPool::new(47_100, 20);
        let mut guards: Vec<PortGuard> = std::iter::from_fn(|| pool.any()).collect();
        let ports: BTreeSet<u16> = guards.iter().map(PortGuard::port).collect();
        assert_eq!(ports.len(), guards.len());
        assert!(pool.any().is_none());
        let freed = guards.pop().map(|guard| guard.port());
        assert_eq!(pool.any().map(|guard| guard.port()), freed);
    }

    #[test]
    fn a_port_another_program_has_is_passed_over() {
        let foreign = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = foreign.local_addr().unwrap().port();
        let pool = PortPool::new(port, 1);
        assert!(pool.any().is_none());
        assert!(pool.this(port).is_none());
        assert!(pool.again(port).is_some(), "what is recorded stays");
    }

    #[test]
    fn a_held_port_cannot_be_taken_by_another_program() {
        let pool = PortPool::new(47_200, 50);
        let guard = pool.any().unwrap();
        assert!(TcpListener::bind(("0.0.0.0", guard.port())).is_err());
        assert!(pool.this(guard.port()).is_none());
    }

    #[test]
    fn a_pool_never_runs_over_the_last_port() {
        assert_eq!(PortPool::new(65_530, 100).count, 6);
    }
}
