//! The layers of the tree as one value: made of what the store holds, laid over each other for a node. Pure.
//!
//! Also the one place that knows under which keys the tree is kept:
//!
//! ```text
//! config/head                     format of the tree, number of the last change; written with every change
//! config/cluster/ADDRESS          a leaf for all nodes
//! config/realm/REALM/ADDRESS      a leaf for the nodes of a realm
//! config/node/NODE/ADDRESS        a leaf for one node
//! config/member/NODE              the realm a node belongs to
//! secret/…                        secret leaves, under the same names
//! history/NUMBER                  what changed, see `history`
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::key::{KeyPath, Name};
use super::schema::Schema;
use super::target::Scope;
use super::tree::Tree;
use super::{Error, Result};
use crate::store::Revision;

/// All that is not secret.
pub(super) const CONFIG: &str = "config/";
/// All that is.
pub(super) const SECRET: &str = "secret/";
/// The realm that a node belongs to; written together with the node's record.
const MEMBER: &str = "config/member/";
/// Written with every change.
pub(super) const HEAD: &str = "config/head";
/// The newest format of the tree that this program knows.
pub const FORMAT: u32 = 1;

/// What every change writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// Of the tree.
    pub format: u32,
    /// The number of the last change, counted from 1.
    pub last: u64,
}

/// The layers of the tree at one revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layers {
    /// Of the last change to the configuration; 0 before the first.
    pub revision: Revision,
    /// The number of that change.
    pub(super) last_change: u64,
    trees: BTreeMap<Scope, Tree>,
    members: BTreeMap<Name, Name>,
    /// What the store holds that is no JSON, with the reason.
    pub(super) unreadable: Vec<(String, String)>,
}

impl Layers {
    /// The layers that these entries of the store make: key, value and revision of each.
    pub(super) fn read<'a>(entries: impl IntoIterator<Item = (&'a str, &'a [u8], Revision)>) -> Result<Self> {
        let mut layers = Layers::default();
        for (key, value, revision) in entries {
            if key == HEAD {
                layers.read_head(value, revision)?;
            } else if let Some(node) = key.strip_prefix(MEMBER) {
                if let (Ok(node), Ok(realm)) = (Name::new(node), serde_json::from_slice(value)) {
                    layers.members.insert(node, realm);
                }
            } else if let Some((scope, address)) = parse_key(key) {
                match serde_json::from_slice::<Value>(value) {
                    Ok(value) => layers.trees.entry(scope).or_default().put(address, value),
                    Err(error) => layers.unreadable.push((key.to_owned(), error.to_string())),
                }
            }
        }
        Ok(layers)
    }

    fn read_head(&mut self, value: &[u8], revision: Revision) -> Result<()> {
        let head: Head = serde_json::from_slice(value).map_err(|source| Error::Corrupt {
            key: HEAD.to_owned(),
            source,
        })?;
        if head.format > FORMAT {
            return Err(Error::NewerFormat {
                found: head.format,
                known: FORMAT,
            });
        }
        (self.revision, self.last_change) = (revision, head.last);
        Ok(())
    }

    /// What one layer has by itself.
    pub fn own(&self, scope: &Scope) -> Tree {
        self.trees.get(scope).cloned().unwrap_or_default()
    }

    /// The layers that hold something: the cluster's, realms', nodes'.
    pub fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.trees
            .iter()
            .filter(|(_, tree)| !tree.is_empty())
            .map(|(scope, _)| scope)
    }

    /// The realm a node belongs to.
    pub fn realm_of(&self, node: &Name) -> Option<&Name> {
        self.members.get(node)
    }

    /// What is set for those that `scope` names, through all layers; without defaults.
    pub fn merged(&self, scope: &Scope) -> Tree {
        let realm = match scope {
            Scope::Cluster => None,
            Scope::Realm(realm) => Some(realm),
            Scope::Node(node) => self.realm_of(node),
        };
        let node = matches!(scope, Scope::Node(_)).then_some(scope);
        let mut merged = self.own(&Scope::Cluster);
        for over in [realm.map(|realm| Scope::Realm(realm.clone())).as_ref(), node]
            .into_iter()
            .flatten()
        {
            merged.overlay(&self.own(over));
        }
        merged
    }

    /// What is effective for those that `scope` names: what is set over the defaults.
    pub fn effective(&self, schema: &Schema, scope: &Scope) -> Tree {
        let mut effective = schema.defaults();
        effective.overlay(&self.merged(scope));
        effective
    }

    /// The same layers with another tree in one of them.
    pub(super) fn with(&self, scope: &Scope, tree: Tree) -> Layers {
        let mut changed = self.clone();
        changed.trees.insert(scope.clone(), tree);
        changed
    }
}

