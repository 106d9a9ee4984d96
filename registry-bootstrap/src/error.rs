//! What went wrong: what was attempted on what, of which kind it is, and what to do next.

use std::io;
use std::path::{Path, PathBuf};

pub use crate::exit::Kind;

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("could not {attempt} {}", path.display())]
    File {
        attempt: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The engine did not do something.
    #[error("could not {attempt}")]
    Engine { attempt: String, source: engine::Error },
    /// Keys or certificates are not as they should be.
    #[error("could not {attempt}")]
    Identity {
        attempt: &'static str,
        source: cluster::identity::Error,
    },
    /// The tree was not read or changed.
    #[error("could not {attempt}")]
    Tree {
        attempt: &'static str,
        source: Box<cluster::config::Error>,
    },
    /// What nodes share was not read or changed.
    #[error("could not {attempt}")]
    Store {
        attempt: &'static str,
        source: cluster::store::Error,
    },
    /// What this node is cannot be read.
    #[error(transparent)]
    Node(#[from] cluster::nodes::Error),
    /// A check refused it.
    #[error("{reason}")]
    Refused { reason: String, hint: String },
    /// Content is not what its digest says.
    #[error("{what} is not what its digest says: it is {is} and not {expected}")]
    Spoilt { what: String, is: String, expected: String },
    /// It does not exist.
    #[error("{what} does not exist")]
    NotFound { what: String, hint: String },
    /// It did not answer, or not in time.
    #[error("{what}")]
    Unreachable {
        what: String,
        hint: String,
        source: Option<Cause>,
    },
    /// It was tried and failed.
    #[error("could not {attempt}: {reason}")]
    Failed { attempt: String, reason: String },
}

impl Error {
    pub(crate) fn refused(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Error::Refused {
            reason: reason.into(),
            hint: hint.into(),
        }
    }

    pub(crate) fn failed(attempt: impl Into<String>, reason: impl ToString) -> Self {
        Error::Failed {
            attempt: attempt.into(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn file(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Error::File { attempt, path, source }
    }

    pub(crate) fn engine(attempt: impl Into<String>) -> impl FnOnce(engine::Error) -> Self {
        let attempt = attempt.into();
        move |source| Error::Engine { attempt, source }
    }

    pub(crate) fn identity(attempt: &'static str) -> impl FnOnce(cluster::identity::Error) -> Self {
        move |source| Error::Identity { attempt, source }
    }

    pub(crate) fn tree(attempt: &'static str) -> impl FnOnce(cluster::config::Error) -> Self {
        move |source| Error::Tree {
            attempt,
            source: Box::new(source),
        }
    }

    pub(crate) fn store(attempt: &'static str) -> impl FnOnce(cluster::store::Error) -> Self {
        move |source| Error::Store { attempt, source }
    }

    /// Of which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::File { .. } | Error::Identity { .. } | Error::Node(_) | Error::Failed { .. } => Kind::Failed,
            Error::Engine { source, .. } if source.is_temporary() => Kind::Unreachable,
            Error::Engine { source, .. } if source.is_not_found() => Kind::NotFound,
            Error::Engine { .. } => Kind::Failed,
            Error::Tree { source, .. } => match source.as_ref() {
                cluster::config::Error::Store { source, .. } => Kind::from(source),
                _ => Kind::Failed,
            },
            Error::Store { source, .. } => Kind::from(source),
            Error::Refused { .. } | Error::Spoilt { .. } => Kind::Refused,
            Error::NotFound { .. } => Kind::NotFound,
            Error::Unreachable { .. } => Kind::Unreachable,
        }
    }

    /// What to do next; "" where nobody knows.
    pub fn hint(&self) -> &str {
        match self {
            Error::Refused { hint, .. } | Error::NotFound { hint, .. } | Error::Unreachable { hint, .. } => hint,
            Error::Engine {
                source: engine::Error::Unavailable { .. },
                ..
            } => "systemctl enable --now docker",
            Error::Engine { source, .. } if source.is_full() => "make room on the disk of Docker's data",
            Error::Store {
                source: cluster::store::Error::NotGranted { .. },
                ..
            } => "it takes an administrator's credential: kato admin create NAME",
            Error::Spoilt { .. } => "push or load the image again",
            Error::Tree { .. } | Error::Store { .. } => "kato status",
            _ => "",
        }
    }
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}
