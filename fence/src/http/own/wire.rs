//! The JSON types of our own routes. No conversions, no checks. What fence says of containers and of the node is
//! [`ContainerInfo`](crate::container::ContainerInfo) and the supervisor's status types, as they are.

use serde::{Deserialize, Serialize};

use crate::http::garden::wire as garden;
use crate::http::json::items;

/// The body of every answer that is no success: Garden's, and what to do about it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    #[serde(flatten)]
    pub error: garden::Error,
    /// The next command, or nothing.
    pub hint: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Create {
    pub spec: garden::ContainerSpec,
    /// Start the image's command, or `command`.
    pub start: bool,
    #[serde(deserialize_with = "items")]
    pub command: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Start {
    #[serde(deserialize_with = "items")]
    pub command: Vec<String>,
}

/// The first frame.
#[derive(Debug, Serialize)]
pub struct Attached<'a> {
    pub process_id: &'a str,
    pub stream_id: &'a str,
    pub tty: bool,
    /// How much input may be on its way beyond what was passed on, so that signals never wait behind it, in bytes.
    pub stdin_window: u32,
    /// What the process has of the client's source of input; not where it named none, or it cannot be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin_from: Option<u64>,
    /// Where in the whole of each output this connection begins; not where it carries none.
    #[serde(flatten)]
    pub from: Option<From>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct From {
    pub stdout_from: u64,
    pub stderr_from: u64,
}

/// The last frame of a process that ended.
#[derive(Debug, Serialize)]
pub struct Exited {
    pub exit_status: i32,
}

/// The last frame when the attachment ends and the process does not.
#[derive(Debug, Serialize)]
pub struct Failed<'a> {
    pub error: &'a str,
    /// The process goes on, and attaching again leads to it.
    pub again: bool,
}

#[derive(Debug, Serialize)]
pub struct Dropped {
    pub dropped: DroppedPart,
}

/// How many bytes of the input of this connection the container's first process has passed on.
#[derive(Debug, Serialize)]
pub struct InputTaken {
    pub stdin_ack: u64,
}

/// How far the client has come in the whole of each output.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct OutputTaken {
    pub stdout_ack: u64,
    pub stderr_ack: u64,
}

#[derive(Debug, Serialize)]
pub struct DroppedPart {
    pub stream: crate::supervisor::Stream,
    pub bytes: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Signal {
    pub signal: i32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Size {
    pub columns: u16,
    pub rows: u16,
}
