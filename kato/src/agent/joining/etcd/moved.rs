//! The settings of a member whose machine has another address than it had.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use super::{Settings, any, url};

impl Settings {
    /// The same member, reached at `address` from now on.
    pub fn at(&self, address: IpAddr) -> Option<Self> {
        let peer = url(address, port(&self.initial_advertise_peer_urls)?);
        Some(Settings {
            advertise_client_urls: url(address, port(&self.advertise_client_urls)?),
            listen_peer_urls: url(any(address), port(&self.listen_peer_urls)?),
            // What etcd began with is read at its first start alone.
            initial_cluster: self.initial_cluster.replace(&self.initial_advertise_peer_urls, &peer),
            initial_advertise_peer_urls: peer,
            ..self.clone()
        })
    }

    /// Whether the address at which the others know it is this machine's.
    pub fn is_here(&self) -> bool {
        match socket(&self.initial_advertise_peer_urls) {
            // Nothing is sent: an address of another machine cannot be bound.
            Some(known) => UdpSocket::bind((known.ip(), 0)).is_ok(),
            None => true,
        }
    }
}

fn socket(url: &str) -> Option<SocketAddr> {
    url.strip_prefix("https://")?.parse().ok()
}

fn port(url: &str) -> Option<u16> {
    Some(socket(url)?.port())
}

#[cfg(test)]
mod tests {
    use cluster::nodes::Paths;
    use uuid::Uuid;

    use super::super::{Beginning, Ports};
    use super::*;

    #[test]
    fn a_member_keeps_all_but_where_it_is() {
        let paths = Paths::from_root(None);
        let at = |address: [u8; 4]| {
            let beginning = Beginning {
                initial_cluster: None,
                token: "fence-x".to_owned(),
            };
            let ports: Ports = "12379,12380".parse().unwrap();
            Settings::new(&paths, Uuid::nil(), address.into(), ports, beginning)
        };
        assert_eq!(
            at([192, 0, 2, 1]).at([127, 0, 0, 2].into()).unwrap(),
            at([127, 0, 0, 2])
        );
        assert!(at([127, 0, 0, 2]).is_here() && !at([192, 0, 2, 1]).is_here());
        let v6 = at([127, 0, 0, 2]).at(std::net::Ipv6Addr::LOCALHOST.into()).unwrap();
        assert_eq!(v6.address().unwrap(), "[::1]:12379".parse().unwrap());
    }
}
