//! The config tree in our words.
//!
//! The tree has three layers: the cluster's values, a realm's over them, a node's over both; the schema's defaults are
//! below all. [`key`] has names and paths, [`tree`] the tree as a value, [`schema`] what is known of keys, [`layers`]
//! how it is laid out in the store. [`Config`] reads and changes it and records every change ([`history`]); [`Live`]
//! is what a long-running program uses: this node's typed settings, followed, and kept on disk for bad times.

mod cache;
mod client;
pub mod edit;
mod error;
pub mod history;
pub mod input;
pub mod key;
pub mod layers;
mod live;
pub mod schema;
mod snapshot;
mod target;
pub mod tree;

pub use client::{Changed, Config, MAX_CHANGES, Secrets};
pub use error::{Error, Result};
pub use history::Author;
pub use key::{Component, KeyPath, Name};
pub use layers::Layers;
pub use live::Live;
pub use schema::Schema;
pub use schema::cluster::ClusterConfig;
pub use schema::fence::FenceConfig;
pub use snapshot::{Problem, Snapshot};
pub use target::{LOCAL, Scope, Target};
pub use tree::Tree;
