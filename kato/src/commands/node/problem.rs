//! The errors of nodes, pairing and keys as the administrator sees them: which exit code, and which command to try next.

use cluster::identity;
use cluster::nodes::registry;
use cluster::pairing::Error as Pairing;
use cluster::store::Error as Store;

use crate::commands::config::problem;
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

/// The records of nodes.
pub fn registry(error: registry::Error) -> Error {
    let message = error.to_string();
    match error {
        registry::Error::Store { source, .. } => store(source, message),
        registry::Error::NoNode { near, .. } => {
            let hint = near.map_or_else(|| "kato node list".to_owned(), |near| format!("did you mean {near}?"));
            Error::not_found(message).hint(hint)
        }
        registry::Error::NoRealm { .. } => Error::not_found(message).hint("kato realm list"),
        registry::Error::NameTaken { .. } => Error::refused(message).hint("give it another name"),
        error @ registry::Error::Corrupt { .. } => Error::failed(message).because(error),
        registry::Error::Contended { .. } => Error::failed(message).hint("try again"),
        registry::Error::Ambiguous { .. }
        | registry::Error::IdTaken { .. }
        | registry::Error::RealmTaken { .. }
        | registry::Error::RealmInUse { .. }
        | registry::Error::RealmNeeded { .. }
        | registry::Error::Refused { .. } => Error::refused(message),
    }
}

/// The store, at `message`.
pub fn store(error: Store, message: String) -> Error {
    match error {
        Store::Denied { .. } => Error::refused(format!("{message}: an administrator's credential is needed"))
            .hint("on the core: kato admin create NAME; then here: --credential FILE"),
        error => {
            let how = problem::store(error);
            Error::new(how.kind(), message).because(how)
        }
    }
}
