//! A rollout that is under way and of which what is known cannot be read: it is given up by hand, so that the next one is not
//! in its way for ever.
//!
//! No leader of this version carries such a rollout on or puts it back. One of another version may, so it is asked first; what
//! is written here rests on the rollout being the same, and what such a leader writes afterwards on records that are gone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cluster::config::{Author, Config, KeyPath, Layers, Name, Scope, Swap, Swapped, Target};
use cluster::nodes::record::by_id_key;
use cluster::store::{Outcome, Store, Txn};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::job::{self, ABORT, Chosen, JOBS, PROGRESS, ROLLOUT};
use super::rollout::AT_ONCE;
use crate::{Error, Result};

/// Where the image is configured.
const IMAGE: &str = "fence/docker/image";
/// How long a leader that can read it has to put it back.
const PATIENCE: Duration = Duration::from_secs(15);
const AGAIN: Duration = Duration::from_millis(500);
/// How often something else may be changed meanwhile.
const TRIES: usize = 10;

/// A rollout of which what is known cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its id, where that is one.
    id: Option<Uuid>,
    /// Of the key that says that it is under way.
    revision: u64,
}

/// What came of giving it up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// A leader that could read it has put it back.
    pub by_leader: bool,
    /// From these nodes the value was taken that it had set.
    pub back: Vec<Name>,
    /// These have an image of their own, and whether it was set by it is not known.
    pub unsure: Vec<Name>,
}

/// The rollout that is under way, where what is known of it cannot be read.
pub async fn find(store: &dyn Store) -> cluster::store::Result<Option<Unreadable>> {
    let Some(entry) = store.get(ROLLOUT).await? else {
        return Ok(None);
    };
    let id = std::str::from_utf8(&entry.value).ok().and_then(|id| id.parse().ok());
    if let Some(id) = id {
        if job::find(store, id).await?.is_some() {
            return Ok(None);
        }
        // It may have ended between the two looks.
        if !is_under_way(store, entry.revision).await? {
            return Ok(None);
        }
    }
    Ok(Some(Unreadable {
        id,
        revision: entry.revision,
    }))
}

/// Whether the rollout is still the one that was seen.
async fn is_under_way(store: &dyn Store, revision: u64) -> cluster::store::Result<bool> {
    Ok(store.get(ROLLOUT).await?.is_some_and(|now| now.revision == revision))
}

/// Give it up: nodes lose what it had set for them, as far as that is known, and another one may begin.
pub async fn free(store: &Arc<dyn Store>, own: &Name, rollout: &Unreadable, author: &Author) -> Result<Freed> {
    let failed = || Error::store("give the rollout up");
    let asked = asked_leader(store.as_ref(), rollout, &author.who).await;
    if asked.map_err(failed())? {
        return Ok(Freed {
            by_leader: true,
            ..Freed::default()
        });
    }
    let config = Config::new(Arc::clone(store), own.clone());
    let known = Remains::read(store.as_ref(), rollout.id).await?;
    let mut freed = Freed::default();
    let mut failures = 0;
    while failures < TRIES {
        let layers = config.layers().await.map_err(Error::tree("read the configuration"))?;
        let (ours, unsure) = known.set_by_it(&layers);
        let (now, later) = ours.split_at(ours.len().min(AT_ONCE));
        let swaps: Vec<Swap> = now.iter().map(|(name, value)| unset(name, value)).collect();
        let mut also = Txn::new().when(ROLLOUT, rollout.revision);
        if later.is_empty() {
            also = forgotten(also, rollout.id);
        }
        let swapped = config.swap(&swaps, &also, author).await;
        let Swapped::Done(_) = swapped.map_err(Error::tree("put the rollout back"))? else {
            if is_under_way(store.as_ref(), rollout.revision).await.map_err(failed())? {
                failures += 1;
                continue;
            }
            // Somebody else was faster.
            return Ok(freed);
        };
        freed.back.extend(now.iter().map(|(name, _)| name.clone()));
        if later.is_empty() {
            freed.unsure = unsure;
            return Ok(freed);
        }
    }
    Err(Error::refused(
        "the configuration is changed again and again meanwhile",
        "kato image rollout abort",
    ))
}

