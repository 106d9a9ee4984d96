//! The config tree in our words.
//!
//! The tree has three layers: the cluster's values, a realm's over them, a node's over both; the schema's defaults are
//! below all. [`key`] has names and paths, [`tree`] the tree as a value, [`schema`] what is known of keys, [`layers`]
//! how it is laid out in the store. [`Config`] reads and changes it and records every change ([`history`]), from which
//! follows what the tree was; [`Follow`] tells every change as it comes. [`Live`] is what a long-running program uses: this node's typed settings, followed, and kept on disk for bad times.

mod cache;
mod client;
mod commit;
pub mod edit;
mod error;
#[cfg(test)]
mod fixture_tests;
mod follow;
pub mod history;
pub mod input;
pub mod key;
pub mod layers;
mod live;
mod past;
pub mod schema;
mod snapshot;
mod target;
mod transfer;
pub mod tree;

pub use client::{Changed, Config, Secrets};
pub use commit::{MAX_CHANGES, Swap, Swapped};
pub use error::{Error, Result};
pub use follow::{Follow, News};
pub use history::Author;
pub use key::{Component, KeyPath, Name};
pub use layers::Layers;
pub(crate) use layers::member_key;
pub use live::Live;
pub use past::{Diff, Difference, RolledBack};
pub use schema::Schema;
pub use schema::cluster::ClusterConfig;
pub use schema::fence::FenceConfig;
pub(crate) use schema::nearest as near;
pub use snapshot::{Problem, Snapshot};
pub use target::{LOCAL, Part, Scope, Target};
pub use transfer::{Exported, Imported, Included, MAX_DOCUMENT_KEYS, TreeDocument};
pub use tree::Tree;
