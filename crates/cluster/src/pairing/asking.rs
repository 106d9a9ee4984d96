//! A node asks to be let in: answered from what administrators have said before, remembered where they have not.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::records::{APPROVED, PENDING, approved_key, pending_key, removed_key, token_key};
use super::{Approved, Error, MAX_PENDING, PENDING_FOR, Pairing, Pending, Removed, Result, Token, given};
use crate::config::Name;
use crate::identity::{Fingerprint, Secret};
use crate::nodes::{Record, Role, registry};
use crate::store::{Entry as Stored, Page, Txn};

/// The most addresses a node may tell.
pub const MAX_ADDRESSES: usize = 16;
/// The longest version a node may tell, in characters.
pub const MAX_VERSION: usize = 64;
/// How old the last question has to be before another of the same key is written, whatever it says.
const WRITE_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asks {
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
}

/// What it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is one of the cluster's nodes, maybe since now.
    Paired(Box<Record>),
    /// It has to wait.
    Pending,
}

/// Who let it in by its question, and as what.
struct Entry {
    realm: Name,
    name: Option<Name>,
    roles: Vec<Role>,
    by: String,
    also: Txn,
}

impl Asks {
    /// Check what the form alone does not.
    fn check(&self) -> Result<()> {
        let refused = |reason: &str| {
            Err(Error::Asks {
                reason: reason.to_owned(),
            })
        };
        if self.roles.len() > Role::ALL.len() || self.addresses.len() > MAX_ADDRESSES {
            return refused("it names too many roles or addresses");
        }
        if self.version.chars().count() > MAX_VERSION || self.version.chars().any(char::is_control) {
            return refused("its version is none");
        }
        if self.roles.contains(&Role::Core) {
            return refused("a cluster has one core");
        }
        Ok(())
    }

    /// What it asks for, for administrators to see; [`given`] is what it gets.
    fn roles(&self) -> Vec<Role> {
        let mut roles = self.roles.clone();
        roles.push(Role::Base);
        roles.sort_unstable();
        roles.dedup();
        roles
    }
}

impl Pairing {
    /// Answer a node that has proven to have the key of this fingerprint.
    pub async fn ask(&self, key: &Fingerprint, asks: &Asks, secret: Option<&Secret>) -> Result<Answer> {
        asks.check()?;
        // Before all else: an order to remove a node may have ended before its record was gone.
        if self.read::<Removed>(&removed_key(key)).await?.is_some() {
            return Err(Error::Removed);
        }
        if let Some(record) = self.nodes.get(asks.id).await? {
            return match record.fingerprint == key.as_str() {
                true => Ok(Answer::Paired(Box::new(self.refreshed(record, asks).await?))),
                false => Err(Error::OtherKey),
            };
        }
        if let Err(error) = registry::check_name(&asks.name) {
            let reason = error.to_string();
            return Err(Error::Asks { reason });
        }
        if let Some(record) = self.nodes.with_fingerprint(key.as_str()).await? {
            return Err(Error::PairedAlready { name: record.name });
        }
        let entry = match secret {
            Some(secret) => Some(self.by_token(secret, asks).await?),
            None => self.by_approval(key, asks).await?,
        };
        match entry {
            Some(entry) => self.enter(key, asks, entry, secret).await,
            None => self.remember(key, asks).await,
        }
    }

    /// Those who wait, the first who asked first.
    pub async fn pending(&self) -> Result<Vec<Pending>> {
        let all = registry::read_all::<Pending>(self.store.as_ref(), PENDING, "read who asks to join").await;
        let now = Timestamp::now();
        let mut all: Vec<Pending> = all?.into_iter().filter(|pending| !pending.is_stale(now)).collect();
        all.sort_by_key(|pending| pending.first_asked);
        Ok(all)
    }

    /// The waiting node whose fingerprint begins so.
    pub async fn find_pending(&self, beginning: &str) -> Result<Vec<Pending>> {
        let beginning = beginning.to_ascii_lowercase();
        let mut all = self.pending().await?;
        all.retain(|pending| pending.fingerprint.as_str().starts_with(&beginning));
        Ok(all)
    }

    /// The keys that are let in when they ask, the first that was approved first; those that are so no more are forgotten.
    pub async fn approved(&self) -> Result<Vec<Approved>> {
        let all =
            registry::read_all::<Approved>(self.store.as_ref(), APPROVED, "read which nodes are approved").await?;
        let now = Timestamp::now();
        let (stale, mut good): (Vec<Approved>, Vec<Approved>) = all.into_iter().partition(|one| one.is_stale(now));
        good.sort_by_key(|approved| approved.at);
        let stale = stale.iter().take(crate::store::limits::MAX_OPERATIONS);
        let txn = stale.fold(Txn::new(), |txn, one| txn.delete(approved_key(&one.fingerprint)));
        if !txn.operations.is_empty() {
            self.write(txn, "forget approvals that were not used").await?;
        }
        Ok(good)
    }