/// Ask a leader of another version to put it back; whether it has.
async fn asked_leader(store: &dyn Store, rollout: &Unreadable, by: &str) -> cluster::store::Result<bool> {
    let Some(id) = rollout.id else {
        return Ok(false);
    };
    let ask = Txn::new()
        .when(ROLLOUT, rollout.revision)
        .put(format!("{ABORT}{id}"), by);
    if store.txn(ask).await? == Outcome::Stale {
        return Ok(true);
    }
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if !is_under_way(store, rollout.revision).await? {
            return Ok(true);
        }
        sleep(AGAIN).await;
    }
    Ok(false)
}

fn forgotten(txn: Txn, id: Option<Uuid>) -> Txn {
    let places = id
        .into_iter()
        .flat_map(|id| [JOBS, PROGRESS, ABORT].map(|place| format!("{place}{id}")));
    places.fold(txn.delete(ROLLOUT), Txn::delete)
}

fn address() -> KeyPath {
    KeyPath::parse(IMAGE).unwrap_or_default()
}

fn unset(node: &Name, value: &Value) -> Swap {
    Swap {
        target: Target {
            scope: Scope::Node(node.clone()),
            address: address(),
            own: true,
        },
        from: Some(value.clone()),
        to: None,
    }
}

/// What of a job can be read all the same.
#[derive(Debug, Default, PartialEq, Eq)]
struct Remains {
    /// What it gave nodes.
    value: Option<Value>,
    /// To which, by the names of then and of now; where that is not known to any.
    nodes: Option<BTreeSet<Name>>,
}

/// A node as a job has it.
#[derive(Deserialize)]
struct OfJob {
    id: Uuid,
    name: Name,
}

/// What of a node's record is its name.
#[derive(Deserialize)]
struct Named {
    name: Name,
}

impl Remains {
    async fn read(store: &dyn Store, id: Option<Uuid>) -> Result<Self> {
        let failed = || Error::store("read what is left of the rollout");
        let entry = match id {
            Some(id) => store.get(&format!("{JOBS}{id}")).await.map_err(failed())?,
            None => None,
        };
        let job: Value = entry
            .and_then(|entry| serde_json::from_slice(&entry.value).ok())
            .unwrap_or_default();
        let image: Option<Chosen> = serde_json::from_value(job["image"].clone()).ok();
        let nodes: Option<Vec<OfJob>> = serde_json::from_value(job["nodes"].clone()).ok();
        let mut names = BTreeSet::new();
        for node in nodes.iter().flatten() {
            let entry = store.get(&by_id_key(node.id)).await.map_err(failed())?;
            let now = entry.and_then(|entry| serde_json::from_slice::<Named>(&entry.value).ok());
            names.insert(node.name.clone());
            names.extend(now.map(|named| named.name));
        }
        Ok(Remains {
            value: image.map(|image| json!(image.pinned())),
            nodes: nodes.map(|_| names),
        })
    }

