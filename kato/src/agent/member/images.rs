//! The node's images: what is wished of them is done, and how they are is told, while the node has containers.
//!
//! What is done is [`registry_bootstrap::distribute::node`]'s; here it is tied to the tree, to the node's Docker and to its fence.

use std::sync::Arc;

use cluster::config::FenceConfig;
use cluster::nodes::{NodeFile, Role, report};
use cluster::store::{Entry, Error, Result, Txn};
use registry_bootstrap::distribute::node::{Node, Parts, Policy};
use registry_bootstrap::distribute::told::{self, Stock, Told};
use registry_bootstrap::distribute::wish::{self, Wishes};
use registry_bootstrap::local;
use serde::Serialize;
use tokio::sync::watch;

use super::follow::follow;
use super::trial::OwnFence;
use super::{Member, Patience};

/// Which images are kept, as it is configured.
pub fn policy(fence: &FenceConfig) -> Policy {
    Policy {
        configured: fence.docker.image.names().to_vec(),
        keep: usize::try_from(fence.images.keep).unwrap_or(usize::MAX),
        min_age: fence.images.min_age,
        disk_percent: fence.images.disk_percent,
    }
}

/// See to them, for ever: a node gets and loses the role whose containers they are for.
pub async fn see_to(member: &Member) {
    let mut node = member.node.subscribe();
    let has_containers = |node: &NodeFile| node.roles.contains(&Role::Dea);
    loop {
        let Ok(now) = node.wait_for(has_containers).await.map(|now| now.clone()) else {
            return;
        };
        tokio::select! {
            () = see_to_them(member, &now) => {}
            _ = node.wait_for(|node| !has_containers(node)) => {}
        }
    }
}

async fn see_to_them(member: &Member, file: &NodeFile) {
    let (wished, wishes) = watch::channel(Wishes::default());
    let (said, mut told) = watch::channel(Told::default());
    let (counted, mut stock) = watch::channel(Stock::default());
    let parts = Parts {
        engine: local::engine(file),
        fence: Arc::new(OwnFence::new(member.desk.fence.clone())),
        accounts: member.paths.docker_accounts(),
        memory: member.paths.kato_lib().join("images.json"),
    };
    // Nothing is removed before it is known what is wished.
    let (kept, policy) = watch::channel(None);
    let node = Node::new(parts, wishes, policy);
    let (entries, mut read) = watch::channel(None);
    let (heard, hears) = watch::channel(false);
    let key = wish::key(file.id);
    let (told_key, stock_key) = (told::key(file.id), report::stock_key(file.id));
    let hear = async {
        while read.changed().await.is_ok() {
            let now = of_entries(read.borrow_and_update().as_deref().unwrap_or_default());
            wished.send_if_modified(|known| {
                let is_news = *known != now;
                *known = now;
                is_news
            });
            heard.send_replace(true);
        }
    };
    let keep = async {
        let mut policies = member.images.subscribe();
        let mut hears = hears;
        while hears.wait_for(|heard| *heard).await.is_ok() {
            kept.send_replace(policies.borrow_and_update().clone());
            if policies.changed().await.is_err() {
                return;
            }
        }
    };
    let what = "read what is wished of this node's images";
    tokio::join!(
        follow(member.store.as_ref(), &key, what, &entries),
        hear,
        keep,
        node.run(&said, &counted),
        tell(member, &told_key, &mut told),
        tell(member, &stock_key, &mut stock),
    );
}

/// What is wished; what this version cannot read it could not do either.
fn of_entries(entries: &[Entry]) -> Wishes {
    let read = entries.first().map(|entry| serde_json::from_slice(&entry.value));
    read.and_then(|read| {
        read.inspect_err(|error| tracing::warn!(%error, "what is wished of images cannot be read"))
            .ok()
    })
    .unwrap_or_default()
}

/// Write what is new, for ever. Who removes a node removes this as well; one that is let in again needs it.
async fn tell<T>(member: &Member, key: &str, told: &mut watch::Receiver<T>)
where
    T: Clone + Default + PartialEq + Serialize,
{
    let mut patience = Patience::new("tell which images this node has");
    let mut record_seen = member.record_seen.subscribe();
    loop {
        let now = told.borrow_and_update().clone();
        // Nothing was looked at yet.
        if now != T::default() {
            match write(member, key, &now).await {
                Ok(()) => patience.restore(),
                Err(error) => {
                    patience.wait(&error).await;
                    continue;
                }
            }
        }
        tokio::select! {
            changed = told.changed() => if changed.is_err() { return },
            Ok(()) = record_seen.changed() => {}
        }
    }
}

async fn write(member: &Member, key: &str, told: &impl Serialize) -> Result<()> {
    let value = serde_json::to_vec(told).map_err(|source| Error::Failed {
        attempt: "write which images this node has",
        place: key.to_owned(),
        source: Box::new(source),
    })?;
    member.store.txn(Txn::new().put(key, value)).await.map(drop)
}
