//! What can go wrong with the records of nodes and realms: what is not there, what is taken, what is in the way.

use uuid::Uuid;

use crate::config::Name;
use crate::store;

/// The result of work on records.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a record could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No node is called so.
    #[error("there is no node {word:?}")]
    NoNode { word: String, near: Option<Name> },
    /// Several nodes could be meant.
    #[error("{word:?} could be any of the nodes {}", list(.nodes))]
    Ambiguous { word: String, nodes: Vec<Name> },
    /// Another node has the name.
    #[error("there is a node {name} already (id {id})")]
    NameTaken { name: Name, id: Uuid },
    /// The node is there already.
    #[error("there is a node with the id {id} already")]
    IdTaken { id: Uuid },
    /// There is no such realm.
    #[error("there is no realm {name}")]
    NoRealm { name: Name, near: Option<Name> },
    /// There is such a realm already.
    #[error("there is a realm {name} already")]
    RealmTaken { name: Name },
    /// A realm that nodes belong to cannot be deleted.
    #[error("the realm {name} has nodes: {}", list(.nodes))]
    RealmInUse { name: Name, nodes: Vec<Name> },
    /// The realm of those that belong to no other cannot be deleted.
    #[error("the realm {name} is the one of nodes that were given none, and is always there")]
    RealmNeeded { name: Name },
    /// The change was refused by who asked for it, on what it found.
    #[error("{reason}")]
    Refused { reason: String },
    /// Others kept changing it in between.
    #[error("others changed {what} {tries} times in between")]
    Contended { what: String, tries: usize },
    /// What is stored is not what this program writes.
    #[error("{key} in the store cannot be read")]
    Corrupt { key: String, source: serde_json::Error },
    /// The store failed.
    #[error("could not {attempt}")]
    Store {
        attempt: &'static str,
        source: store::Error,
    },
}

fn list(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}
