//! What the core answers of the image registry: who proves to be a node or an administrator gets an account, and an account
//! gets tokens that say for some minutes what it may do there.
//!
//! An account is good for as long as its holder is in the tree with the same key; nothing of it is kept
//! ([`registry_bootstrap::accounts`]).

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cluster::config::schema::registry::{self as schema, Account};
use cluster::config::{Config, KeyPath, Name, Secrets, Target};
use cluster::identity::{Fingerprint, Key};
use cluster::nodes::registry::Nodes;
use cluster::pairing::Administrators;
use http::{HeaderValue, StatusCode};
use registry_bootstrap::accounts::{Accounts, Holder};
use registry_bootstrap::token;
use tracing::{debug, info, warn};

use super::desk::{Answered, CoreDesk, Refusal, read, refusal};
use super::door::{Question, Reply};
use super::wire::{self, AskAccount};
use crate::error::chain;

type Result<T> = std::result::Result<T, Refusal>;

/// The longest header that says who an account is.
const MAX_AUTHORIZATION: usize = 1024;

impl CoreDesk {
    /// The account of who shows the certificate of a node or an administrator.
    pub(super) async fn registry_account(&self, question: &Question<'_>) -> Answered {
        let asked: AskAccount = read(question.body)?;
        let holder = match asked {
            AskAccount::Node(id) => Holder::Node(id),
            AskAccount::Administrator(name) => Holder::Administrator(name),
        };
        let known = self.key_of(&holder).await?;
        let Some(key) = known.filter(|known| Some(known) == question.peer) else {
            let reason = "the certificate that was shown is not of one who is in this cluster";
            return Err(Refusal(StatusCode::FORBIDDEN, reason.to_owned()));
        };
        let location = self.registry_value("registry/location").await?;
        let others = match (&holder, location.is_empty()) {
            // It may have accounts at others though the cluster has none of its own.
            (Holder::Node(_), _) => self.others().await?,
            (Holder::Administrator(_), true) => return Err(none()),
            (Holder::Administrator(_), false) => BTreeMap::new(),
        };
        let own = match location.is_empty() {
            true => None,
            false => Some(self.own(location, &holder, &key)?),
        };
        Ok(Reply::json(StatusCode::OK, &wire::Accounts { own, others }))
    }

    fn own(&self, location: String, holder: &Holder, key: &Fingerprint) -> Result<wire::Own> {
        let account = self.accounts()?.of(holder, key);
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        // Nodes ask for theirs every few minutes.
        match given.insert(format!("{holder} {key}")) {
            true => info!(%holder, "gave out an account at the image registry"),
            false => debug!(%holder, "gave out an account at the image registry again"),
        }
        Ok(wire::Own {
            location,
            account: Account {
                username: account.username,
                password: account.password,
            },
        })
    }

    /// A token for the account that says who it is by the header.
    pub(super) async fn registry_token(&self, question: &Question<'_>) -> Answered {
        let unknown = || Refusal(StatusCode::UNAUTHORIZED, "there is no such account".to_owned());
        let (username, password) = question.authorization.and_then(basic).ok_or_else(unknown)?;
        let holder = Holder::of(&username).ok_or_else(unknown)?;
        let key = self.key_of(&holder).await?.ok_or_else(unknown)?;
        if !self.accounts()?.is_right(&holder, &key, &password) {
            return Err(unknown());
        }
        let location = self.registry_value("registry/location").await?;
        if location.is_empty() {
            return Err(none());
        }
        let granted = token::granted(token::asked(&values(question.query, "scope=")), &holder);
        let service = values(question.query, "service=").pop().unwrap_or_default();
        // For a packed registry only while it is the cluster's, so that a forgotten one opens to nobody.
        let by_hand = !self.registry.config().exists();
        let audience = if by_hand {
            token::audience(&service, &location)
        } else {
            &location
        };
        let token = self.signed(&holder, audience, &granted).map_err(failed)?;
        Ok(Reply::json(StatusCode::OK, &token::answer(&token)))
    }

    fn signed(&self, holder: &Holder, audience: &str, granted: &[token::Access]) -> registry_bootstrap::Result<String> {
        let attempt = "use the key that signs tokens";
        let source = |source| registry_bootstrap::Error::Identity { attempt, source };
        let key = Key::load(&self.registry.signing_key()).map_err(source)?;
        let path = self.registry.signer();
        let certificate = std::fs::read_to_string(&path).map_err(|source| registry_bootstrap::Error::File {
            attempt,
            path,
            source,
        })?;
        token::sign(&key, &certificate, holder, audience, granted)
    }

