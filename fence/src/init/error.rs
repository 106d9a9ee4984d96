//! What can go wrong between fence and a container's first process.

use fence_init::protocol::{Failure, FailureKind};

/// The result of asking init.
pub type Result<T> = std::result::Result<T, Error>;

/// Why init did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It understood and refused; nothing was changed.
    #[error("{}", .0.message)]
    Refused(Failure),
    /// It is not connected, or was lost before it answered.
    #[error("{0}")]
    Unreachable(String),
    /// The socket could not be made.
    #[error("could not listen for the first process at {path}")]
    Listen {
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// The binary could not be stored.
    #[error("could not store the init binary {path}")]
    Binary {
        path: String,
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// The kind of refusal, where it is one.
    pub fn refusal(&self) -> Option<FailureKind> {
        match self {
            Error::Refused(failure) => Some(failure.kind),
            Error::Unreachable(_) | Error::Listen { .. } | Error::Binary { .. } => None,
        }
    }
}
