//! The SHA-256 of a public key or of a CA's certificate, as people compare it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Error, Result};

/// A SHA-256 in lower-case hex. Read with letters of either case and with colons between the bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);

/// How many digits it has.
const DIGITS: usize = 64;
/// How many of them are enough where it only tells apart.
const SHORT: usize = 16;

impl Fingerprint {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        Fingerprint(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Of the public key in a PEM text such as `key.pub`.
    pub fn of_public_key(pem: &str) -> Result<Self> {
        Ok(Self::of(&super::der(pem, "PUBLIC KEY")?))
    }

    /// Of the certificate in a PEM text.
    pub fn of_certificate(pem: &str) -> Result<Self> {
        Ok(Self::of(&super::der(pem, "CERTIFICATE")?))
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its beginning, which tells keys apart where nobody tries to forge one.
    pub fn short(&self) -> &str {
        &self.0[..SHORT]
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let malformed = |reason: &str| {
            Err(Error::Malformed {
                what: "fingerprint",
                reason: reason.to_owned(),
            })
        };
        if text.len() > 2 * DIGITS {
            return malformed("it is too long");
        }
        let digits: String = text.trim().replace(':', "").to_ascii_lowercase();
        if digits.len() != DIGITS || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return malformed("it has to be 64 hexadecimal digits");
        }
        Ok(Fingerprint(digits))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}
