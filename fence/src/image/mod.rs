//! The images containers are made of: the configured one, and those a client names.
//!
//! [`Keeper`] follows the configured names and holds the one in use by its content id: a new one is used as soon as it
//! is here, the previous one stays in use while the new one is missing. [`rootfs`] makes an image of a tar file or a
//! directory. Nothing here decides who may use what, and nothing is stored: the engine holds the images.

mod keeper;
mod named;
pub mod rootfs;

pub use keeper::{InUse, Keeper, KeeperState, KeeperStatus, Wanted};
pub use named::{find, find_or_pull};

/// The result of looking for an image.
pub type Result<T> = std::result::Result<T, Error>;

/// Why there is no image to use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the image {name} is not in this node's engine and could not be pulled")]
    Pull {
        name: String,
        #[source]
        source: engine::Error,
    },
    #[error("could not look for the image {name}")]
    Look {
        name: String,
        #[source]
        source: engine::Error,
    },
    /// No configured image was ever here.
    #[error("none of the configured images is here yet: {problem}")]
    NoneInUse { problem: String, temporary: bool },
    #[error("could not read {path}")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is neither a directory nor a tar file")]
    NotARoot { path: String },
    #[error("could not make an image of {path}")]
    Import {
        path: String,
        #[source]
        source: engine::Error,
    },
}

impl Error {
    /// Whether it may work later by itself.
    pub fn is_temporary(&self) -> bool {
        match self {
            Error::Pull { source, .. } | Error::Look { source, .. } | Error::Import { source, .. } => {
                source.is_temporary()
            }
            Error::NoneInUse { temporary, .. } => *temporary,
            Error::Read { .. } | Error::NotARoot { .. } => false,
        }
    }
}
