//! What can go wrong between kato and this node's fence.
//!
//! A refusal that fence explained stays apart from a fence that could not be reached or did not answer in time,
//! because callers pick exit codes by it and the process stream tries again after some of them.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::wire::ErrorBody;
use crate::error::Kind;

/// The outcome of a call to fence.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call to fence gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens on the socket, or it may not be opened.
    #[error("cannot reach fence at {}", socket.display())]
    Unreachable {
        /// The socket that was tried.
        socket: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Fence took the call and said nothing within its bound.
    #[error("fence did not {action} within {} s", bound.as_secs())]
    TimedOut {
        /// What it was asked to do.
        action: &'static str,
        /// How long was waited.
        bound: Duration,
    },
    /// The connection ended before the answer was whole.
    #[error("the connection to fence broke while it was to {action}")]
    Broken {
        /// What it was asked to do.
        action: &'static str,
        /// What the connection said.
        #[source]
        source: io::Error,
    },
    /// The answer is not what this version of the interface says.
    #[error("fence was to {action} and answered what kato does not understand ({problem})")]
    Answer {
        /// What it was asked to do.
        action: &'static str,
        /// What is odd about the answer.
        problem: String,
    },
    /// The request could not be put into words; a fault of kato.
    #[error("cannot build the request to {action}")]
    Request {
        /// What was to be asked.
        action: &'static str,
        /// What is wrong with it.
        #[source]
        source: http::Error,
    },
    /// Fence refused and said why.
    #[error("{0}")]
    Refused(Box<Refusal>),
}

/// A refusal in fence's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The kind, told by the error's name on the wire.
    pub kind: RefusalKind,
    /// What fence said.
    pub body: ErrorBody,
}

/// The kinds of refusal that callers treat differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// There is no such container.
    ContainerNotFound,
    /// There is no such process in the container.
    ProcessNotFound,
    /// The program to run is not in the container.
    ExecutableNotFound,
    /// It is there and cannot be executed.
    NotExecutable,
    /// Temporary: Docker is away, or fence is starting.
    Unavailable,
    /// The request is wrong.
    Invalid,
    /// It clashes with what is there, such as a handle in use.
    Conflict,
    /// Any other failure.
    Other,
}

impl Refusal {
    /// Sorts an error answer by its name, or by its status where the name says nothing.
    pub fn new(status: u16, body: ErrorBody) -> Box<Self> {
        let kind = match (body.kind.as_str(), status) {
            ("ContainerNotFoundError", _) => RefusalKind::ContainerNotFound,
            ("ProcessNotFoundError", _) => RefusalKind::ProcessNotFound,
            ("ExecutableNotFoundError", _) => RefusalKind::ExecutableNotFound,
            ("NotExecutableError", _) => RefusalKind::NotExecutable,
            ("ServiceUnavailableError", _) | (_, 503) => RefusalKind::Unavailable,
            ("InvalidError", _) | (_, 400) => RefusalKind::Invalid,
            ("ConflictError", _) | (_, 409) => RefusalKind::Conflict,
            _ => RefusalKind::Other,
        };
        Box::new(Refusal { status, kind, body })
    }

    fn text(&self) -> String {
        match self.kind {
            RefusalKind::ContainerNotFound if !self.body.handle.is_empty() => {
                format!("there is no container '{}'", self.body.handle)
            }
            RefusalKind::ProcessNotFound if !self.body.process_id.is_empty() => {
                format!("there is no process '{}' in the container", self.body.process_id)
            }
            _ if self.body.message.is_empty() => format!("fence refused with HTTP status {}", self.status),
            _ => self.body.message.clone(),
        }
    }
}

impl Error {
    /// The kind of refusal, where it is one.
    pub fn refusal(&self) -> Option<RefusalKind> {
        match self {
            Error::Refused(refusal) => Some(refusal.kind),
            _ => None,
        }
    }

    /// Whether the same call may well succeed a little later: fence is being restarted, or its Docker is away.
    pub fn is_temporary(&self) -> bool {
        match self {
            Error::Unreachable { .. } | Error::TimedOut { .. } | Error::Broken { .. } => true,
            Error::Refused(refusal) => refusal.kind == RefusalKind::Unavailable,
            Error::Answer { .. } | Error::Request { .. } => false,
        }
    }

    /// The next thing to try, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Unreachable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("containers are for root and for members of the group fence".into())
            }
            Error::Unreachable { .. } => Some("kato process start fence".into()),
            Error::TimedOut { .. } | Error::Broken { .. } => Some("kato status".into()),
            Error::Answer { .. } => Some("kato version".into()),
            Error::Refused(refusal) if !refusal.body.hint.is_empty() => Some(refusal.body.hint.clone()),
            Error::Refused(refusal) if refusal.kind == RefusalKind::ContainerNotFound => {
                Some("kato container list".into())
            }
            Error::Refused(_) | Error::Request { .. } => None,
        }
    }
}

impl From<Error> for crate::error::Error {
    fn from(error: Error) -> Self {
        let kind = match (&error, error.refusal()) {
            (_, Some(RefusalKind::ContainerNotFound | RefusalKind::ProcessNotFound)) => Kind::NotFound,
            (_, Some(RefusalKind::Unavailable)) => Kind::Unreachable,
            (_, Some(RefusalKind::Invalid | RefusalKind::Conflict)) => Kind::Refused,
            (Error::Unreachable { .. } | Error::TimedOut { .. } | Error::Broken { .. }, _) => Kind::Unreachable,
            _ => Kind::Failed,
        };
        let hint = error.hint().unwrap_or_default();
        let shown = crate::error::Error::new(kind, error.to_string()).hint(hint);
        match error {
            Error::Unreachable { source, .. } | Error::Broken { source, .. } => shown.because(source),
            Error::Request { source, .. } => shown.because(source),
            _ => shown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, kind: &str) -> Box<Refusal> {
        Refusal::new(
            status,
            ErrorBody {
                kind: kind.into(),
                message: "said so".into(),
                ..ErrorBody::default()
            },
        )
    }

    #[test]
    fn the_name_decides_before_the_status() {
        assert_eq!(
            refusal(500, "ExecutableNotFoundError").kind,
            RefusalKind::ExecutableNotFound
        );
        assert_eq!(
            refusal(404, "ContainerNotFoundError").kind,
            RefusalKind::ContainerNotFound
        );
        assert_eq!(refusal(503, "").kind, RefusalKind::Unavailable);
        assert_eq!(refusal(409, "").kind, RefusalKind::Conflict);
        assert_eq!(refusal(500, "").kind, RefusalKind::Other);
    }

    #[test]
    fn a_missing_container_is_named() {
        let body = ErrorBody {
            kind: "ContainerNotFoundError".into(),
            message: "unknown handle: web".into(),
            handle: "web".into(),
            ..ErrorBody::default()
        };
        assert_eq!(Refusal::new(404, body).to_string(), "there is no container 'web'");
    }

    #[test]
    fn only_what_passes_by_itself_is_temporary() {
        assert!(Error::Refused(refusal(503, "ServiceUnavailableError")).is_temporary());
        assert!(!Error::Refused(refusal(404, "ProcessNotFoundError")).is_temporary());
        let source = io::Error::from(io::ErrorKind::NotFound);
        assert!(
            Error::Unreachable {
                socket: "/run/fence/garden.sock".into(),
                source
            }
            .is_temporary()
        );
    }
}
