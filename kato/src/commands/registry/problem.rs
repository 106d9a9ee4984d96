//! The errors of the image registry as the administrator sees them.

use registry_bootstrap::Error as Registry;

use crate::error::Error;

/// Something at the registry went wrong.
pub fn registry(error: Registry) -> Error {
    let (message, hint) = (error.to_string(), error.hint().to_owned());
    let new = Error::new(error.kind(), message).hint(hint);
    match error {
        Registry::Refused { .. } | Registry::Spoilt { .. } | Registry::NotFound { .. } | Registry::Failed { .. } => new,
        other => new.because(other),
    }
}

impl From<Registry> for Error {
    fn from(error: Registry) -> Self {
        registry(error)
    }
}
