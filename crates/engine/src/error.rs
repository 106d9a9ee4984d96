//! The engine's errors, in our words: what was attempted, on what, and whether trying again can help.

use std::time::Duration;

/// The result of an engine call.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an engine call failed. No type of the wrapped library crosses this boundary.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such container or image.
    #[error("{what} does not exist in the engine")]
    NotFound { what: String },
    /// The name is taken, or the object is in a state in which this cannot be done.
    #[error("could not {attempt}: {reason}")]
    Conflict { attempt: String, reason: String },
    /// The engine understood and refused: the request can never succeed as it is.
    #[error("could not {attempt}: {reason}")]
    Refused { attempt: String, reason: String },
    /// The engine cannot be reached, is starting or stopping. Temporary.
    #[error("could not {attempt}: the engine at {endpoint} cannot be reached: {reason}")]
    Unavailable {
        attempt: String,
        endpoint: String,
        reason: String,
    },
    /// The engine answers, but the image's registry does not. Temporary.
    #[error("could not {attempt}: the registry cannot be reached: {reason}")]
    RegistryUnavailable { attempt: String, reason: String },
    /// The engine did not answer in time. Temporary; the effect may or may not have happened.
    #[error("could not {attempt}: the engine at {endpoint} gave no answer within {} s", after.as_secs_f32())]
    TimedOut {
        attempt: String,
        endpoint: String,
        after: Duration,
    },
    /// The engine's disk has no room. Lasts until somebody makes some.
    #[error("could not {attempt}: the engine's disk is full: {reason}")]
    Full { attempt: String, reason: String },
    /// The engine failed, or answered something that makes no sense.
    #[error("could not {attempt}: {reason}")]
    Failed { attempt: String, reason: String },
}

impl Error {
    /// Whether the same call may succeed later without anything being changed.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Error::Unavailable { .. } | Error::RegistryUnavailable { .. } | Error::TimedOut { .. }
        )
    }

    /// Whether the engine's disk has no room.
    pub fn is_full(&self) -> bool {
        matches!(self, Error::Full { .. })
    }

    /// Whether the container or image is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NotFound { .. })
    }
}
