//! What a Garden call can end with, told apart as the Go client does: by the body's `Type`, never by the status.

use std::io;

use serde::Deserialize;

/// The result of a Garden call.
pub type Result<T> = std::result::Result<T, Error>;

/// The body of an answer that is not 2xx. Missing members read as empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ErrorBody {
    #[serde(rename = "Type")]
    pub kind: String,
    pub message: String,
    pub handle: String,
    #[serde(rename = "ProcessID")]
    pub process_id: String,
    pub binary: String,
}

/// Why a Garden call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server said so.
    #[error("{}", text(body))]
    Garden { status: u16, body: Box<ErrorBody> },
    /// Not 2xx and no JSON object either.
    #[error("bad response: {status}: {body}")]
    BadResponse { status: u16, body: String },
    /// The server did something with which the Go client cannot work.
    #[error("breach of the protocol: {0}")]
    Protocol(String),
    /// The connection failed.
    #[error("{attempt}")]
    Connection { attempt: &'static str, source: io::Error },
}

impl Error {
    /// The answer's status, where there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Garden { status, .. } | Error::BadResponse { status, .. } => Some(*status),
            Error::Protocol(_) | Error::Connection { .. } => None,
        }
    }

    /// The error's Garden type; `None` where the server sent none of Garden's errors.
    pub fn kind(&self) -> Option<&str> {
        match self {
            Error::Garden { body, .. } => Some(&body.kind),
            _ => None,
        }
    }
}

/// What the Go client's error prints.
fn text(body: &ErrorBody) -> String {
    match body.kind.as_str() {
        "ContainerNotFoundError" => format!("unknown handle: {}", body.handle),
        "ProcessNotFoundError" => format!("unknown process: {}", body.process_id),
        _ => body.message.clone(),
    }
}
