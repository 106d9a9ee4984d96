//! How nodes are, kept up by the store's changes while something goes on: the leader looks with these, and who waits for it.

use std::time::Duration;

use cluster::nodes::Report;
use cluster::nodes::report::STATE;
use cluster::process::Process;
use cluster::store::{Changes, Event, Page, Result, Store, Watch};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::pull::{Seen, View};

/// How many revisions are taken up at once.
const MOST_WAITING: usize = 4096;

/// What is seen of nodes, and the watch that keeps it up.
pub struct Eyes {
    /// How they are.
    pub view: View,
    watch: Watch,
    /// What has arrived and was not taken up.
    waiting: Vec<Changes>,
}

impl Eyes {
    /// Look at all of them.
    pub async fn open(store: &dyn Store) -> Result<Self> {
        let range = store.range(STATE, Page::ALL).await?;
        let watch = store.watch(STATE, range.revision).await?;
        let mut eyes = Eyes {
            view: View::new(),
            watch,
            waiting: Vec::new(),
        };
        for entry in &range.entries {
            eyes.look(&entry.key, Some(&entry.value));
        }
        Ok(eyes)
    }

    /// Wait for the next change, and for others that follow within this time. May be dropped.
    pub async fn wait(&mut self, gather: Duration) -> Result<()> {
        if self.waiting.is_empty() {
            let changes = self.watch.next().await?;
            self.waiting.push(changes);
        }
        let until = Instant::now() + gather;
        while let Ok(changes) = timeout_at(until, self.watch.next()).await {
            self.waiting.push(changes?);
            if self.waiting.len() >= MOST_WAITING {
                break;
            }
        }
        Ok(())
    }

    /// Take up what has arrived.
    pub fn take_up(&mut self) {
        for changes in std::mem::take(&mut self.waiting) {
            for event in changes.events {
                match event {
                    Event::Put { key, value } => self.look(&key, Some(&value)),
                    Event::Delete { key } => self.look(&key, None),
                }
            }
        }
    }

    /// What one key says of a node. What cannot be read says nothing.
    fn look(&mut self, key: &str, value: Option<&[u8]>) {
        let parts = key.strip_prefix(STATE).and_then(|key| key.split_once('/'));
        let Some((Ok(id), what)) = parts.map(|(id, what)| (id.parse::<Uuid>(), what)) else {
            return;
        };
        match (what, value) {
            ("alive", value) => self.of(id).alive = value.is_some(),
            ("images", value) => self.of(id).told = value.and_then(|value| serde_json::from_slice(value).ok()),
            ("report", Some(value)) => {
                let report: Option<Report> = serde_json::from_slice(value).ok();
                let seen = self.of(id);
                seen.retiring = report.as_ref().is_some_and(|report| report.retiring.is_some());
                let answered = report.and_then(|report| report.orders.get(&Process::Fence).cloned());
                seen.answered = answered.map(|answered| (answered.number, answered.problem));
            }
            // With its report a node itself is gone.
            ("report", None) => drop(self.view.remove(&id)),
            _ => {}
        }
    }

    fn of(&mut self, id: Uuid) -> &mut Seen {
        self.view.entry(id).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::nodes::report::{alive_key, report_key};
    use cluster::store::Txn;
    use cluster::store::memory::MemoryStore;

    use super::super::told;

    #[tokio::test]
    async fn what_nodes_say_is_seen_and_what_is_gone_is_not() {
        let store = MemoryStore::new();
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let put = async |key: String, value: &str| store.txn(Txn::new().put(key, value)).await.unwrap();
        put(alive_key(a), "{}").await;
        put(report_key(a), "odd").await;
        let mut eyes = Eyes::open(&store).await.unwrap();
        assert!(eyes.view[&a].alive && eyes.view[&a].told.is_none());
        put(
            told::key(b),
            r#"{"at": "1970-01-01T00:00:00Z", "fence": {"configured": [], "name": "p", "id": ""}}"#,
        )
        .await;
        put("state/odd/alive".to_owned(), "").await;
        store.txn(Txn::new().delete(alive_key(a))).await.unwrap();
        while eyes.view.get(&a).is_some_and(|seen| seen.alive) {
            eyes.wait(Duration::from_millis(10)).await.unwrap();
            eyes.take_up();
        }
        assert!(!eyes.view[&a].alive);
        assert_eq!(eyes.view[&b].told.as_ref().unwrap().fence.as_ref().unwrap().name, "p");
        store.txn(Txn::new().delete(report_key(a))).await.unwrap();
        eyes.wait(Duration::from_millis(10)).await.unwrap();
        eyes.take_up();
        assert_eq!(eyes.view.keys().collect::<Vec<_>>(), [&b]);
    }
}
