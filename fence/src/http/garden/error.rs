//! The only map from the supervisor's errors to Garden's types and status codes.
//!
//! Garden's client picks its error by the type in the body: a missing container or process is 404, all else 500.

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::wire;
use crate::http::body::BodyError;
use crate::http::hijack::Hijacked;
use crate::http::json::{self, JsonError};
use crate::supervisor;

/// What a client is told.
#[derive(Debug, PartialEq, Eq)]
pub struct Error {
    pub(in crate::http) status: StatusCode,
    pub(in crate::http) body: wire::Error,
}

impl Error {
    /// A request that Garden has no error type for.
    pub fn plain(message: impl Into<String>) -> Error {
        let body = wire::Error {
            message: message.into(),
            ..wire::Error::default()
        };
        Error {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            body,
        }
    }

    /// What this version of fence does not do.
    pub fn unsupported(what: &str) -> Error {
        Error::plain(format!("{what} is not supported by this version of fence"))
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
        Error::plain(error.to_string())
    }
}

impl From<BodyError> for Error {
    fn from(error: BodyError) -> Error {
        Error::plain(error.to_string())
    }
}

impl From<supervisor::Error> for Error {
    fn from(error: supervisor::Error) -> Error {
        use supervisor::Error as E;
        let temporary = error.is_temporary();
        let mut body = wire::Error {
            message: error.chain(),
            ..wire::Error::default()
        };
        let status = match error {
            E::ContainerNotFound { handle } => {
                body.kind = "ContainerNotFoundError";
                body.handle = handle;
                StatusCode::NOT_FOUND
            }
            E::ProcessNotFound { process, handle } => {
                body.kind = "ProcessNotFoundError";
                body.handle = handle.into();
                body.process_id = process;
                StatusCode::NOT_FOUND
            }
            E::ExecutableNotFound { .. } => {
                body.kind = "ExecutableNotFoundError";
                StatusCode::INTERNAL_SERVER_ERROR
            }
            E::ImageMissing { .. } | E::Engine { .. } | E::Inventory { .. } | E::Files { .. } if temporary => {
                unavailable(&mut body)
            }
            // Another node will do, and this one once it is in service again.
            E::InitUnreachable { .. } | E::NotReady(_) | E::Retiring => unavailable(&mut body),
            E::PropertyNotFound { .. }
            | E::HandleInUse { .. }
            | E::ProcessExists { .. }
            | E::BeingDestroyed { .. }
            | E::WrongState { .. }
            | E::Paused { .. }
            | E::NotExecutable { .. }
            | E::ProcessRefused { .. }
            | E::Copy { .. }
            | E::Measure { .. }
            | E::Spec(_)
            | E::ProcessSpec(_)
            | E::NotAllowed { .. }
            | E::Exhausted { .. }
            | E::PortInUse { .. }
            | E::ImageMissing { .. }
            | E::Engine { .. }
            | E::Inventory { .. }
            | E::Network { .. }
            | E::Files { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Error { status, body }
    }
}

fn unavailable(body: &mut wire::Error) -> StatusCode {
    body.kind = "ServiceUnavailableError";
    StatusCode::INTERNAL_SERVER_ERROR
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Handle, SpecError};

    fn handle() -> Handle {
        "h".parse().unwrap()
    }

    #[test]
    fn what_is_missing_is_404_and_named() {
        let error = Error::from(supervisor::Error::ContainerNotFound { handle: "gone".into() });
        assert_eq!(
            (error.status, error.body.kind, error.body.handle.as_str()),
            (StatusCode::NOT_FOUND, "ContainerNotFoundError", "gone")
        );
        let error = Error::from(supervisor::Error::ProcessNotFound {
            handle: handle(),
            process: "p".into(),
        });
        assert_eq!(
            (error.status, error.body.kind, error.body.process_id.as_str()),
            (StatusCode::NOT_FOUND, "ProcessNotFoundError", "p")
        );
    }

    #[test]
    fn messages_that_clients_compare_are_gardens() {
        let message = |error| Error::from(error).body.message;
        assert_eq!(
            message(supervisor::Error::HandleInUse { handle: handle() }),
            "Handle 'h' already in use"
        );
        let missing = supervisor::Error::PropertyNotFound {
            handle: handle(),
            key: "k".into(),
        };
        assert_eq!(message(missing), "property does not exist: k");
        let twice = supervisor::Error::BeingDestroyed { handle: handle() };
        assert_eq!(message(twice), "container already being destroyed");
    }

    #[test]
    fn temporary_trouble_is_told_apart() {
        let starting = Error::from(supervisor::Error::NotReady("starting"));
        assert_eq!(
            (starting.status.as_u16(), starting.body.kind),
            (500, "ServiceUnavailableError")
        );
        let retiring = Error::from(supervisor::Error::Retiring);
        assert_eq!(
            (retiring.status.as_u16(), retiring.body.kind),
            (500, "ServiceUnavailableError")
        );
        let missing = |temporary| supervisor::Error::ImageMissing {
            name: "a".into(),
            reason: "b".into(),
            temporary,
        };
        assert_eq!(Error::from(missing(true)).body.kind, "ServiceUnavailableError");
        assert_eq!(Error::from(missing(false)).body.kind, "");
    }

    #[test]
    fn all_else_is_500_without_a_type() {
        let error = Error::from(supervisor::Error::Spec(SpecError("why".into())));
        assert_eq!((error.status.as_u16(), error.body.kind), (500, ""));
        assert!(error.body.message.ends_with("why"));
    }

    #[test]
    fn all_five_members_are_always_sent() {
        let line = json::line(&Error::plain("why").body);
        let expected = r#"{"Type":"","Message":"why","Handle":"","ProcessID":"","Binary":""}"#;
        assert_eq!(String::from_utf8(line).unwrap(), format!("{expected}\n"));
    }
}
