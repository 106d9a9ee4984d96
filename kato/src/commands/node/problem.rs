//! The errors of nodes, pairing and keys as the administrator sees them: which exit code, and which command to try next.

use cluster::identity;
use cluster::pairing::Error as Pairing;

pub use crate::commands::cloud::{registry, store};
use crate::error::Error;

/// Keys or certificates are not as they should be.
pub fn identity(error: identity::Error) -> Error {
    Error::failed(error.to_string()).because(error)
}

/// Letting nodes in and out.
pub fn pairing(error: Pairing) -> Error {
    match error {
        Pairing::Registry(error) => registry(error),
        Pairing::Identity(error) => identity(error),
        error @ (Pairing::UnknownToken { .. } | Pairing::NoAdministrator { .. } | Pairing::NotPending { .. }) => {
            let hint = match &error {
                Pairing::UnknownToken { .. } => "kato node token list",
                Pairing::NoAdministrator { .. } => "kato admin list",
                _ => "kato node pending",
            };
            Error::not_found(error.to_string()).hint(hint)
        }
        Pairing::LastAdministrator { .. } => {
            Error::refused(error.to_string()).hint("make another one first: kato admin create NAME")
        }
        Pairing::AdministratorTaken { .. } => Error::refused(error.to_string()).hint("kato admin list"),
        Pairing::PairedAlready { .. } => Error::refused(error.to_string()).hint("kato node list"),
        error => Error::refused(error.to_string()),
    }
}
