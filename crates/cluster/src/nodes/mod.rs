//! A node: where it keeps its files and what it knows of itself.
//!
//! This is what a program must know before it can read the tree. What nodes must agree on is in [`crate::config`].

mod error;
mod node_file;
mod paths;

pub use error::{Error, Result};
pub use node_file::{DockerSettings, Kind, NodeFile, Role, host_name};
pub use paths::Paths;
