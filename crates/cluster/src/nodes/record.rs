//! What the cluster knows of a node: its record, which administrators write and the node's agent obeys.
//!
//! ```text
//! node/by-id/ID            the record
//! node/by-name/NAME        the id, so that no two nodes have one name
//! node/by-key/FINGERPRINT  the id, so that no key has two records
//! ```
//!
//! Plain values; [`super::registry`] reads and changes them in the store.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::{NodeFile, Role};
use crate::config::Name;

/// Where the records are.
pub const BY_ID: &str = "node/by-id/";
/// Where the names lead to ids.
pub const BY_NAME: &str = "node/by-name/";
/// Where the fingerprints of the nodes' keys lead to ids.
pub const BY_KEY: &str = "node/by-key/";
/// The realm of a node that was given none.
pub const DEFAULT_REALM: &str = "default";
/// The availability zone of a node that was given none.
pub const DEFAULT_ZONE: &str = "default";

/// The key of a node's record.
pub fn by_id_key(id: Uuid) -> String {
    format!("{BY_ID}{id}")
}

/// The key that leads from a node's name to its id.
pub fn by_name_key(name: &Name) -> String {
    format!("{BY_NAME}{name}")
}

/// The key that leads from the fingerprint of a node's key to its id.
pub fn by_key_key(fingerprint: &str) -> String {
    format!("{BY_KEY}{fingerprint}")
}

/// What the cluster knows of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The node's id, for as long as it lives.
    pub id: Uuid,
    /// Its name, which no other node has.
    pub name: Name,
    /// The realm it belongs to.
    pub realm: Name,
    /// What it shall do; of a later version's roles those that this version knows.
    #[serde(deserialize_with = "known_roles")]
    pub roles: Vec<Role>,
    /// Its availability zone, a label.
    pub zone: Name,
    /// The SHA-256 of its public key in lower-case hex, by which it is paired; "" on a micro cloud.
    #[serde(default)]
    pub fingerprint: String,
    /// Where it can be reached, the most useful first; as it last said.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// When it was let in, and by whom.
    pub paired: Paired,
}

/// How a node was let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paired {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
}

impl Record {
    /// The record of a node as its own file describes it, in the default realm and zone.
    pub fn of_node(node: &NodeFile, by: &str) -> Self {
        Record {
            id: node.id,
            name: node.name.clone(),
            realm: default_name(DEFAULT_REALM),
            roles: node.roles.clone(),
            zone: default_name(DEFAULT_ZONE),
            fingerprint: String::new(),
            addresses: Vec::new(),
            paired: Paired {
                at: Timestamp::now(),
                by: by.to_owned(),
            },
        }
    }

    /// Whether `word` means this node, and how surely: by its whole name, id or address.
    pub fn is_called(&self, word: &str) -> bool {
        self.is_named(word) || word.parse().is_ok_and(|address| self.addresses.contains(&address))
    }

    /// Whether `word` is this node's name or id: what administrators and the store vouch for, unlike addresses.
    pub fn is_named(&self, word: &str) -> bool {
        self.name.as_str() == word || self.id.to_string() == word.to_ascii_lowercase()
    }
}

/// The realm every cluster has.
pub fn default_realm() -> Name {
    default_name(DEFAULT_REALM)
}

fn default_name(name: &str) -> Name {
    // Both are made of letters alone, which every name may have.
    Name::new(name).expect("letters make a name")
}

/// The roles that this version knows; a later one may have more.
pub(super) fn known_roles<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Role>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}
