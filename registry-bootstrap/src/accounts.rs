//! The accounts at the registry: one for each node, which pulls, and one for each administrator, which pushes as well.
//!
//! None is stored. An account's name says whose it is, and its password is derived from a secret of the core and the
//! fingerprint of that one's key: who is not in the tree any more, or has another key now, has no account. Whether
//! somebody is in the tree is for the caller to say; nothing is read here but the secret.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cluster::config::Name;
use cluster::files;
use cluster::identity::Fingerprint;
use engine::RegistryAuth;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

use crate::{Error, Result};

/// Bytes of the secret.
const SECRET: usize = 32;
/// The longest name and password that are looked at.
const MAX_WORD: usize = 256;

/// Whose an account is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A node: it pulls.
    Node(Uuid),
    /// An administrator: it pulls, pushes and deletes.
    Administrator(Name),
}

impl Holder {
    /// Whose this account is; `None` where it is nobody's.
    pub fn of(username: &str) -> Option<Holder> {
        if username.len() > MAX_WORD {
            return None;
        }
        match username.split_once('-')? {
            // In one spelling only, so that nobody has two.
            ("node", id) => Uuid::parse_str(id)
                .ok()
                .filter(|parsed| parsed.to_string() == id)
                .map(Holder::Node),
            ("admin", name) => Name::new(name).ok().map(Holder::Administrator),
            _ => None,
        }
    }

    /// Whether it may do more than pull.
    pub fn may_push(&self) -> bool {
        matches!(self, Holder::Administrator(_))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Node(id) => write!(f, "node-{id}"),
            Holder::Administrator(name) => write!(f, "admin-{name}"),
        }
    }
}

/// Makes and checks passwords.
pub struct Accounts {
    secret: hmac::Key,
}

impl Accounts {
    /// Those of the secret in this file.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = files::read_limited(path, SECRET as u64).map_err(Error::file("read", path))?;
        match bytes.len() {
            SECRET => Ok(Accounts {
                secret: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
            }),
            _ => Err(Error::failed(
                "read the registry's secret",
                "its file has another length",
            )),
        }
    }

    /// As [`Accounts::load`]; a new secret is made where there is none.
    pub fn load_or_make(path: &Path) -> Result<Self> {
        if !path.exists() {
            let mut secret = [0; SECRET];
            SystemRandom::new()
                .fill(&mut secret)
                .map_err(|reason| Error::failed("make the registry's secret", reason))?;
            match files::write_new(path, &secret, 0o600) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(Error::file("write", path)(error));
                }
                _ => {}
            }
        }
        Accounts::load(path)
    }

    /// The account of this holder, who has this key.
    pub fn of(&self, holder: &Holder, key: &Fingerprint) -> RegistryAuth {
        let tag = hmac::sign(&self.secret, &statement(holder, key));
        RegistryAuth {
            username: holder.to_string(),
            password: BASE64_URL_SAFE_NO_PAD.encode(tag),
        }
    }

    /// Whether this is the password of this holder, who has this key.
    pub fn is_right(&self, holder: &Holder, key: &Fingerprint, password: &str) -> bool {
        let tag = BASE64_URL_SAFE_NO_PAD.decode(password.get(..password.len().min(MAX_WORD)).unwrap_or_default());
        tag.is_ok_and(|tag| hmac::verify(&self.secret, &statement(holder, key), &tag).is_ok())
    }

    /// A further secret for one purpose, the same each time.
    pub fn derived(&self, purpose: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&self.secret, format!("purpose/{purpose}").as_bytes()))
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Accounts(…)")
    }
}

fn statement(holder: &Holder, key: &Fingerprint) -> Vec<u8> {
    format!("account/{holder}/{key}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(text: &str) -> Holder {
        Holder::of(text).unwrap()
    }

    #[test]
    fn a_password_is_one_holders_with_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let accounts = Accounts::load_or_make(&path).unwrap();
        let (node, admin) = (Holder::Node(Uuid::from_u128(7)), holder("admin-alice"));
        let (key, other) = (Fingerprint::of(b"key"), Fingerprint::of(b"other"));
        let account = accounts.of(&node, &key);
        assert_eq!(account.username, format!("node-{}", Uuid::from_u128(7)));
        let again = Accounts::load_or_make(&path).unwrap();
        assert!(again.is_right(&node, &key, &account.password));
        assert!(!again.is_right(&node, &other, &account.password));
        assert!(!again.is_right(&admin, &key, &account.password));
        for wrong in [
            "",
            "x",
            "a b",
            &account.password[1..],
            &format!("{}A", account.password),
        ] {
            assert!(!again.is_right(&node, &key, wrong), "{wrong}");
        }
        let stranger = Accounts::load_or_make(&folder.path().join("other")).unwrap();
        assert!(!stranger.is_right(&node, &key, &account.password));
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_name_says_whose_it_is_in_one_spelling() {
        assert_eq!(
            Holder::of("admin-alice"),
            Some(Holder::Administrator(Name::new("alice").unwrap()))
        );
        let id = "00000000-0000-0000-0000-00000000000a";
        assert!(!holder(&format!("node-{id}")).may_push());
        assert!(holder("admin-node-1").may_push());
        for nobody in [
            "",
            "node",
            "node-x",
            "admin-",
            "admin-a/b",
            "root-x",
            &format!("node-{}", id.to_uppercase()),
            &format!("node-{}", id.replace('-', "")),
            &format!("admin-{}", "a".repeat(1000)),
        ] {
            assert_eq!(Holder::of(nobody), None, "{nobody}");
        }
    }
}
