//! A node: where it keeps its files, what it knows of itself, and what the cluster knows of it.
//!
//! [`Paths`] and [`NodeFile`] are what a program must know before it can read the tree, `home` opens it. [`record`] is
//! what the cluster knows of a node, [`registry`] all of them in the store, [`report`] what each says of itself.

mod error;
#[cfg(test)]
mod fixture_tests;
mod home;
mod node_file;
mod paths;
pub mod record;
pub mod registry;
pub mod report;

pub use error::{Error, Result};
pub use home::{Access, lazy_tree, node_store, open_tree};
pub use node_file::{DockerSettings, Kind, Membership, NodeFile, Role, host_name};
pub use paths::Paths;
pub use record::{Paired, Record, default_realm};
pub use registry::Nodes;
pub use report::{Alive, Containers, Report, Retiring, State, States};
