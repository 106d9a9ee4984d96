//! What can go wrong with the tree: what was refused and what would be accepted, what is not there and what is near.

use super::key::{self, KeyPath};
use super::target::Target;
use super::tree;
use crate::store::{self, Revision};

/// The result of work on the tree.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be done with the tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a name or a path.
    #[error(transparent)]
    Key(#[from] key::Error),
    /// The value cannot be part of a tree.
    #[error("{target} cannot have this value")]
    Value { target: Target, source: tree::Error },
    /// The text is not of the format it was said to be.
    #[error("the value of {target} is not {format}")]
    Parse {
        target: Target,
        format: &'static str,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The schema refuses the value.
    #[error("{target} refuses the value: {reason}; accepted: {accepts}")]
    Refused {
        target: Target,
        reason: String,
        accepts: String,
    },
    /// The value would not fit the other keys of its component.
    #[error("{target} refuses the value: {reason}")]
    Unfit { target: Target, reason: String },
    /// The value has another type than the present one.
    #[error("{target} is of type {present}, and the value is of type {given}")]
    TypeChange {
        target: Target,
        present: &'static str,
        given: &'static str,
    },
    /// Something is set that cannot hold other keys.
    #[error("{target} cannot be set, since {above} is set and is of type {present}")]
    Shadowed {
        target: Target,
        above: KeyPath,
        present: &'static str,
    },
    /// A change of a list where there is none.
    #[error("{target} is of type {present}, and only lists can be pushed to and popped from")]
    NotAList { target: Target, present: &'static str },
    /// There is nothing.
    #[error("{target} is not set")]
    NotFound { target: Target, near: Option<KeyPath> },
    /// The list has no such entry.
    #[error("the list {target} has no such entry")]
    NoSuchEntry { target: Target },
    /// More than a component's root is needed.
    #[error("{target} is a whole component, and a key is needed")]
    NeedsKey { target: Target },
    /// The change is larger than one step can be.
    #[error("more than {limit} {what} are not possible")]
    TooMuch { limit: usize, what: &'static str },
    /// The tree never had such a revision.
    #[error("there is no revision {revision} yet, the latest is {latest}")]
    NoRevision { revision: Revision, latest: Revision },
    /// What the tree was then is not known any more.
    #[error("the history that leads to revision {revision} is forgotten, the oldest that is known is {oldest}")]
    Forgotten { revision: Revision, oldest: Revision },
    /// Setting something would take something else away that is not to be changed.
    #[error("{target} cannot be set, since {present} is set and has to stay")]
    InTheWay { target: Target, present: KeyPath },
    /// What is set would be changed or taken away.
    #[error("{count} of the values that are set would be replaced or removed")]
    Overwrites { count: usize },
    /// Others kept changing the tree in between.
    #[error("others changed the configuration {tries} times in between")]
    Contended { tries: usize },
    /// The tree was written by a newer release.
    #[error("the configuration has format {found}, and this program knows formats up to {known}")]
    NewerFormat { found: u32, known: u32 },
    /// What is stored is not what this program writes.
    #[error("{key} in the store cannot be read")]
    Corrupt { key: String, source: serde_json::Error },
    /// The tree's values do not make this program's settings. A fault of the schema.
    #[error("the values of {component} do not fit this program")]
    Decode {
        component: &'static str,
        source: serde_json::Error,
    },
    /// Neither the store nor a copy of what was last seen there can be read.
    #[error("the configuration cannot be read, and there is no copy of an earlier one")]
    Nothing { source: store::Error },
    /// The store failed.
    #[error("could not {attempt} the configuration")]
    Store {
        attempt: &'static str,
        source: store::Error,
    },
}

impl Error {
    /// Whether a watch cannot go on and everything must be read anew.
    pub(super) fn needs_new_range(&self) -> bool {
        matches!(self, Error::Store { source, .. } if source.needs_new_range())
    }

    /// Whether there simply is no tree on this node.
    pub fn is_no_tree(&self) -> bool {
        match self {
            Error::Store { source, .. } | Error::Nothing { source } => source.is_missing(),
            _ => false,
        }
    }
}
