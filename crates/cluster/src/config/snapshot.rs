//! One node's settings at one revision, typed. Pure.
//!
//! A stored value that this release refuses does not stop a node: the last good one stays in use, else the default,
//! and the snapshot says so.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::key::KeyPath;
use super::schema::cluster::ClusterConfig;
use super::schema::fence::FenceConfig;
use super::schema::{ComponentSchema, Key, Schema};
use super::tree::Tree;
use super::{Error, Result};
use crate::store::Revision;

/// One node's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Of the last change to the configuration, for whomever it was.
    pub revision: Revision,
    /// Why this is not what the tree has now, where the store cannot be read.
    pub stale: Option<String>,
    /// Stored values that are not in use, and why.
    pub problems: Vec<Problem>,
    /// The component `cluster`.
    pub cluster: ClusterConfig,
    /// The component `fence`.
    pub fence: FenceConfig,
    /// All that is in use, components this program does not know included; without secrets.
    pub tree: Tree,
}

/// A stored value that is not in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub address: KeyPath,
    /// Why, and what is in use instead.
    pub reason: String,
}

impl Snapshot {
    /// The settings that `merged` (what is set for the node) makes, with `last` to fall back on.
    pub(super) fn build(schema: &Schema, merged: &Tree, revision: Revision, last: Option<&Snapshot>) -> Result<Self> {
        let mut tree = schema.defaults();
        tree.overlay(merged);
        tree = tree
            .iter()
            .filter(|(path, _)| !schema.is_secret(path))
            .map(|(p, v)| (p.clone(), v.clone()))
            .collect();
        let mut repair = Repair {
            tree,
            last,
            problems: Vec::new(),
        };
        for component in schema.components() {
            repair.component(component);
        }
        Ok(Snapshot {
            revision,
            stale: None,
            cluster: decode("cluster", &repair.tree)?,
            fence: decode("fence", &repair.tree)?,
            problems: repair.problems,
            tree: repair.tree,
        })
    }
}

/// Puts good values in place of those that cannot be used.
struct Repair<'a> {
    tree: Tree,
    last: Option<&'a Snapshot>,
    problems: Vec<Problem>,
}

impl Repair<'_> {
    fn component(&mut self, component: &ComponentSchema) {
        let keys = component.keys.iter().filter(|key| !key.secret);
        let keys: Vec<(KeyPath, &Key)> = keys.filter_map(|key| Some((component.address(key)?, key))).collect();
        for (address, key) in &keys {
            let refused = match self.tree.leaf(address) {
                Some(value) => key.kind.check(value).err(),
                None => Some("another value is in its place".to_owned()),
            };
            if let Some(reason) = refused {
                let used = self.fall_back(address, key, true);
                self.problems.push(Problem {
                    address: address.clone(),
                    reason: format!("{reason}; {used} is in use"),
                });
            }
        }
        let Err(reason) = (component.check)(&self.tree) else {
            return;
        };
        for (address, key) in &keys {
            self.fall_back(address, key, true);
        }
        if (component.check)(&self.tree).is_err() {
            keys.iter().for_each(|(address, key)| {
                self.fall_back(address, key, false);
            });
        }
        let reason = format!("{reason}; the last good values of {} are in use", component.name);
        let address = KeyPath::parse(component.name).unwrap_or_default();
        self.problems.push(Problem { address, reason });
    }

    /// Use the last good value, where there is one and it may be used, else the default.
    fn fall_back(&mut self, address: &KeyPath, key: &Key, use_last: bool) -> Value {
        let last = self.last.filter(|_| use_last).and_then(|last| last.tree.leaf(address));
        let value = last
            .cloned()
            .filter(|value| key.kind.check(value).is_ok())
            .unwrap_or_else(key.default);
        self.tree.put(address.clone(), value.clone());
        value
    }
}

fn decode<T: DeserializeOwned>(component: &'static str, tree: &Tree) -> Result<T> {
    let at = KeyPath::parse(component)?;
    let value = tree.nest(&at).unwrap_or(Value::Null);
    serde_json::from_value(value).map_err(|source| Error::Decode { component, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn build(value: Value, last: Option<&Snapshot>) -> Snapshot {
        let merged = Tree::flatten(&KeyPath::root(), &value).unwrap();
        Snapshot::build(Schema::standard(), &merged, 1, last).unwrap()
    }

    #[test]
    fn an_empty_tree_gives_the_defaults() {
        let snapshot = build(json!({}), None);
        assert_eq!(snapshot.problems, []);
        assert_eq!(snapshot.fence.max_containers, 256);
        assert_eq!(snapshot.fence.container_grace_time, None);
        assert_eq!(snapshot.fence.garden.listen, None);
        assert_eq!(snapshot.fence.docker.timeout.as_secs(), 60);
        assert_eq!(snapshot.cluster.endpoint, "localhost");
    }

    #[test]
    fn of_a_bad_value_the_last_good_one_stays_and_the_rest_applies() {
        let first = build(json!({"fence": {"max_containers": 7}}), None);
        let second = build(
            json!({"fence": {"max_containers": "many", "stop_timeout": 3}}),
            Some(&first),
        );
        assert_eq!(
            (second.fence.max_containers, second.fence.stop_timeout.as_secs()),
            (7, 3)
        );
        assert_eq!(second.problems.len(), 1);
        assert_eq!(second.problems[0].address.as_str(), "fence/max_containers");
        assert!(
            second.problems[0].reason.ends_with("; 7 is in use"),
            "{:?}",
            second.problems
        );
        // Without an earlier one it is the default, and a good value ends the problem.
        assert_eq!(
            build(json!({"fence": {"max_containers": "many"}}), None)
                .fence
                .max_containers,
            256
        );
        assert_eq!(
            build(json!({"fence": {"max_containers": 9}}), Some(&second)).problems,
            []
        );
    }

    #[test]
    fn a_value_above_known_keys_does_not_hide_them() {
        let snapshot = build(json!({"fence": {"docker": "none"}}), None);
        assert_eq!(snapshot.problems.len(), 4);
        assert!(!snapshot.fence.docker.privileged);
    }

    #[test]
    fn values_that_do_not_fit_each_other_leave_the_last_ones_in_use() {
        let first = build(json!({"fence": {"ports": {"first": 2000, "count": 10}}}), None);
        let second = build(
            json!({"fence": {"ports": {"first": 65000, "count": 5000}}}),
            Some(&first),
        );
        assert_eq!((second.fence.ports.first, second.fence.ports.count), (2000, 10));
        assert_eq!(second.problems.len(), 1);
        let third = build(json!({"fence": {"ports": {"first": 65000, "count": 5000}}}), None);
        assert_eq!((third.fence.ports.first, third.fence.ports.count), (61_001, 4500));
    }

    #[test]
    fn secrets_are_not_in_it() {
        let snapshot = build(json!({"other": {"password": "x", "user": "y"}}), None);
        assert_eq!(
            snapshot.tree.nest(&KeyPath::parse("other").unwrap()),
            Some(json!({"user": "y"}))
        );
    }
}
