//! Where the core's door is: a host and a port.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Error, Result};
use crate::config::schema::image::is_host;

/// The door's port where none is given.
pub const DEFAULT_PORT: u16 = 8443;

/// `host:port`; an IPv6 address is in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// The host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same host at another port.
    pub fn at(&self, port: u16) -> Address {
        Address {
            host: self.host.clone(),
            port,
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let malformed = || Error::Malformed {
            what: "address",
            reason: format!(
                "{:?} is not HOST or HOST:PORT",
                text.chars().take(80).collect::<String>()
            ),
        };
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(malformed)?;
                host.parse::<Ipv6Addr>().map_err(|_| malformed())?;
                (host, port.strip_prefix(':').map_or(port.is_empty().then_some(""), Some))
            }
            None if text.parse::<IpAddr>().is_ok() => (text, Some("")),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, Some("")),
            },
        };
        let port = match port.ok_or_else(malformed)? {
            "" if !text.ends_with(':') || host == text => DEFAULT_PORT,
            port => port.parse().ok().filter(|port| *port != 0).ok_or_else(malformed)?,
        };
        if host.parse::<IpAddr>().is_err() && !is_host(host) {
            return Err(malformed());
        }
        Ok(Address {
            host: host.to_owned(),
            port,
        })
    }
}

impl TryFrom<String> for Address {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}
