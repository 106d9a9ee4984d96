//! Keeps the config store in good order: gives space back that compaction freed, and clears the alarm of a full one.
//!
//! etcd itself forgets old revisions (its setting `auto-compaction`); the space comes free by defragmenting alone, which
//! stops a member for its time: one member a round, and only where it is worth it.

use cluster::store::etcd::EtcdStore;
use cluster::store::etcd::admin::{Admin, AlarmKind, MemberStatus};
use cluster::store::{Page, Result, Store};
use tracing::{error, info, warn};

use crate::error::chain;

/// A smaller database is never defragmented.
const WORTH_IT: u64 = 64 * 1024 * 1024;

/// Look at what etcd complains of, and clear what can be; `endpoints` are all members'.
pub async fn alarms(store: &EtcdStore, admin: &Admin, endpoints: &[String]) -> Result<()> {
    let mut full = false;
    for alarm in admin.alarms().await? {
        match alarm.kind {
            AlarmKind::Full => full = true,
            AlarmKind::Corrupt => error!(member = alarm.member, "a member of the config store has damaged data"),
        }
    }
    if full {
        make_room(store, admin, endpoints).await?;
    }
    Ok(())
}

/// Defragment one member, where that is worth it.
pub async fn defragment(admin: &Admin, endpoints: &[String]) -> Result<()> {
    for endpoint in endpoints {
        // One that is away is not asked; it will be when it is back.
        let Ok(status) = admin.status(endpoint).await else {
            continue;
        };
        if is_fragmented(&status) {
            info!(endpoint, size = status.size, "defragments a member of the config store");
            return admin.defragment(endpoint).await;
        }
    }
    Ok(())
}

fn is_fragmented(status: &MemberStatus) -> bool {
    status.size > WORTH_IT && status.size_in_use < status.size / 2
}

/// The store is full and takes no change: forget what is old, give the space back, and take changes again.
async fn make_room(store: &EtcdStore, admin: &Admin, endpoints: &[String]) -> Result<()> {
    warn!("the config store is full; makes room");
    let now = store
        .range(
            "node/endpoints",
            Page {
                limit: 1,
                descending: false,
            },
        )
        .await?
        .revision;
    if let Err(error) = store.compact(now).await {
        warn!(error = %chain(&error), "old revisions could not be forgotten");
    }
    for endpoint in endpoints {
        if let Err(error) = admin.defragment(endpoint).await {
            warn!(endpoint, error = %chain(&error), "a member could not be defragmented");
        }
    }
    for alarm in admin.alarms().await? {
        if alarm.kind == AlarmKind::Full {
            admin.disarm(alarm).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_large_and_half_empty_database_is_worth_it() {
        let status = |size, size_in_use| MemberStatus {
            id: 1,
            version: String::new(),
            leader: None,
            is_learner: false,
            size,
            size_in_use,
            applied: 0,
            errors: Vec::new(),
        };
        assert!(is_fragmented(&status(2 * WORTH_IT, WORTH_IT / 2)));
        assert!(!is_fragmented(&status(2 * WORTH_IT, WORTH_IT)));
        assert!(!is_fragmented(&status(WORTH_IT / 2, 1)));
    }
}
