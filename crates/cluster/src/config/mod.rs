//! The config tree in our words.
//!
//! The tree has three layers: the cluster's values, a realm's over them, a node's over both; the schema's defaults are
//! below all. [`key`] has names and paths, [`tree`] the tree as a value, [`schema`] what is known of keys.

pub mod key;
pub mod schema;
pub mod tree;

pub use key::{Component, KeyPath, Name};
pub use schema::Schema;
pub use schema::cluster::ClusterConfig;
pub use schema::fence::FenceConfig;
pub use tree::Tree;
