//! The agent as a member of its cluster: it says how the node is, and does what is wanted of it from elsewhere.
//!
//! ```text
//!        state/ID/alive ◀── alive ─┐             ┌─ orders ◀── wanted/ID/PROCESS
//!       state/ID/report ◀── report ┼─ supervisor ┤
//!      config/… (a look) ── config ┘             └─ record ◀── node/by-id/ID ──▶ node.yml
//!                              ├─ registry ──▶ what Docker needs to use the cluster's
//!       state/ID/images ◀────── images ◀── wanted/ID/images
//! ```
//!
//! Each of these goes on by itself for ever. With the store gone the node goes on with what is wanted of it locally, and
//! each tries again with pauses that grow up to [`LONGEST_PAUSE`]. A micro cloud does the same with itself as the one node.

mod alive;
mod config;
mod follow;
mod images;
mod observe;
mod orders;
mod record;
pub mod registry;
mod report;
#[cfg(test)]
mod tests;
mod trial;

use std::sync::Arc;
use std::time::Duration;

use cluster::nodes::{NodeFile, Paths, lazy_tree};
use cluster::store::Store;
use registry_bootstrap::distribute::node::Policy;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::warn;

use super::desk::Desk;
use super::table::{self, Entry};
use crate::error::chain;

/// The wait before a store that failed is tried again, at first.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest such wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How the processes of a node are started and asked, in the order of starting.
type Table = Box<dyn Fn(&NodeFile) -> Vec<Entry> + Send + Sync>;

/// What the parts share.
pub struct Member {
    paths: Paths,
    store: Arc<dyn Store>,
    desk: Arc<Desk>,
    table: Table,
    /// The node as its file has it now.
    node: watch::Sender<NodeFile>,
    /// The revision of the configuration that was seen last.
    config_revision: watch::Sender<Option<u64>>,
    /// Told when the node's record is read anew.
    record_seen: watch::Sender<()>,
    /// Where the cluster's image registry answers, once that was read; "" where there is none.
    registry: watch::Sender<Option<String>>,
    /// Why this node cannot use it; "" where it can.
    registry_problem: watch::Sender<String>,
    /// Which images are kept, once that was read.
    images: watch::Sender<Option<Policy>>,
}

impl Member {
    /// The agent of this node, which has this desk.
    pub fn new(paths: &Paths, node: NodeFile, desk: Arc<Desk>) -> Self {
        let (store, places) = (lazy_tree(paths, &node), paths.clone());
        let table = Box::new(move |node: &NodeFile| table::of_node(&places, node));
        Member {
            paths: paths.clone(),
            store,
            desk,
            table,
            node: watch::Sender::new(node),
            config_revision: watch::Sender::new(None),
            record_seen: watch::Sender::new(()),
            registry: watch::Sender::new(None),
            registry_problem: watch::Sender::new(String::new()),
            images: watch::Sender::new(None),
        }
    }

    /// Be a member of the cluster until dropped.
    pub async fn run(&self) {
        tokio::join!(
            alive::stay(self),
            report::keep(self),
            config::follow(self),
            orders::obey(self),
            registry::keep(self),
            images::see_to(self),
            record::obey(self),
            record::have_fence_go_by_the_name(self),
        );
    }

    /// Have the next report made soon.
    fn stir(&self) {
        self.desk.supervisor.stirred().send_replace(());
    }
}

/// The pauses before a store that failed is tried again; what is wrong is logged once.
struct Patience {
    what: &'static str,
    pause: Duration,
    said: String,
}

impl Patience {
    fn new(what: &'static str) -> Self {
        Patience {
            what,
            pause: FIRST_PAUSE,
            said: String::new(),
        }
    }

    /// It worked.
    fn restore(&mut self) {
        self.pause = FIRST_PAUSE;
        if !self.said.is_empty() {
            tracing::info!("works again: {}", self.what);
            self.said.clear();
        }
    }

    /// It did not work: say why, unless that was said, and wait.
    async fn wait(&mut self, error: &(dyn std::error::Error + Sync)) {
        let reason = chain(error);
        if reason != self.said {
            warn!(reason, "could not {}; it is tried again", self.what);
            self.said = reason;
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}
