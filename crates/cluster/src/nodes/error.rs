//! What can go wrong with a node's own file.

use std::io;
use std::path::PathBuf;

/// The result of work on a node's own file.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a node's own file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This machine is not set up as a node.
    #[error("this machine is not set up as a node: there is no {}", path.display())]
    Missing { path: PathBuf },
    /// The file is there but cannot be read.
    #[error("could not read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The file is not what it should be.
    #[error("{} is not a node file", path.display())]
    Parse { path: PathBuf, source: yaml_serde::Error },
    /// The file could not be written.
    #[error("could not write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// The machine does not say its name.
    #[error("could not read this machine's host name")]
    HostName { source: io::Error },
}

impl Error {
    /// Whether the machine is simply not set up yet.
    pub fn is_missing(&self) -> bool {
        matches!(self, Error::Missing { .. })
    }
}
