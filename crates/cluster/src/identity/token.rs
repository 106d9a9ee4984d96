//! The one word that a node needs to join: where the core is, by which CA it is known, and a secret that pairs once.
//!
//! `fence1.` and base64url of a JSON object. What the secret is good for is kept by [`crate::pairing`], under the
//! secret's hash alone.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::crypto::ring;
use serde::{Deserialize, Serialize};

use super::{Address, Error, Fingerprint, Result};

/// What every token begins with.
const PREFIX: &str = "fence1.";
/// The longest token that is read, in bytes.
const MAX_TOKEN: usize = 1024;
/// How many random bytes the secret has.
const SECRET_BYTES: usize = 32;

/// A secret that pairs one node. It has no `Debug` or `Display` that would show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret(String);

impl Secret {
    /// A new one.
    pub fn generate() -> Result<Self> {
        let mut bytes = [0; SECRET_BYTES];
        let filled = ring::default_provider().secure_random.fill(&mut bytes);
        filled.map_err(|_| Error::Failed {
            attempt: "make a secret",
            source: "the system gave no random bytes".into(),
        })?;
        Ok(Secret(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Its hash, by which it is known where it is checked.
    pub fn hash(&self) -> Fingerprint {
        Fingerprint::of(self.0.as_bytes())
    }

    /// The secret itself, for who is to use it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Secret {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        match URL_SAFE_NO_PAD.decode(&text) {
            Ok(bytes) if bytes.len() == SECRET_BYTES => Ok(Secret(text)),
            _ => Err(malformed("its secret is none")),
        }
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> String {
        secret.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinToken {
    /// Where the core's door is.
    pub core: Address,
    /// The CA's fingerprint.
    pub ca: Fingerprint,
    /// What pairs.
    pub secret: Secret,
}

impl JoinToken {
    /// The token as it is handed over: a secret.
    pub fn text(&self) -> Result<String> {
        let json = serde_json::to_vec(self).map_err(|source| Error::Failed {
            attempt: "write a token",
            source: Box::new(source),
        })?;
        Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json)))
    }
}

impl FromStr for JoinToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.len() > MAX_TOKEN {
            return Err(malformed("it is too long"));
        }
        let Some(coded) = text.strip_prefix(PREFIX) else {
            return Err(malformed("it has to begin with fence1."));
        };
        let json = URL_SAFE_NO_PAD.decode(coded);
        let json = json.map_err(|_| malformed("a part is missing or was changed"))?;
        // What is wrong in detail would show parts of a secret.
        serde_json::from_slice(&json).map_err(|_| malformed("a part is missing or was changed"))
    }
}

fn malformed(reason: &str) -> Error {
    Error::Malformed {
        what: "join token",
        reason: reason.to_owned(),
    }
}
