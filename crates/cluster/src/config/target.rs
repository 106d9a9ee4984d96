//! What a command speaks of: an address, and whose value of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::key::{self, Component, KeyPath, Name};

/// The component that stands for a node's own layer.
pub const LOCAL: &str = "local";

/// A layer of the tree. A node's goes before its realm's, and that before the cluster's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// For all nodes.
    Cluster,
    /// For the nodes of a realm.
    Realm(Name),
    /// For one node.
    Node(Name),
}

/// An address in a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whose value.
    pub scope: Scope,
    /// Where, with the component first; the root is all components.
    pub address: KeyPath,
    /// Only what the layer itself has, not what is effective through the layers.
    pub own: bool,
}

impl Target {
    /// A key of a component in the cluster's layer.
    pub fn key(component: &Component, path: &KeyPath) -> Result<Self, key::Error> {
        Ok(Target {
            scope: Scope::Cluster,
            address: KeyPath::from(component).join(path)?,
            own: false,
        })
    }

    /// What `component` and `path` mean on the node `here`: `local` is a node's own layer, with the component first in
    /// the path. Without a `scope` changes are the cluster's.
    pub fn resolve(
        here: &Name,
        scope: Option<Scope>,
        component: &Component,
        path: &KeyPath,
    ) -> Result<Self, key::Error> {
        if component.as_str() != LOCAL {
            let target = Target::key(component, path)?;
            return Ok(Target {
                scope: scope.unwrap_or(Scope::Cluster),
                ..target
            });
        }
        match path.split_first() {
            Some((LOCAL, _)) => {
                let reason = "a node's own layer has the other components in it";
                return Err(key::Error::Path {
                    path: path.to_string(),
                    reason,
                });
            }
            Some((component, _)) => Component::new(component).map(|_| ())?,
            None => {}
        }
        let scope = scope.unwrap_or_else(|| Scope::Node(here.clone()));
        Ok(Target {
            scope,
            address: path.clone(),
            own: true,
        })
    }

    /// The same place in the layer, at another address.
    pub(super) fn at(&self, address: &KeyPath) -> Target {
        Target {
            address: address.clone(),
            ..self.clone()
        }
    }
}

/// A part of the tree, in one layer or in all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// In this layer; in all of them when there is none.
    pub scope: Option<Scope>,
    /// At and below this address, with the component first.
    pub address: KeyPath,
}

impl Part {
    /// Whether the leaf at this place belongs to it.
    pub fn holds(&self, scope: &Scope, path: &KeyPath) -> bool {
        self.scope.as_ref().is_none_or(|only| only == scope) && path.is_within(&self.address)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address.split_first() {
            None => f.write_str("the whole configuration")?,
            Some((component, path)) if path.is_root() => f.write_str(component)?,
            Some((component, path)) => write!(f, "{component} {path}")?,
        }
        match &self.scope {
            Scope::Cluster => Ok(()),
            scope => write!(f, " of {scope}"),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Cluster => f.write_str("the cluster"),
            Scope::Realm(realm) => write!(f, "realm {realm}"),
            Scope::Node(node) => write!(f, "node {node}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(scope: Option<Scope>, component: &str, path: &str) -> Target {
        let (here, component) = (Name::new("here").unwrap(), Name::new(component).unwrap());
        Target::resolve(&here, scope, &component, &KeyPath::parse(path).unwrap()).unwrap()
    }

    #[test]
    fn local_is_this_nodes_layer_with_the_component_in_the_path() {
        let target = resolve(None, "local", "fence/docker/image");
        assert_eq!(target.scope, Scope::Node(Name::new("here").unwrap()));
        assert_eq!(target.to_string(), "fence docker/image of node here");
        assert!(target.own);
    }

    #[test]
    fn a_component_is_the_clusters_unless_said_otherwise() {
        assert_eq!(resolve(None, "fence", "docker/image").to_string(), "fence docker/image");
        let realm = Scope::Realm(Name::new("eu").unwrap());
        assert_eq!(resolve(Some(realm), "fence", "/").to_string(), "fence of realm eu");
    }
}
