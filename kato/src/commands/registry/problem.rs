//! The errors of the image registry as the administrator sees them.

use registry_bootstrap::{Error as Registry, Kind as Of};

use crate::error::{Error, Kind};

/// Something at the registry went wrong.
pub fn registry(error: Registry) -> Error {
    let kind = match error.kind() {
        Of::Failed => Kind::Failed,
        Of::Refused => Kind::Refused,
        Of::NotFound => Kind::NotFound,
        Of::Unreachable => Kind::Unreachable,
    };
    let (message, hint) = (error.to_string(), error.hint().to_owned());
    let new = Error::new(kind, message).hint(hint);
    match error {
        Registry::Refused { .. } | Registry::NotFound { .. } | Registry::Failed { .. } => new,
        other => new.because(other),
    }
}
