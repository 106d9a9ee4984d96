//! The node's sign of life: a key that lives with a lease, which is kept alive for as long as the agent runs.
//!
//! An agent that ends leaves it to run out: the next one is there before that, unless the node is stopped.

use std::convert::Infallible;
use std::io;

use cluster::nodes::Alive;
use cluster::nodes::report::{ALIVE_EVERY, ALIVE_FOR, alive_key};
use cluster::store::{Error, Result, Txn};
use tokio::time::sleep;

use super::{Member, Patience};

/// Which start of the system this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Keep the sign of life, for ever. A lease that was lost is granted anew.
pub async fn stay(member: &Member) {
    let mut patience = Patience::new("say that this node is alive");
    loop {
        let Err(error) = stay_once(member, &mut patience).await;
        patience.wait(&error).await;
    }
}

async fn stay_once(member: &Member, patience: &mut Patience) -> Result<Infallible> {
    let key = alive_key(member.node.borrow().id);
    let alive = Alive {
        since: member.desk.agent.since,
        boot: boot_id(),
    };
    let value = serde_json::to_vec(&alive).map_err(|source| Error::Failed {
        attempt: "write a sign of life",
        place: key.clone(),
        source: Box::new(source),
    })?;
    let lease = member.store.grant(ALIVE_FOR).await?;
    let mut record_seen = member.record_seen.subscribe();
    loop {
        member
            .store
            .txn(Txn::new().put_leased(&key, value.clone(), lease))
            .await?;
        patience.restore();
        loop {
            tokio::select! {
                () = sleep(ALIVE_EVERY) => member.store.keep_alive(lease).await?,
                // Who removes a node removes its sign of life as well; one that is let in again needs it.
                Ok(()) = record_seen.changed() => break,
            }
        }
    }
}

fn boot_id() -> String {
    let read: io::Result<String> = std::fs::read_to_string(BOOT_ID);
    // Only shown to people.
    read.map(|id| id.trim().to_owned()).unwrap_or_default()
}