/// The key that says which realm a node belongs to.
pub(crate) fn member_key(node: &Name) -> String {
    format!("{MEMBER}{node}")
}

/// The key under which a leaf is kept.
pub(super) fn leaf_key(scope: &Scope, address: &KeyPath, secret: bool) -> String {
    let place = if secret { SECRET } else { CONFIG };
    let address = address.as_str();
    match scope {
        Scope::Cluster => format!("{place}cluster/{address}"),
        Scope::Realm(realm) => format!("{place}realm/{realm}/{address}"),
        Scope::Node(node) => format!("{place}node/{node}/{address}"),
    }
}

/// What [`leaf_key`] was made of; `None` for all other keys.
fn parse_key(key: &str) -> Option<(Scope, KeyPath)> {
    let below = key.strip_prefix(CONFIG).or_else(|| key.strip_prefix(SECRET))?;
    let (layer, rest) = below.split_once('/')?;
    let (scope, address) = match layer {
        "cluster" => (Scope::Cluster, rest),
        "realm" | "node" => {
            let (name, address) = rest.split_once('/')?;
            let name = Name::new(name).ok()?;
            (
                if layer == "realm" {
                    Scope::Realm(name)
                } else {
                    Scope::Node(name)
                },
                address,
            )
        }
        _ => return None,
    };
    let address = KeyPath::parse(address).ok().filter(|address| !address.is_root())?;
    Some((scope, address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn path(text: &str) -> KeyPath {
        KeyPath::parse(text).unwrap()
    }

    fn layers(entries: &[(&str, &str)]) -> Layers {
        Layers::read(entries.iter().map(|(key, value)| (*key, value.as_bytes(), 7))).unwrap()
    }

    #[test]
    fn a_nodes_value_goes_before_its_realms_and_that_before_the_clusters() {
        let layers = layers(&[
            ("config/cluster/fence/a", "1"),
            ("config/cluster/fence/b", "1"),
            ("config/cluster/fence/c", "1"),
            ("config/realm/eu/fence/b", "2"),
            ("config/realm/eu/fence/c", "2"),
            ("config/node/one/fence/c", "3"),
            ("config/member/one", "\"eu\""),
        ]);
        let fence = |scope| layers.merged(&scope).nest(&path("fence")).unwrap();
        assert_eq!(fence(Scope::Cluster), json!({"a": 1, "b": 1, "c": 1}));
        assert_eq!(fence(Scope::Realm(name("eu"))), json!({"a": 1, "b": 2, "c": 2}));
        assert_eq!(fence(Scope::Node(name("one"))), json!({"a": 1, "b": 2, "c": 3}));
        assert_eq!(fence(Scope::Node(name("other"))), json!({"a": 1, "b": 1, "c": 1}));
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        for scope in [Scope::Cluster, Scope::Realm(name("eu")), Scope::Node(name("10.0.0.1"))] {
            for secret in [true, false] {
                let address = path("fence/docker/image");
                let key = leaf_key(&scope, &address, secret);
                assert_eq!(parse_key(&key), Some((scope.clone(), address)), "{key}");
            }
        }
        for key in [
            "config/head",
            "config/member/one",
            "config/cluster/",
            "history/1",
            "config/node/one",
            "x",
        ] {
            assert_eq!(parse_key(key), None, "{key}");
        }
    }

    #[test]
    fn a_tree_of_a_newer_format_is_refused() {
        let newer = Layers::read([(HEAD, br#"{"format":2,"last":1,"more":true}"#.as_slice(), 1)]);
        assert!(matches!(newer, Err(Error::NewerFormat { found: 2, known: 1 })));
    }

    #[test]
    fn what_is_no_json_is_told_and_does_not_hide_the_rest() {
        let layers = layers(&[("config/cluster/fence/a", "1"), ("config/cluster/fence/b", "{")]);
        assert_eq!(layers.own(&Scope::Cluster).nest(&path("fence")), Some(json!({"a": 1})));
        assert_eq!(layers.unreadable.len(), 1);
    }
}
