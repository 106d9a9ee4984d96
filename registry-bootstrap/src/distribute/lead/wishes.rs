//! What nodes are to do, written where it differs from what stands there.

use std::collections::HashMap;

use cluster::process::WANTED;
use cluster::store::{Error, Outcome, Page, Result, Store, Txn};
use uuid::Uuid;

use super::super::job::Known;
use super::super::wish::{self, Wishes};
use super::act::Actor;

/// How many nodes' wishes are written at once.
const AT_ONCE: usize = 64;

/// What stands there.
pub(super) struct Written(HashMap<Uuid, Wishes>);

impl Written {
    /// Read it.
    pub(super) async fn read(store: &dyn Store) -> Result<Self> {
        let range = store.range(WANTED, Page::ALL).await?;
        let of = |key: &str| {
            let id = key.strip_prefix(WANTED)?.strip_suffix("/images")?;
            id.parse::<Uuid>().ok()
        };
        let known = range.entries.iter().filter_map(|entry| {
            // What cannot be read is written anew.
            let odd = Wishes::default;
            Some((
                of(&entry.key)?,
                serde_json::from_slice(&entry.value).unwrap_or_else(|_| odd()),
            ))
        });
        Ok(Written(known.collect()))
    }

    /// Have it be what these jobs want.
    pub(super) async fn follow(&mut self, actor: &Actor, going: &[Known]) -> Result<()> {
        let mut wanted: HashMap<Uuid, Wishes> = self.0.keys().map(|id| (*id, Wishes::default())).collect();
        for known in going {
            for node in &known.job.nodes {
                wanted
                    .entry(node.id)
                    .or_default()
                    .add(&known.job, &known.progress, node.id);
            }
        }
        let is_news = |(id, wishes): &(Uuid, Wishes)| self.0.get(id).cloned().unwrap_or_default() != *wishes;
        let mut news: Vec<(Uuid, Wishes)> = wanted.into_iter().filter(is_news).collect();
        // A node that was removed has nothing to do, and no key is left for it.
        let is_over = |(_, wishes): &(Uuid, Wishes)| wishes.is_empty();
        news.sort_by_key(is_over);
        for some in news.chunks(AT_ONCE) {
            let mut txn = Txn::new();
            for (id, wishes) in some {
                txn = match wishes.is_empty() {
                    true => txn.delete(wish::key(*id)),
                    false => txn.put(wish::key(*id), encoded(*id, wishes)?),
                };
            }
            if actor.store.txn(actor.lead.fenced(txn)).await? == Outcome::Stale {
                return Err(actor.lead.lost());
            }
            for (id, wishes) in some {
                match wishes.is_empty() {
                    true => drop(self.0.remove(id)),
                    false => drop(self.0.insert(*id, wishes.clone())),
                }
            }
        }
        Ok(())
    }
}

fn encoded(node: Uuid, wishes: &Wishes) -> Result<Vec<u8>> {
    serde_json::to_vec(wishes).map_err(|source| Error::Failed {
        attempt: "write what a node is to do with images",
        place: wish::key(node),
        source: Box::new(source),
    })
}
