//! Processes with an image of their own, which Garden calls peas: root file system and mounts of their own, network,
//! process numbers and IPC those of their container.
//!
//! ```text
//!  the container      fence-init (pid 1) ── its processes
//!     ▲ network, processes, IPC, cgroup above
//!  a helper container  fence-init --guest ── the one process
//! ```
//!
//! A pea is a helper container in the engine, with an init and a [`Link`] of its own, so that output, exit code, input and
//! signals are as those of any process. It is in its container's record before the engine is asked for it, and marked there
//! once its process runs: one that is not marked was acknowledged to nobody, and goes. Made in [`run`], described to the
//! engine in [`spec`], taken apart in [`end`].

mod end;
mod run;
mod spec;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::entry::Entry;
use super::{Supervisor, create};
use crate::container::ProcessId;
use crate::init::{Link, LinkEvent};
use crate::inventory::PeaRecord;

/// The label of the engine with the pea's own instance, beside that of its container.
pub const LABEL_PEA: &str = "io.fence.pea";
/// The most of them in one container.
const MAX_PEAS: usize = 64;
/// How long the first process of one may take to say what runs below it.
const ANSWER: Duration = Duration::from_secs(1);

/// A process with an image of its own.
pub(super) struct Pea {
    pub(super) instance: String,
    pub(super) process: ProcessId,
    pub(super) link: Link,
    /// Where its socket is.
    directory: PathBuf,
}

impl Supervisor {
    /// Listen for the first process of a pea that is recorded, and let others find it.
    fn open_pea(&self, entry: &Arc<Entry>, record: &PeaRecord) -> super::Result<Arc<Pea>> {
        let directory = self.parts().run_dir.join(&record.instance);
        let (link, events) = Link::listen(&directory).map_err(|error| create::listen_failed(&entry.handle, error))?;
        let pea = Arc::new(Pea {
            instance: record.instance.clone(),
            process: record.process.clone(),
            link,
            directory,
        });
        entry.peas().insert(pea.process.clone(), pea.clone());
        self.watch_pea(entry, &pea, events);
        Ok(pea)
    }

    /// Take over the peas that an earlier fence left.
    pub(super) fn adopt_peas(&self, entry: &Arc<Entry>) -> super::Result<()> {
        let records = entry.record().peas.clone();
        // The next comparison removes the others.
        for record in records.iter().filter(|record| record.runs) {
            let pea = self.open_pea(entry, record)?;
            pea.link.expect(record.pid);
        }
        Ok(())
    }

    /// Remove the pea once its process has ended and is forgotten.
    fn watch_pea(&self, entry: &Arc<Entry>, pea: &Pea, mut events: tokio::sync::mpsc::UnboundedReceiver<LinkEvent>) {
        let supervisor = self.clone();
        let (entry, instance) = (Arc::downgrade(entry), pea.instance.clone());
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if !matches!(event, LinkEvent::Collected { .. }) {
                    continue;
                }
                let Some(entry) = entry.upgrade() else { return };
                let _life = entry.life.lock().await;
                supervisor.remove_pea_or_warn(&entry, &instance).await;
            }
        });
    }
}

/// Whether nothing lives in the container but first processes. The peas are asked after the container: a first process of
/// one that answers now was there before, and is among the others that were counted.
pub(super) async fn is_alone(entry: &Entry) -> crate::init::Result<bool> {
    let others = entry.link.others().await?;
    if others == 0 {
        return Ok(true);
    }
    let peas: Vec<Arc<Pea>> = entry.peas().values().cloned().collect();
    let mut idle = 0;
    for pea in peas.iter().filter(|pea| pea.link.is_connected()) {
        // One that was killed meanwhile does not answer.
        match tokio::time::timeout(ANSWER, pea.link.others()).await {
            Ok(Ok(0)) => idle += 1,
            Ok(Ok(_)) => return Ok(false),
            Ok(Err(_)) | Err(_) => {}
        }
    }
    Ok(others <= idle)
}
