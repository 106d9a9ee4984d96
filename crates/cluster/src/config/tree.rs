//! The tree as a value: leaves by address, nested and flattened, laid over each other and compared. Pure.
//!
//! A leaf is any JSON value but a filled object, which is nested leaves, and null, which is nothing. No leaf is above
//! another: whoever puts one replaces what was at, above and below its address. What may be put is the schema's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::key::{self, KeyPath};

/// Leaves by address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tree(BTreeMap<KeyPath, Value>);

/// One leaf that two trees do not share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Where, with the component first.
    pub path: KeyPath,
    /// What was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What is there now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

/// Why a value cannot be part of a tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name in the value cannot be part of a path.
    #[error("a name in the value cannot be used")]
    Key(#[from] key::Error),
    /// JSON's null stands for nothing, and nothing cannot be kept.
    #[error("null at {at} cannot be kept")]
    Null { at: KeyPath },
}

impl Tree {
    /// A tree without leaves.
    pub fn new() -> Self {
        Tree::default()
    }

    /// The leaves of `value` put at `at`.
    pub fn flatten(at: &KeyPath, value: &Value) -> Result<Self, Error> {
        let mut tree = Tree::new();
        tree.gather(at, value)?;
        Ok(tree)
    }

    fn gather(&mut self, at: &KeyPath, value: &Value) -> Result<(), Error> {
        match value {
            Value::Null => return Err(Error::Null { at: at.clone() }),
            Value::Object(fields) if !fields.is_empty() || at.is_root() => {
                for (name, value) in fields {
                    self.gather(&at.child(name)?, value)?;
                }
            }
            leaf => {
                self.0.insert(at.clone(), leaf.clone());
            }
        }
        Ok(())
    }

    /// The value at `at`: a leaf, or everything below as an object. `None` where there is nothing.
    pub fn nest(&self, at: &KeyPath) -> Option<Value> {
        let mut found = None;
        for (path, value) in &self.0 {
            let Some(below) = path.below(at) else { continue };
            let segments: Vec<&str> = below.segments().collect();
            insert(found.get_or_insert(Value::Object(Map::new())), &segments, value);
        }
        found
    }

    /// The leaf at exactly `at`.
    pub fn leaf(&self, at: &KeyPath) -> Option<&Value> {
        self.0.get(at)
    }

    /// All leaves at or below `at`, in order.
    pub fn within(&self, at: &KeyPath) -> impl Iterator<Item = (&KeyPath, &Value)> {
        self.0.iter().filter(move |(path, _)| path.is_within(at))
    }

    /// All leaves, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&KeyPath, &Value)> {
        self.0.iter()
    }

    /// How many leaves there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no leaf.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The leaf above `at` that would have to go for something to be put there.
    pub fn leaf_above(&self, at: &KeyPath) -> Option<(&KeyPath, &Value)> {
        self.0.iter().find(|(path, _)| at.is_within(path) && *path != at)
    }

    /// Put one leaf in place of what is at, above and below its address.
    pub fn put(&mut self, at: KeyPath, leaf: Value) {
        self.0.retain(|path, _| !path.is_within(&at) && !at.is_within(path));
        self.0.insert(at, leaf);
    }

    /// Take everything at and below `at` away; whether there was anything.
    pub fn remove(&mut self, at: &KeyPath) -> bool {
        let before = self.0.len();
        self.0.retain(|path, _| !path.is_within(at));
        self.0.len() < before
    }

    /// Take the leaf at exactly `at` away, if there is one.
    pub fn remove_leaf(&mut self, at: &KeyPath) {
        self.0.remove(at);
    }

    /// Put the leaves of `over` in place of what they cover.
    pub fn overlay(&mut self, over: &Tree) {
        for (path, value) in over.iter() {
            self.put(path.clone(), value.clone());
        }
    }

    /// The leaves that differ, in order.
    pub fn diff(&self, new: &Tree) -> Vec<Change> {
        let mut changes = Vec::new();
        for (path, old) in &self.0 {
            let now = new.0.get(path);
            if now != Some(old) {
                changes.push(Change {
                    path: path.clone(),
                    old: Some(old.clone()),
                    new: now.cloned(),
                });
            }
        }
        for (path, value) in &new.0 {
            if !self.0.contains_key(path) {
                changes.push(Change {
                    path: path.clone(),
                    old: None,
                    new: Some(value.clone()),
                });
            }
        }
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        changes
    }
}

impl FromIterator<(KeyPath, Value)> for Tree {
    fn from_iter<T: IntoIterator<Item = (KeyPath, Value)>>(leaves: T) -> Self {
        Tree(leaves.into_iter().collect())
    }
}

/// Put `leaf` into the nested `value`. A leaf in the way is replaced: leaves that come later win, and in a sound tree
/// none is above another.
fn insert(value: &mut Value, segments: &[&str], leaf: &Value) {
    let Some((first, rest)) = segments.split_first() else {
        *value = leaf.clone();
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    if let Value::Object(fields) = value {
        insert(fields.entry(*first).or_insert(Value::Null), rest, leaf);
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
