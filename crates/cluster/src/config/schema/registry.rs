//! The keys below `cluster registry/`: the cluster's image registry, and accounts at others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Applies, Key, Kind, image};

/// All accounts at other registries together, as text, in bytes: the core's answer has to hold them.
const MAX_TEXT: usize = 64 * 1024;
/// The most accounts at other registries.
const MAX_ACCOUNTS: usize = 32;
/// The longest name or password of an account, in bytes.
const MAX_WORD: usize = 4096;

/// The keys `registry/…`, typed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RegistryConfig {
    /// Of which the registry on the core is made.
    pub image: String,
    /// Where it answers on the core.
    pub port: u16,
    /// Where it answers, `host:port`; "" where there is none.
    pub location: String,
}

/// An account at another registry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    pub username: String,
    pub password: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({}, …)", self.username)
    }
}

/// The accounts at other registries, by registry, as `registry/credentials` has them.
pub fn accounts(text: &str) -> Result<BTreeMap<String, Account>, String> {
    if text.is_empty() {
        return Ok(BTreeMap::new());
    }
    if text.len() > MAX_TEXT {
        return Err(format!("it is longer than {MAX_TEXT} bytes"));
    }
    // Nothing of what is written there goes into a message.
    let all: BTreeMap<String, Account> = serde_json::from_str(text).map_err(|error| {
        format!(
            "it is not understood (line {}, column {})",
            error.line(),
            error.column()
        )
    })?;
    if all.len() > MAX_ACCOUNTS {
        return Err(format!("it has more than {MAX_ACCOUNTS} accounts"));
    }
    for (registry, account) in &all {
        if !image::is_location(registry) {
            return Err(format!("{registry:?} is not where a registry answers"));
        }
        let good = |word: &str| !word.is_empty() && word.len() <= MAX_WORD && !word.contains(char::is_control);
        if !good(&account.username) || account.username.contains(':') || !good(&account.password) {
            return Err(format!("the account at {registry} has no usable name or password"));
        }
    }
    Ok(all)
}

pub(super) const IMAGE: Key = Key {
    path: "registry/image",
    aliases: &[],
    kind: Kind::Text {
        check: image::check,
        accepts: "an image name such as registry:2",
    },
    default: || json!("registry:2"),
    help: "the image of the cluster's registry; where it is not in reach, Debian's docker-registry is packed into one",
    applies: Applies::Live,
    secret: false,
};

pub(super) const PORT: Key = Key {
    path: "registry/port",
    aliases: &[],
    kind: Kind::Integer { min: 1, max: 65535 },
    default: || json!(5000),
    help: "the port of the core at which the next kato registry setup has the registry answer; one that runs stays where it is",
    applies: Applies::Live,
    secret: false,
};

pub(super) const LOCATION: Key = Key {
    path: "registry/location",
    aliases: &[],
    kind: Kind::Text {
        check: check_location,
        accepts: "nothing, or a host and port such as api.paas.example.com:5000",
    },
    default: || json!(""),
    help: "where the cluster's registry answers; kato registry setup writes it, empty is nowhere",
    applies: Applies::Live,
    secret: false,
};

pub(super) const CREDENTIALS: Key = Key {
    path: "registry/credentials",
    aliases: &[],
    kind: Kind::Text {
        check: check_accounts,
        accepts: "nothing, or a JSON map from registry to {\"username\": \"…\", \"password\": \"…\"}",
    },
    default: || json!(""),
    help: "accounts at other registries, which the core hands to its nodes; kato registry login writes it",
    applies: Applies::Live,
    secret: true,
};

fn check_location(location: &str) -> Result<(), String> {
    match location.is_empty() || (image::is_location(location) && location.contains(':')) {
        true => Ok(()),
        false => Err(format!("{location:?} is not a host and a port")),
    }
}

fn check_accounts(text: &str) -> Result<(), String> {
    accounts(text).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_has_a_host_and_a_port() {
        for good in ["", "core:5000", "10.0.0.1:1", "api.example.com:49153"] {
            assert_eq!(check_location(good), Ok(()), "{good}");
        }
        for bad in [
            "core",
            "core:0",
            "core:70000",
            "a b:1",
            "https://core:5000",
            "core:5000/x",
        ] {
            assert!(check_location(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn accounts_are_read_and_never_repeated() {
        let all = accounts(r#"{"docker.io": {"username": "u", "password": "hidden"}}"#).unwrap();
        assert_eq!(all["docker.io"].username, "u");
        assert!(!format!("{all:?}").contains("hidden"));
        for bad in [
            "hidden",
            r#"{"docker.io": "hidden"}"#,
            r#"{"a/b": {"username": "u", "password": "hidden"}}"#,
            r#"{"docker.io": {"username": "a:b", "password": "hidden"}}"#,
            r#"{"docker.io": {"username": "", "password": "hidden"}}"#,
        ] {
            let error = check_accounts(bad).unwrap_err();
            assert!(!error.contains("hidden"), "{error}");
        }
        let many: Vec<String> = (0..20)
            .map(|n| {
                format!(
                    r#""r{n}.example": {{"username": "u", "password": "{}"}}"#,
                    "x".repeat(4000)
                )
            })
            .collect();
        let error = check_accounts(&format!("{{{}}}", many.join(","))).unwrap_err();
        assert!(error.contains("longer than 65536 bytes"), "{error}");
    }
}
