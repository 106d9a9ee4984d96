//! Orders to a node's processes from elsewhere: `wanted/ID/PROCESS` holds the last one, the node's agent does it and
//! answers in its report.
//!
//! An order's number only grows, whatever store it is in and whatever clock is wrong: it is made of the time, and above the
//! last order's and the last one that the node has answered. An agent does what is above the last number it has done, so that
//! an order is done when a node comes back, and is not done again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Process;
use crate::nodes::report::report_key;
use crate::store::{Compare, Entry, Error, Outcome, Result, Store, Txn};

/// Where orders are.
pub const WANTED: &str = "wanted/";
/// How often an order is placed again when others come in between.
const TRIES: usize = 32;

/// What is to be done with a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderAction {
    /// It shall run.
    Start,
    /// It shall not run.
    Stop,
    /// It shall run anew.
    Restart,
}

/// An order for one process of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Larger than that of any order for this process before.
    pub number: u64,
    /// What is to be done.
    pub action: OrderAction,
    /// How long the agent may take for it, in milliseconds, before it answers that it did not come about.
    pub within_ms: u64,
    /// Who gave it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Which order; those before it are done with as well.
    pub number: u64,
    /// Why it did not come about, or "".
    pub problem: String,
}

/// What has a number, whatever else it has: a later version may say more than this one can read.
#[derive(Deserialize)]
struct Numbered {
    number: u64,
}

/// What of a node's report is about orders.
#[derive(Deserialize)]
struct Reported {
    #[serde(default)]
    orders: BTreeMap<String, Numbered>,
}

/// The keys of all orders for a node start with this.
pub fn orders_prefix(node: Uuid) -> String {
    format!("{WANTED}{node}/")
}

/// The orders that these entries below [`orders_prefix`] hold. What this version cannot read is left out: it could not
/// do it either.
pub fn read_orders(entries: &[Entry]) -> BTreeMap<Process, Order> {
    let read = |entry: &Entry| {
        let process = entry.key.rsplit('/').next()?.parse().ok()?;
        let order = serde_json::from_slice(&entry.value)
            .inspect_err(|error| tracing::warn!(key = entry.key, %error, "an order cannot be read"));
        Some((process, order.ok()?))
    };
    entries.iter().filter_map(read).collect()
}

/// An order to be given.
#[derive(Clone, Copy, Debug)]
pub struct NewOrder<'a> {
    pub process: Process,
    /// What is to be done.
    pub action: OrderAction,
    /// How long the agent may take for it.
    pub within: Duration,
    /// Who gives it.
    pub by: &'a str,
}

/// Give a node an order; its number.
pub async fn give(
    store: &dyn Store,
    node: Uuid,
    process: Process,
    action: OrderAction,
    within: Duration,
    by: &str,
) -> Result<u64> {
    let order = NewOrder {
        process,
        action,
        within,
        by,
    };
    let given = give_if(store, node, &order, &[]).await?;
    given.ok_or_else(|| Error::Busy {
        place: orders_prefix(node),
        seconds: 0,
    })
}

/// The same, as long as all of this is so; `None` where it is not.
pub async fn give_if(
    store: &dyn Store,
    node: Uuid,
    order: &NewOrder<'_>,
    only_when: &[Compare],
) -> Result<Option<u64>> {
    let NewOrder {
        process,
        action,
        within,
        by,
    } = *order;
    let (key, begun) = (format!("{}{process}", orders_prefix(node)), Instant::now());
    for _ in 0..TRIES {
        let present = store.get(&key).await?;
        let last = present
            .as_ref()
            .and_then(|entry| serde_json::from_slice::<Numbered>(&entry.value).ok());
        let last = last
            .map(|order| order.number)
            .max(answered(store, node, process).await?);
        let at = Timestamp::now();
        let order = Order {
            number: next_number(last, at),
            action,
            within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
            by: by.to_owned(),
            at,
        };
        let value = serde_json::to_vec(&order).map_err(|source| Error::Failed {
            attempt: "write an order",
            place: key.clone(),
            source: Box::new(source),
        })?;
        let revision = present.map_or(0, |entry| entry.revision);
        let mut txn = Txn::new().when(&key, revision).put(&key, value);
        txn.compares.extend_from_slice(only_when);
        match store.txn(txn).await? {
            Outcome::Done(_) => return Ok(Some(order.number)),
            Outcome::Stale if !holds(store, only_when).await? => return Ok(None),
            Outcome::Stale => {}
        }
    }
    let seconds = begun.elapsed().as_secs();
    Err(Error::Busy { place: key, seconds })
}

