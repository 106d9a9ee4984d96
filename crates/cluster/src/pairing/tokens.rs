//! Tokens that let a node in without an administrator at hand: each once, for a time.

use std::time::Duration;

use jiff::Timestamp;

use super::records::{TOKEN, token_key};
use super::{Error, Pairing, Result, Token};
use crate::config::Name;
use crate::identity::Secret;
use crate::nodes::{Role, registry};
use crate::store::Txn;

/// The most tokens there may be at one time.
pub const MAX_TOKENS: usize = 1000;

/// What a token is to be good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Into which realm.
    pub realm: Name,
    /// What the node does; what it asks for, `core` and `config` left out, if there are none.
    pub roles: Vec<Role>,
    /// By which name; its own if there is none.
    pub name: Option<Name>,
    /// With whose credential it is made, if it is known.
    pub administrator: Option<Name>,
    /// For how long.
    pub good_for: Duration,
}

impl Pairing {
    /// Make a token. The secret is told once, here, and kept nowhere.
    pub async fn create_token(&self, new: NewToken, by: &str) -> Result<(Secret, Token)> {
        if self.tokens().await?.len() >= MAX_TOKENS {
            let (limit, what) = (MAX_TOKENS, "tokens");
            return Err(Error::Full { limit, what });
        }
        let secret = Secret::generate()?;
        let expires = Timestamp::now().checked_add(new.good_for);
        let token = Token {
            id: secret.hash(),
            realm: new.realm,
            roles: new.roles,
            name: new.name,
            made_by: by.to_owned(),
            administrator: new.administrator,
            expires: expires.unwrap_or(Timestamp::MAX),
        };
        let key = token_key(&token.id);
        let txn = self.put(Txn::new().when(&key, 0), &key, &token)?;
        self.write(txn, "make a token").await?;
        Ok((secret, token))
    }

    /// The tokens that are still good; those that have expired are forgotten.
    pub async fn tokens(&self) -> Result<Vec<Token>> {
        let all = registry::read_all::<Token>(self.store.as_ref(), TOKEN, "read the tokens").await?;
        let now = Timestamp::now();
        let (good, expired): (Vec<Token>, Vec<Token>) = all.into_iter().partition(|token| token.expires > now);
        let expired = expired.iter().take(crate::store::limits::MAX_OPERATIONS);
        let txn = expired.fold(Txn::new(), |txn, token| txn.delete(token_key(&token.id)));
        if !txn.operations.is_empty() {
            self.write(txn, "forget expired tokens").await?;
        }
        Ok(good)
    }

    /// Revoke the token whose id begins so.
    pub async fn revoke_token(&self, beginning: &str) -> Result<Token> {
        let all = self.tokens().await?;
        let mut meant = all.into_iter().filter(|token| token.id.as_str().starts_with(beginning));
        let (Some(token), None) = (meant.next().filter(|_| !beginning.is_empty()), meant.next()) else {
            let word = beginning.chars().take(80).collect();
            return Err(Error::UnknownToken { word });
        };
        self.write(Txn::new().delete(token_key(&token.id)), "revoke a token")
            .await?;
        Ok(token)
    }
}
