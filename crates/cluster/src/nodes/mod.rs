//! A node: where it keeps its files and what it knows of itself.
//!
//! This is what a program must know before it can read the tree. What nodes must agree on is in [`crate::config`].

mod error;
mod home;
mod node_file;
mod paths;

pub use error::{Error, Result};
pub use home::{Access, lazy_tree, open_tree};
pub use node_file::{DockerSettings, Kind, Membership, NodeFile, Role, host_name};
pub use paths::Paths;
