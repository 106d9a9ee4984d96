//! The last tree a node saw, on its disk, for the time when the store is gone. Never with secrets. Blocking.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::key::Name;
use super::tree::Tree;
use crate::files;
use crate::store::Revision;

/// The format of the file.
const FORMAT: u32 = 1;
/// The largest file that is read: more than a tree at its limits takes.
const MAX_BYTES: u64 = 512 * 1024 * 1024;

/// What is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Cached {
    format: u32,
    /// Whose settings.
    node: Name,
    /// Of the configuration.
    pub revision: Revision,
    /// What was set for the node, without defaults.
    pub merged: Tree,
}

impl Cached {
    pub fn new(node: Name, revision: Revision, merged: Tree) -> Self {
        Cached {
            format: FORMAT,
            node,
            revision,
            merged,
        }
    }

    /// Write it, for its owner only.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        files::write_atomic(path, &serde_json::to_vec(self)?, 0o600)
    }

    /// Read what was kept for `node`; another node's or format's is of no use.
    pub fn load(path: &Path, node: &Name) -> io::Result<Self> {
        let cached: Cached = serde_json::from_slice(&files::read_limited(path, MAX_BYTES)?)?;
        if cached.format != FORMAT || cached.node != *node {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is another node's, or another release's",
            ));
        }
        Ok(cached)
    }
}
