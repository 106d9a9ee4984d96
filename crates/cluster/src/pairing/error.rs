//! What can go wrong when nodes are let in and out.

use crate::config::Name;
use crate::identity;
use crate::identity::Fingerprint;
use crate::nodes::registry;

/// The result of letting nodes in and out.
pub type Result<T> = std::result::Result<T, Error>;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The records of nodes could not be read or changed.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// Keys or certificates.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// The node is in already.
    #[error("the node with this key is paired already, as {name}")]
    PairedAlready { name: Name },
    /// Another key has this node's id.
    #[error("another key is paired with the id of this node")]
    OtherKey,
    /// The node was removed.
    #[error("this node was removed by an administrator")]
    Removed,
    /// The token is not one, was used, or has expired.
    #[error("the token is not good: it was used already, has expired or was revoked")]
    NoToken,
    /// No token is called so.
    #[error("there is no token {word:?}")]
    UnknownToken { word: String },
    /// What is asked is more than may be asked for.
    #[error("what the node asks for is refused: {reason}")]
    Asks { reason: String },
    /// Too many ask at once.
    #[error("{limit} {what} are the most")]
    Full { limit: usize, what: &'static str },
    /// There is such an administrator already.
    #[error("there is an administrator {name} already")]
    AdministratorTaken { name: Name },
    /// There is no such administrator.
    #[error("there is no administrator {name}")]
    NoAdministrator { name: Name },
    /// Without an administrator nobody could let one in.
    #[error("{name} is the last administrator")]
    LastAdministrator { name: Name },
    /// Nobody waits to be paired with this key.
    #[error("no node with the fingerprint {fingerprint} has asked")]
    NotPending { fingerprint: Fingerprint },
}