    /// The key of who is in the cluster, as the tree says now.
    async fn key_of(&self, holder: &Holder) -> Result<Option<Fingerprint>> {
        match holder {
            Holder::Node(id) => {
                let nodes = Nodes::new(Arc::clone(&self.store));
                let record = nodes.get(*id).await.map_err(|error| refusal(error.into()))?;
                Ok(record.and_then(|record| record.fingerprint.parse().ok()))
            }
            Holder::Administrator(name) => {
                let all = Administrators::new(Arc::clone(&self.store))
                    .list()
                    .await
                    .map_err(refusal)?;
                let one = all.into_iter().find(|one| one.name == *name);
                let good = one.filter(|one| one.expires > jiff::Timestamp::now());
                Ok(good.map(|one| one.fingerprint))
            }
        }
    }

    /// The accounts at other registries.
    async fn others(&self) -> Result<BTreeMap<String, Account>> {
        let text = self.registry_value("registry/credentials").await?;
        schema::accounts(&text).map_err(|reason| {
            warn!(reason, "the accounts at other registries are not usable");
            Refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the accounts at other registries are not usable".to_owned(),
            )
        })
    }

    /// A text below `cluster` in the tree, secret or not.
    async fn registry_value(&self, path: &str) -> Result<String> {
        let config = Config::new(Arc::clone(&self.store), self.name.clone());
        let key = |error: cluster::config::key::Error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
        let component = Name::new("cluster").map_err(key)?;
        let target = Target::key(&component, &KeyPath::parse(path).map_err(key)?).map_err(key)?;
        let value = config.get_with(&target, Secrets::Revealed).await.map_err(|error| {
            warn!(error = %chain(&error), "what is configured of the registry cannot be read");
            let reason = "the config store cannot be read just now";
            Refusal(StatusCode::SERVICE_UNAVAILABLE, reason.to_owned())
        })?;
        let text = value.as_ref().and_then(|value| value.as_str());
        Ok(text.unwrap_or_default().to_owned())
    }

    fn accounts(&self) -> Result<Accounts> {
        match self.registry.secret().exists() {
            true => Accounts::load(&self.registry.secret()).map_err(failed),
            false => Err(none()),
        }
    }
}

fn none() -> Refusal {
    Refusal(
        StatusCode::CONFLICT,
        "this cluster has no image registry (kato registry setup)".to_owned(),
    )
}

fn failed(error: registry_bootstrap::Error) -> Refusal {
    warn!(error = %chain(&error), "the registry's accounts are not usable");
    Refusal(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the core could not use the registry's accounts".to_owned(),
    )
}

/// Name and password in `Basic …`.
fn basic(header: &HeaderValue) -> Option<(String, String)> {
    let words = header.to_str().ok().filter(|text| text.len() <= MAX_AUTHORIZATION)?;
    let words = BASE64_STANDARD.decode(words.strip_prefix("Basic ")?).ok()?;
    let words = String::from_utf8(words).ok()?;
    let (username, password) = words.split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
}

/// What stands in a query behind each `name=`.
fn values(query: &str, name: &str) -> Vec<String> {
    let values = query.split('&').filter_map(|pair| pair.strip_prefix(name));
    values.filter_map(unescaped).collect()
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_clients_write_them() {
        let query =
            "account=x&scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=repository:c:pull+registry:catalog:*&service=y";
        assert_eq!(
            values(query, "scope="),
            ["repository:a/b:pull,push", "repository:c:pull registry:catalog:*"]
        );
        assert_eq!(values(query, "service="), ["y"]);
        assert_eq!(
            values("scope=%&scope=%4&scope=%zz&scope=%ff", "scope="),
            Vec::<String>::new()
        );
    }

    #[test]
    fn who_an_account_is_stands_in_one_header() {
        let header = |text: &str| HeaderValue::from_str(text).unwrap();
        assert_eq!(
            basic(&header("Basic dTpwOnE=")),
            Some(("u".to_owned(), "p:q".to_owned()))
        );
        for odd in [
            "Basic",
            "Basic !",
            "Bearer dTpw",
            "Basic dQ==",
            &format!("Basic {}", "A".repeat(2000)),
        ] {
            assert_eq!(basic(&header(odd)), None, "{odd}");
        }
    }
}
