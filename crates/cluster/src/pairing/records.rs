//! What is kept of those who ask, who may come, and what lets them in. Plain values.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::Name;
use crate::identity::Fingerprint;
use crate::nodes::Role;

/// The most nodes that may wait to be paired.
pub const MAX_PENDING: usize = 1000;
/// How long one that does not ask any more is remembered.
pub const PENDING_FOR: SignedDuration = SignedDuration::from_hours(24);

/// How long an approval waits for its node to ask.
pub const APPROVED_FOR: SignedDuration = SignedDuration::from_hours(24);

pub(super) const PENDING: &str = "pairing/pending/";
pub(super) const APPROVED: &str = "pairing/approved/";
pub(super) const TOKEN: &str = "pairing/token/";

pub(super) fn pending_key(fingerprint: &Fingerprint) -> String {
    format!("{PENDING}{fingerprint}")
}

pub(super) fn approved_key(fingerprint: &Fingerprint) -> String {
    format!("{APPROVED}{fingerprint}")
}

pub(super) fn removed_key(fingerprint: &Fingerprint) -> String {
    format!("pairing/removed/{fingerprint}")
}

pub(super) fn token_key(hash: &Fingerprint) -> String {
    format!("{TOKEN}{hash}")
}

/// A node that asks and was not let in. All but the fingerprint is its own word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Of its key, which it has proven to have.
    pub fingerprint: Fingerprint,
    /// Its id.
    pub id: Uuid,
    /// How it would be called.
    pub name: Name,
    /// What it would do.
    pub roles: Vec<Role>,
    /// Where it can be reached.
    pub addresses: Vec<IpAddr>,
    /// Of its kato.
    pub version: String,
    /// When it asked first.
    pub first_asked: Timestamp,
    /// When it asked last, to about a minute.
    pub last_asked: Timestamp,
}

impl Pending {
    /// Whether it has not asked for so long that it is forgotten.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        now.duration_since(self.last_asked) > PENDING_FOR
    }
}

/// A key that is let in when it asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approved {
    /// Of the key.
    pub fingerprint: Fingerprint,
    /// Into which realm.
    pub realm: Name,
    /// By which name; its own if there is none.
    pub name: Option<Name>,
    /// What the node does; what it asks for, `core` and `config` left out, if there are none.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// Who said so.
    pub by: String,
    /// With whose credential, if it is known.
    #[serde(default)]
    pub administrator: Option<Name>,
    /// When.
    pub at: Timestamp,
}

impl Approved {
    /// Whether it has waited for so long that it is of no use any more.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) > APPROVED_FOR
    }
}

/// A key that is not let in any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// How the node was called.
    pub name: Name,
    /// Who removed it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// What a secret lets in, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The hash of the secret; its beginning is the token's name.
    pub id: Fingerprint,
    /// Into which realm.
    pub realm: Name,
    /// What the node does; what it asks for, `core` and `config` left out, if there are none.
    pub roles: Vec<Role>,
    /// By which name; its own if there is none.
    pub name: Option<Name>,
    /// Who made it.
    pub made_by: String,
    /// With whose credential, if it is known.
    #[serde(default)]
    pub administrator: Option<Name>,
    /// Until when it is good.
    pub expires: Timestamp,
}
