//! What can go wrong with keys and certificates.

use std::io;
use std::path::PathBuf;

/// The result of work on keys and certificates.
pub type Result<T> = std::result::Result<T, Error>;

/// The cause below an error, of a library that callers need not know.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why something was not made, read or believed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("could not read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// A file cannot be written.
    #[error("could not write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// A file does not hold what it should.
    #[error("{} is not usable", path.display())]
    File { path: PathBuf, source: Box<Error> },
    /// This is not what it should be.
    #[error("this is no {}: {reason}", what.to_lowercase())]
    Malformed { what: &'static str, reason: String },
    /// A request to be signed is refused.
    #[error("the request for a certificate is refused: {reason}")]
    Request { reason: &'static str },
    /// The library failed.
    #[error("could not {attempt}")]
    Failed { attempt: &'static str, source: Cause },
}

impl Error {
    /// Whether a file is simply not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Error::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    pub(super) fn failed(attempt: &'static str) -> impl FnOnce(rcgen::Error) -> Error {
        move |source| Error::Failed {
            attempt,
            source: Box::new(source),
        }
    }
}
