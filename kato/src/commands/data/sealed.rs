//! Secrets under a passphrase: what a document says of them, and the two calls of the library that make and open it.
//!
//! Key derivation and encryption are orion's, used as its documentation says: Argon2i makes a key of the passphrase,
//! XChaCha20-Poly1305 seals with it. How costly the first is stands in the document, within bounds, so that a later
//! version can make it costlier and a forged document cannot.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cluster::config::TreeDocument;
use orion::{aead, kdf};
use serde::{Deserialize, Serialize};

use super::document::MAX_SIZE;
use super::passphrase::Passphrase;
use crate::error::{Error, Result};

/// The one way of sealing that this version knows.
const METHOD: &str = "argon2i-xchacha20poly1305";
/// The cost of what is sealed: passes, and memory in KiB.
const PASSES: u32 = 3;
const MEMORY: u32 = 64 * 1024;
/// The most that is spent on opening something.
const MAX_PASSES: u32 = 16;
const MAX_MEMORY: u32 = 256 * 1024;
/// The length in bytes of salts, and of keys.
const SALT: usize = 16;
const KEY: u32 = 32;

/// Secrets that nobody can read without the passphrase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    method: String,
    passes: u32,
    memory_kib: u32,
    /// Base64.
    salt: String,
    /// How many there are.
    pub count: usize,
    /// Base64.
    sealed: String,
}

impl Sealed {
    /// Seal these secrets, so many.
    pub fn seal(secret: &TreeDocument, count: usize, passphrase: &Passphrase) -> Result<Sealed> {
        let failed = || Error::failed("could not encrypt the secrets");
        let plain = serde_json::to_vec(secret).map_err(|error| failed().because(error))?;
        let salt = kdf::Salt::default();
        let key = key(passphrase, salt.as_ref(), PASSES, MEMORY).map_err(|error| failed().because(error))?;
        let sealed = aead::seal(&key, &plain).map_err(|error| failed().because(error))?;
        Ok(Sealed {
            method: METHOD.to_owned(),
            passes: PASSES,
            memory_kib: MEMORY,
            salt: STANDARD.encode(salt),
            count,
            sealed: STANDARD.encode(sealed),
        })
    }

    /// Refuse what could not be opened whatever the passphrase, before anybody is asked for it.
    pub fn check(&self) -> Result<()> {
        if self.method != METHOD {
            let message = "the secrets are encrypted in a way that this kato does not know";
            return Err(Error::refused(message).hint("update this node"));
        }
        let fits = (PASSES..=MAX_PASSES).contains(&self.passes)
            && (8 * 1024..=MAX_MEMORY).contains(&self.memory_kib)
            && self.sealed.len() as u64 <= MAX_SIZE;
        if !fits || self.salt().is_none() {
            return Err(Error::refused(format!(
                "the secrets cannot be decrypted within this kato's bounds: {MAX_PASSES} passes and {MAX_MEMORY} KiB"
            )));
        }
        Ok(())
    }

    /// The secrets.
    pub fn open(&self, passphrase: &Passphrase) -> Result<TreeDocument> {
        self.check()?;
        let wrong = || Error::refused("the passphrase is not the one of this document, or the document is damaged");
        let salt = self.salt().ok_or_else(wrong)?;
        let sealed = STANDARD.decode(&self.sealed).map_err(|_| wrong())?;
        let key = key(passphrase, &salt, self.passes, self.memory_kib).map_err(|_| wrong())?;
        let plain = aead::open(&key, &sealed).map_err(|_| wrong())?;
        serde_json::from_slice(&plain)
            .map_err(|error| Error::refused("the secrets are not what kato data export writes").because(error))
    }

    fn salt(&self) -> Option<Vec<u8>> {
        let salt = STANDARD.decode(&self.salt).ok()?;
        (salt.len() == SALT).then_some(salt)
    }
}

fn key(
    passphrase: &Passphrase,
    salt: &[u8],
    passes: u32,
    memory_kib: u32,
) -> std::result::Result<aead::SecretKey, orion::errors::UnknownCryptoError> {
    let salt = kdf::Salt::from_slice(salt)?;
    kdf::derive_key(passphrase.secret(), &salt, passes, memory_kib, KEY)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret() -> TreeDocument {
        serde_json::from_value(json!({
            "revision": 1, "secrets": "included", "cluster": {"x": {"password": "hunter2"}}
        }))
        .unwrap()
    }

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn only_the_passphrase_opens_it() {
        let sealed = Sealed::seal(&secret(), 1, &passphrase("correct horse")).unwrap();
        let text = serde_json::to_string(&sealed).unwrap();
        assert!(!text.contains("hunter2") && !text.contains("password"), "{text}");
        assert_eq!(sealed.open(&passphrase("correct horse")).unwrap(), secret());
        let wrong = sealed.open(&passphrase("correct house")).unwrap_err();
        assert!(
            wrong.report().contains("the passphrase is not the one"),
            "{}",
            wrong.report()
        );
        let again = Sealed::seal(&secret(), 1, &passphrase("correct horse")).unwrap();
        assert!(again.salt != sealed.salt && again.sealed != sealed.sealed);
    }

    #[test]
    fn what_is_spoilt_or_too_costly_is_refused() {
        let good = Sealed::seal(&secret(), 1, &passphrase("correct horse")).unwrap();
        let spoilt = |spoil: &dyn Fn(&mut Sealed)| {
            let mut sealed = good.clone();
            spoil(&mut sealed);
            sealed.open(&passphrase("correct horse")).unwrap_err().kind()
        };
        let spoils: [&dyn Fn(&mut Sealed); 8] = [
            &|sealed| sealed.method = "rot13".into(),
            &|sealed| sealed.passes = MAX_PASSES + 1,
            &|sealed| sealed.passes = 0,
            &|sealed| sealed.memory_kib = u32::MAX,
            &|sealed| sealed.memory_kib = 0,
            &|sealed| sealed.salt = "AAAA".into(),
            &|sealed| sealed.sealed = "?".into(),
            &|sealed| sealed.sealed.insert_str(8, "AAAA"),
        ];
        for spoil in spoils {
            assert_eq!(spoilt(spoil), crate::error::Kind::Refused);
        }
    }
}
