//! Grace time: a container that no client asks for any more is destroyed after it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::entry::Entry;
use super::{Result, Supervisor};
use crate::container::Handle;

/// How long to wait before a destroy that failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);

impl Supervisor {
    /// Set the time without a client after which the container is destroyed, and begin it anew. 0 = never.
    pub async fn set_grace_time(&self, handle: &Handle, nanoseconds: u64) -> Result<()> {
        let entry = self.entry(handle)?;
        let inventory = self.parts().inventory.clone();
        self.to_the_end(async move {
            entry
                .change(&inventory, |record| record.grace_time_ns = nanoseconds)
                .await?;
            let grace = Duration::from_nanos(nanoseconds);
            entry.idle.send_modify(|idle| idle.grace = grace);
            Ok(())
        })
        .await
    }

    /// Watch over one container's grace time for as long as it is there.
    pub(super) fn watch_grace(&self, entry: &Arc<Entry>) {
        let mut idle = entry.idle.subscribe();
        let entry: Weak<Entry> = Arc::downgrade(entry);
        let supervisor = self.clone();
        tokio::spawn(async move {
            loop {
                let now = *idle.borrow_and_update();
                if now.holds > 0 || now.grace.is_zero() {
                    // An error means that the container is gone.
                    if idle.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                tokio::select! {
                    changed = idle.changed() => match changed {
                        Ok(()) => {}
                        Err(_) => return,
                    },
                    () = tokio::time::sleep(now.grace) => {
                        let Some(entry) = entry.upgrade() else { return };
                        tracing::info!(handle = %entry.handle, "destroying: no client within its grace time");
                        match supervisor.destroy_if_idle(&entry).await {
                            Ok(true) => return,
                            Ok(false) => continue,
                            Err(error) => tracing::warn!(handle = %entry.handle, error = error.chain(), "could not destroy"),
                        }
                        drop(entry);
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            }
        });
    }
}