    /// The nodes that have what it gave them, with that; and those that have something else, where what it gave is not known.
    fn set_by_it(&self, layers: &Layers) -> (Vec<(Name, Value)>, Vec<Name>) {
        let (mut ours, mut unsure) = (Vec::new(), Vec::new());
        for scope in layers.scopes() {
            let Scope::Node(name) = scope else { continue };
            let is_meant = self.nodes.as_ref().is_none_or(|nodes| nodes.contains(name));
            let own = layers.own(scope).leaf(&address()).cloned();
            match (own, &self.value) {
                (Some(own), Some(value)) if is_meant && own == *value => ours.push((name.clone(), own)),
                (Some(_), None) if is_meant => unsure.push(name.clone()),
                _ => {}
            }
        }
        (ours, unsure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::store::memory::MemoryStore;

    const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

    fn image_of_job() -> Value {
        json!({"name": "core:5000/x:1", "exact": format!("core:5000/x@{DIGEST}")})
    }

    fn pinned() -> String {
        format!("core:5000/x:1@{DIGEST}")
    }

    fn author() -> Author {
        Author {
            who: "root".to_owned(),
            command: "kato image rollout abort".to_owned(),
        }
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// A store in which these nodes have these images of their own, and the rollout has these records.
    async fn with(own: &[(&str, &str)], id: &str, records: &[(&str, &str)]) -> Arc<dyn Store> {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let config = Config::new(store.clone(), name("core"));
        let swaps: Vec<Swap> = own
            .iter()
            .map(|(node, image)| Swap {
                from: None,
                to: Some(json!(image)),
                ..unset(&name(node), &Value::Null)
            })
            .collect();
        config.swap(&swaps, &Txn::new(), &author()).await.unwrap();
        let txn = Txn::new().put(ROLLOUT, id);
        let txn = records
            .iter()
            .fold(txn, |txn, (place, value)| txn.put(format!("{place}{id}"), *value));
        store.txn(txn).await.unwrap();
        store
    }

    async fn own(store: &Arc<dyn Store>) -> Vec<String> {
        let layers = Config::new(store.clone(), name("core")).layers().await.unwrap();
        let nodes = layers.scopes().filter(|scope| matches!(scope, Scope::Node(_)));
        nodes
            .map(|scope| layers.own(scope).leaf(&address()).unwrap().to_string())
            .collect()
    }

    async fn freed(store: &Arc<dyn Store>) -> Freed {
        let odd = find(store.as_ref()).await.unwrap().unwrap();
        let freed = free(store, &name("core"), &odd, &author()).await.unwrap();
        assert_eq!(find(store.as_ref()).await.unwrap(), None);
        let left = store.range("images/", cluster::store::Page::ALL).await.unwrap();
        assert!(left.entries.is_empty(), "{:?}", left.entries);
        freed
    }

    #[tokio::test(start_paused = true)]
    async fn nodes_lose_what_it_set_for_them_and_keep_what_is_theirs() {
        let id = Uuid::new_v4().to_string();
        let nodes = json!([{"id": Uuid::from_u128(1), "name": "dea1"}]);
        let job = json!({"image": image_of_job(), "nodes": nodes, "wave": "of another version"});
        let pinned = pinned();
        let set = [("dea1", pinned.as_str()), ("dea2", "other:1"), ("dea3", &pinned)];
        let store = with(&set, &id, &[(JOBS, &job.to_string()), (PROGRESS, "{")]).await;
        let freed = freed(&store).await;
        assert_eq!((freed.back, freed.unsure), (vec![name("dea1")], vec![]));
        assert_eq!(own(&store).await, [r#""other:1""#, &format!("{pinned:?}")]);
    }

    #[tokio::test(start_paused = true)]
    async fn of_more_nodes_than_one_change_takes_all_lose_it() {
        let id = Uuid::new_v4().to_string();
        let names: Vec<String> = (0..AT_ONCE * 12).map(|n| format!("dea{n}")).collect();
        let job = json!({"image": image_of_job()});
        let store = with(&[], &id, &[(JOBS, &job.to_string())]).await;
        let config = Config::new(store.clone(), name("core"));
        for some in names.chunks(AT_ONCE) {
            let set = some.iter().map(|node| Swap {
                from: None,
                to: Some(json!(pinned())),
                ..unset(&name(node), &Value::Null)
            });
            let set: Vec<Swap> = set.collect();
            config.swap(&set, &Txn::new(), &author()).await.unwrap();
        }
        assert_eq!(freed(&store).await.back.len(), names.len());
        assert!(own(&store).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_is_known_nodes_keep_what_they_have_and_are_named() {
        for id in [Uuid::new_v4().to_string(), "odd".to_owned()] {
            let records: &[(&str, &str)] = if id == "odd" { &[] } else { &[(JOBS, "{")] };
            let store = with(&[("dea1", "core:5000/y:1")], &id, records).await;
            let freed = freed(&store).await;
            assert_eq!((freed.back, freed.unsure), (vec![], vec![name("dea1")]), "{id}");
            assert_eq!(own(&store).await, [r#""core:5000/y:1""#]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_can_read_it_is_asked_first() {
        let id = Uuid::new_v4().to_string();
        let store = with(&[("dea1", "core:5000/y:1")], &id, &[(JOBS, "{")]).await;
        let odd = find(store.as_ref()).await.unwrap().unwrap();
        let leader = async {
            while store.get(&format!("{ABORT}{id}")).await.unwrap().is_none() {
                sleep(AGAIN).await;
            }
            store.txn(Txn::new().delete(ROLLOUT)).await.unwrap();
        };
        let own_name = name("core");
        let author = author();
        let (freed, ()) = tokio::join!(free(&store, &own_name, &odd, &author), leader);
        assert!(freed.unwrap().by_leader);
        assert_eq!(own(&store).await.len(), 1);
    }
}
