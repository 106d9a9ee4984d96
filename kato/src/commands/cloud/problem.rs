//! The errors of records and of their store as the administrator sees them: which exit code, and what to try next.

use cluster::nodes::registry;

pub use crate::commands::config::problem::store_at as store;
use crate::error::Error;

/// Work on the records of nodes and realms failed.
pub fn registry(error: registry::Error) -> Error {
    use registry::Error as E;
    let message = error.to_string();
    match error {
        E::Store { source, .. } => store(source, message),
        E::NoNode { near: Some(near), .. } => Error::not_found(message).hint(format!("did you mean {near}?")),
        E::NoNode { near: None, .. } => Error::not_found(message).hint("kato node list"),
        E::NoRealm { near: Some(near), .. } => Error::not_found(message).hint(format!("did you mean {near}?")),
        E::NoRealm { near: None, .. } => Error::not_found(message).hint("kato realm list"),
        E::RealmInUse { .. } => Error::refused(message).hint("kato node realm -n NODE REALM"),
        E::Ambiguous { .. } | E::IdTaken { .. } | E::NameTaken { .. } => Error::refused(message).hint("kato node list"),
        E::RealmTaken { .. } => Error::refused(message).hint("kato realm list"),
        E::RealmNeeded { .. } | E::Refused { .. } => Error::refused(message),
        E::Contended { .. } => Error::failed(message).hint("try again"),
        error @ E::Corrupt { .. } => Error::failed(message).because(error),
    }
}
