//! Ends what those who were put out have open: etcd does not end their watches by itself, so its members are restarted,
//! one after the other, each when the one before it is in order again. All others connect anew by themselves.
//!
//! That a cut is due is a mark, a file of the core, made before anybody is put out: it outlives errors and crashes.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use cluster::files;
use cluster::nodes::report::state;
use cluster::nodes::{NodeFile, Paths};
use cluster::process::{OrderAction, Process, give};
use cluster::store::Store;
use cluster::store::etcd::admin::Admin;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};
use uuid::Uuid;

use crate::error::chain;

/// How long a member may take to restart, and how long until its node has said so.
const RESTART: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(40);
/// How often is looked meanwhile.
const LOOK: Duration = Duration::from_millis(250);

/// The mark that a cut is due.
pub struct Mark(PathBuf);

impl Mark {
    /// That of this core.
    pub fn of(paths: &Paths) -> Self {
        Mark(paths.pki().join("cut-needed"))
    }

    /// Whether a cut is due.
    pub fn is_set(&self) -> bool {
        self.0.exists()
    }

    /// A cut is due from now on.
    pub fn set(&self) {
        if let Err(error) = files::write_atomic(&self.0, b"", 0o600) {
            warn!(%error, "could not remember that connections are to be cut; a crash now would leave them open");
        }
    }

    /// It is done.
    pub fn clear(&self) {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(%error, "could not forget that connections were to be cut; they will be again");
            }
            _ => {}
        }
    }
}

/// End what is open at every member, one after the other. Whether all of them were told to restart: who is away does so
/// when it is back.
pub async fn cut(store: &dyn Store, node: &NodeFile, admin: &Admin) -> bool {
    // A member's name is its node's id; one without a name was never started.
    let mut all: Vec<Uuid> = match admin.members().await {
        Ok(members) => members.iter().filter_map(|member| member.name.parse().ok()).collect(),
        Err(error) => {
            warn!(error = %chain(&error), "the members of the config store could not be listed");
            return false;
        }
    };
    // This node's own last: as long as it answers, the others can be ordered.
    all.sort_by_key(|id| *id == node.id);
    let by = format!("core {}", node.name);
    let mut are_told = true;
    for id in all {
        match give(store, id, Process::Config, OrderAction::Restart, RESTART, &by).await {
            Ok(number) => {
                info!(node = %id, "restarts a member of the config store, to cut off who was put out");
                answered(store, id, number).await;
            }
            Err(error) => {
                warn!(node = %id, error = %chain(&error), "a member could not be restarted");
                are_told = false;
            }
        }
        in_order(admin).await;
    }
    are_told
}

/// Wait until the node says what became of its order, within a bound; not for one that is away.
async fn answered(store: &dyn Store, id: Uuid, number: u64) {
    let deadline = Instant::now() + ANSWER;
    while Instant::now() < deadline {
        // While the store restarts it does not tell.
        if let Ok(state) = state(store, id).await {
            let answers = state.report.map(|report| report.orders).unwrap_or_default();
            let answer = answers.get(&Process::Config).filter(|answer| answer.number >= number);
            if let Some(answer) = answer.filter(|answer| !answer.problem.is_empty()) {
                warn!(node = %id, problem = answer.problem, "a member did not restart");
            }
            if answer.is_some() || state.alive.is_none() {
                return;
            }
        }
        sleep(LOOK).await;
    }
    warn!(node = %id, "a member did not restart in time");
}

/// Wait until the store answers again, within a bound.
async fn in_order(admin: &Admin) {
    let deadline = Instant::now() + RESTART;
    while admin.members().await.is_err() && Instant::now() < deadline {
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_stays_until_it_is_cleared() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::from_root(Some(root.path()));
        std::fs::create_dir_all(paths.pki()).unwrap();
        let mark = Mark::of(&paths);
        assert!(!mark.is_set());
        mark.clear();
        mark.set();
        mark.set();
        assert!(Mark::of(&paths).is_set());
        mark.clear();
        assert!(!mark.is_set());
    }
}