/// Whether all of this is so now.
async fn holds(store: &dyn Store, all: &[Compare]) -> Result<bool> {
    for compare in all {
        let present = store.get(&compare.key).await?;
        if present.map_or(0, |entry| entry.revision) != compare.revision {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The number of the last order that the node has answered, as it says: a store that was restored, or a node that came
/// again, has none of the orders before.
async fn answered(store: &dyn Store, node: Uuid, process: Process) -> Result<Option<u64>> {
    let entry = store.get(&report_key(node)).await?;
    let report = entry.and_then(|entry| serde_json::from_slice::<Reported>(&entry.value).ok());
    let answered = report.and_then(|report| report.orders.get(process.name()).map(|order| order.number));
    Ok(answered)
}

/// Above the last one, and above those that a store before this one had.
fn next_number(last: Option<u64>, now: Timestamp) -> u64 {
    let by_time = u64::try_from(now.as_millisecond()).unwrap_or(0);
    last.map_or(by_time, |last| by_time.max(last.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::{Page, Store};

    const WITHIN: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn numbers_only_grow_and_the_last_order_stands() {
        let store = MemoryStore::new();
        let node = Uuid::from_u128(1);
        let mut last = 0;
        for action in [OrderAction::Stop, OrderAction::Start, OrderAction::Restart] {
            let number = give(&store, node, Process::Fence, action, WITHIN, "admin")
                .await
                .unwrap();
            assert!(number > last);
            last = number;
        }
        give(&store, node, Process::Docker, OrderAction::Stop, WITHIN, "admin")
            .await
            .unwrap();
        let entries = store.range(&orders_prefix(node), Page::ALL).await.unwrap().entries;
        let orders = read_orders(&entries);
        assert_eq!(orders.len(), 2);
        let fence = &orders[&Process::Fence];
        assert_eq!(
            (fence.number, fence.action, fence.within_ms),
            (last, OrderAction::Restart, 60_000)
        );
    }

    #[tokio::test]
    async fn orders_at_once_get_numbers_of_their_own() {
        let store = MemoryStore::new();
        let node = Uuid::from_u128(1);
        let give = || give(&store, node, Process::Fence, OrderAction::Restart, WITHIN, "admin");
        let (a, b, c) = tokio::join!(give(), give(), give());
        let mut numbers = [a.unwrap(), b.unwrap(), c.unwrap()];
        numbers.sort_unstable();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    }

    #[tokio::test]
    async fn what_a_clock_that_is_behind_gives_is_above_what_the_node_has_done() {
        let store = MemoryStore::new();
        let node = Uuid::from_u128(1);
        let order = async || {
            give(&store, node, Process::Fence, OrderAction::Stop, WITHIN, "admin")
                .await
                .unwrap()
        };
        let key = format!("{}{}", orders_prefix(node), Process::Fence);
        let put = async |key: &str, value: &str| store.txn(Txn::new().put(key, value)).await.unwrap();
        // Of a clock that is ahead of this one's, and of a version that knows more.
        let ahead = Timestamp::now().as_millisecond() as u64 + 1_000_000_000;
        put(&key, &format!(r#"{{"number":{ahead},"action":"polish"}}"#)).await;
        assert_eq!(order().await, ahead + 1);
        // The orders are gone with the node's record, and the node is here again.
        let report = format!(
            r#"{{"orders":{{"fence":{{"number":{},"problem":""}},"later":{{"number":1}}}}}}"#,
            ahead + 9
        );
        put(&report_key(node), &report).await;
        store.txn(Txn::new().delete(&key)).await.unwrap();
        assert_eq!(order().await, ahead + 10);
        assert_eq!(order().await, ahead + 11);
    }

    #[test]
    fn a_clock_that_went_back_makes_no_smaller_number() {
        let now = Timestamp::from_millisecond(1000).unwrap();
        assert_eq!(next_number(None, now), 1000);
        assert_eq!(next_number(Some(10), now), 1000);
        assert_eq!(next_number(Some(5000), now), 5001);
        assert_eq!(next_number(Some(u64::MAX), now), u64::MAX);
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let entry = |process: &str, value: &str| Entry {
            key: format!("{}{process}", orders_prefix(Uuid::nil())),
            value: value.into(),
            revision: 1,
            lease: None,
        };
        let order = r#"{"number":1,"action":"stop","within_ms":1,"by":"a","at":"1970-01-01T00:00:00Z"}"#;
        let later = order.replace("stop", "polish");
        let orders = read_orders(&[entry("fence", order), entry("router", order), entry("docker", &later)]);
        assert_eq!(orders.keys().collect::<Vec<_>>(), [&Process::Fence]);
    }
}
