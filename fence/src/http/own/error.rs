//! The map from the supervisor's errors to the status, type and hint of our own routes.
//!
//! Garden's body and types, with status codes that say more than its 404 and 500, and the command that helps.

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::wire;
use crate::http::body::BodyError;
use crate::http::garden;
use crate::http::hijack::Hijacked;
use crate::http::json::{self, JsonError};
use crate::supervisor;

const INVALID: &str = "InvalidError";
const CONFLICT: &str = "ConflictError";
const NOT_EXECUTABLE: &str = "NotExecutableError";
const FULL: &str = "InsufficientStorageError";

/// What a client is told.
#[derive(Debug, PartialEq, Eq)]
pub struct Error {
    status: StatusCode,
    body: Box<wire::Problem>,
}

impl Error {
    fn new(status: StatusCode, error: garden::wire::Error, hint: &str) -> Error {
        let hint = hint.to_owned();
        Error {
            status,
            body: Box::new(wire::Problem { error, hint }),
        }
    }

    /// A request that can never succeed as it is.
    pub fn invalid(message: String) -> Error {
        garden::Error::plain(message).into()
    }

    /// Answer a hijacked request with this.
    pub(super) async fn refuse(self, connection: Hijacked) {
        connection.refuse(self.status, &json::line(&self.body)).await;
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        json::with_status(self.status, &self.body)
    }
}

impl From<JsonError> for Error {
    fn from(error: JsonError) -> Error {
        Error::invalid(error.to_string())
    }
}

impl From<BodyError> for Error {
    fn from(error: BodyError) -> Error {
        Error::invalid(error.to_string())
    }
}

/// A request whose Garden part makes no sense.
impl From<garden::Error> for Error {
    fn from(error: garden::Error) -> Error {
        let mut error = error.body;
        error.kind = INVALID;
        Error::new(StatusCode::BAD_REQUEST, error, "")
    }
}

impl From<supervisor::Error> for Error {
    fn from(error: supervisor::Error) -> Error {
        let (status, kind, hint) = place(&error);
        let mut body = garden::Error::from(error).body;
        if let Some(kind) = kind {
            body.kind = kind;
        }
        Error::new(status, body, hint)
    }
}

/// Status, type where it is not Garden's, and hint.
fn place(error: &supervisor::Error) -> (StatusCode, Option<&'static str>, &'static str) {
    use supervisor::Error as E;
    match error {
        E::Inventory { .. } | E::Files { .. } | E::Engine { .. } if error.is_full() => {
            (StatusCode::INSUFFICIENT_STORAGE, Some(FULL), "kato status")
        }
        E::ContainerNotFound { .. } => (StatusCode::NOT_FOUND, None, "kato container list"),
        E::ProcessNotFound { .. } => (StatusCode::NOT_FOUND, None, "kato container info HANDLE"),
        E::PropertyNotFound { .. } => (StatusCode::NOT_FOUND, None, ""),
        E::ExecutableNotFound { .. } => (StatusCode::BAD_REQUEST, None, ""),
        E::NotExecutable { .. } => (StatusCode::BAD_REQUEST, Some(NOT_EXECUTABLE), ""),
        E::Spec(_) | E::ProcessSpec(_) | E::ProcessRefused { .. } | E::Copy { .. } => {
            (StatusCode::BAD_REQUEST, Some(INVALID), "")
        }
        E::NotAllowed { hint, .. } => (StatusCode::BAD_REQUEST, Some(INVALID), hint),
        E::HandleInUse { .. } | E::ProcessExists { .. } | E::PortInUse { .. } | E::BeingDestroyed { .. } => {
            (StatusCode::CONFLICT, Some(CONFLICT), "")
        }
        // Nothing that passes by itself, so that nobody waits for it.
        E::Retiring => (StatusCode::CONFLICT, Some(CONFLICT), "kato node retire --cancel"),
        E::Paused { .. } => (StatusCode::CONFLICT, Some(CONFLICT), "kato container resume HANDLE"),
        E::WrongState { .. } => (StatusCode::CONFLICT, Some(CONFLICT), "kato container info HANDLE"),
        E::ImageMissing { temporary: true, .. } => (StatusCode::SERVICE_UNAVAILABLE, None, "kato status"),
        E::Engine { .. } if error.is_temporary() => (StatusCode::SERVICE_UNAVAILABLE, None, "kato status"),
        E::InitUnreachable { .. } => (StatusCode::SERVICE_UNAVAILABLE, None, "kato container info HANDLE"),
        E::NotReady(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            None,
            "kato process ready --block 30 fence",
        ),
        E::ImageMissing { .. } => (
            StatusCode::INTERNAL_SERVER_ERROR,
            None,
            "kato config get fence docker/image",
        ),
        E::Exhausted { .. } => (StatusCode::INTERNAL_SERVER_ERROR, None, "kato status"),
        E::Measure { .. } | E::Engine { .. } | E::Inventory { .. } | E::Network { .. } | E::Files { .. } => {
            (StatusCode::INTERNAL_SERVER_ERROR, None, "")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Handle, SpecError};

    fn told(error: supervisor::Error) -> (u16, &'static str, String) {
        let error = Error::from(error);
        (error.status.as_u16(), error.body.error.kind, error.body.hint)
    }

    #[test]
    fn statuses_tell_apart_what_a_client_can_do() {
        let handle: Handle = "h".parse().unwrap();
        let missing = supervisor::Error::ContainerNotFound { handle: "h".into() };
        assert_eq!(
            told(missing),
            (404, "ContainerNotFoundError", "kato container list".into())
        );
        assert_eq!(
            told(supervisor::Error::HandleInUse { handle }),
            (409, "ConflictError", String::new())
        );
        assert_eq!(
            told(supervisor::Error::Spec(SpecError("why".into()))),
            (400, "InvalidError", String::new())
        );
        assert_eq!(told(supervisor::Error::NotReady("starting")).0, 503);
        assert_eq!(
            told(supervisor::Error::Retiring),
            (409, "ConflictError", "kato node retire --cancel".into())
        );
        let full = supervisor::Error::Files {
            attempt: "make",
            path: "/run/x".into(),
            source: std::io::ErrorKind::StorageFull.into(),
        };
        assert_eq!(told(full), (507, "InsufficientStorageError", "kato status".into()));
        let refused = supervisor::Error::NotAllowed {
            what: "it".into(),
            hint: "ask for less",
        };
        assert_eq!(told(refused), (400, "InvalidError", "ask for less".into()));
    }

    #[test]
    fn the_hint_is_beside_gardens_members() {
        let line = json::line(&Error::invalid("why".into()).body);
        let expected = r#"{"Type":"InvalidError","Message":"why","Handle":"","ProcessID":"","Binary":"","hint":""}"#;
        assert_eq!(String::from_utf8(line).unwrap(), format!("{expected}\n"));
    }
}