    async fn by_token(&self, secret: &Secret, asks: &Asks) -> Result<Entry> {
        let key = token_key(&secret.hash());
        let Some((token, revision)) = self.read::<Token>(&key).await? else {
            return Err(Error::NoToken);
        };
        if token.expires <= Timestamp::now() {
            return Err(Error::NoToken);
        }
        Ok(Entry {
            realm: token.realm,
            name: token.name,
            roles: given(&asks.roles, token.roles),
            by: format!("token {} of {}", secret.hash().short(), token.made_by),
            also: Txn::new().when(&key, revision).delete(&key),
        })
    }

    async fn by_approval(&self, fingerprint: &Fingerprint, asks: &Asks) -> Result<Option<Entry>> {
        let key = approved_key(fingerprint);
        let found = self.read::<Approved>(&key).await?;
        let found = found.filter(|(approved, _)| !approved.is_stale(Timestamp::now()));
        Ok(found.map(|(approved, revision)| Entry {
            realm: approved.realm,
            name: approved.name,
            roles: given(&asks.roles, approved.roles),
            by: approved.by,
            also: Txn::new().when(&key, revision).delete(&key),
        }))
    }

    async fn enter(&self, key: &Fingerprint, asks: &Asks, entry: Entry, secret: Option<&Secret>) -> Result<Answer> {
        let now = Timestamp::now();
        let record = pending(key, asks, now, now).record(entry.realm, entry.name, entry.roles, &entry.by);
        let also = entry.also.delete(pending_key(key)).delete(removed_key(key));
        match self.nodes.add_with(&record, &also).await {
            Ok(()) => Ok(Answer::Paired(Box::new(record))),
            // What lets in was taken away meanwhile: used by another, or revoked.
            Err(registry::Error::Contended { .. }) if secret.is_some() => Err(Error::NoToken),
            Err(error) => Err(error.into()),
        }
    }

    async fn remember(&self, key: &Fingerprint, asks: &Asks) -> Result<Answer> {
        let (now, place) = (Timestamp::now(), pending_key(key));
        let before = self.read::<Pending>(&place).await?;
        let first = match &before {
            Some((before, _)) => {
                // A clock that was put back does not silence it for long.
                if now.duration_since(before.last_asked).abs() < WRITE_AFTER {
                    return Ok(Answer::Pending);
                }
                before.first_asked
            }
            None => {
                self.make_room(now).await?;
                now
            }
        };
        let revision = before.map_or(0, |(_, revision)| revision);
        let txn = Txn::new().when(&place, revision);
        let txn = self.put(txn, &place, &pending(key, asks, first, now))?;
        // Where another was quicker, it is remembered as well.
        self.write(txn, "remember who asks to join").await?;
        Ok(Answer::Pending)
    }

    /// Forget who does not ask any more, or else who has been silent longest, where there is no room for another: nobody
    /// shuts others out by asking with many keys.
    async fn make_room(&self, now: Timestamp) -> Result<()> {
        let range = self.store.range(PENDING, Page::ALL).await;
        let entries = range.map_err(registry::failed("read who asks to join"))?.entries;
        if entries.len() < MAX_PENDING {
            return Ok(());
        }
        // What cannot be read is older than all.
        let last_asked = |entry: &Stored| registry::json::<Pending>(entry).map_or(Timestamp::MIN, |it| it.last_asked);
        let mut by_silence: Vec<_> = entries.iter().map(|entry| (last_asked(entry), entry)).collect();
        by_silence.sort_by_key(|(last, _)| *last);
        let too_many = entries.len() - MAX_PENDING + 1;
        let forgotten = by_silence
            .iter()
            .enumerate()
            .take_while(|(at, (last, _))| *at < too_many || now.duration_since(*last) > PENDING_FOR)
            .take(crate::store::limits::MAX_OPERATIONS);
        let txn = forgotten.fold(Txn::new(), |txn, (_, (_, entry))| {
            txn.when(&entry.key, entry.revision).delete(&entry.key)
        });
        if !self.write(txn, "forget who does not ask any more").await? {
            let (limit, what) = (MAX_PENDING, "nodes that wait to be paired");
            return Err(Error::Full { limit, what });
        }
        Ok(())
    }

    /// The record with the addresses that the node tells now.
    async fn refreshed(&self, record: Record, asks: &Asks) -> Result<Record> {
        if asks.addresses.is_empty() || record.addresses == asks.addresses {
            return Ok(record);
        }
        let changed = self.nodes.change(record.id, |record| {
            record.addresses.clone_from(&asks.addresses);
            Ok(())
        });
        Ok(changed.await?)
    }
}

fn pending(key: &Fingerprint, asks: &Asks, first_asked: Timestamp, last_asked: Timestamp) -> Pending {
    Pending {
        fingerprint: key.clone(),
        id: asks.id,
        name: asks.name.clone(),
        roles: asks.roles(),
        addresses: asks.addresses.clone(),
        version: asks.version.clone(),
        first_asked,
        last_asked,
    }
}
