//! Takes part in leading what is done with images: every node with a member of the config store does, and one of them leads.
//! What is led is [`registry_bootstrap::distribute`]'s; here is only who may, and with which rights: its own member's.

use std::sync::Arc;
use std::time::Duration;

use cluster::nodes::{NodeFile, Paths};
use registry_bootstrap::distribute::lead;
use tokio::time::sleep;

use super::joining::etcd::{Settings, own_store};

/// How often is looked whether the node became a member, or is none any more.
const LOOK: Duration = Duration::from_secs(2);

/// Take part for as long as this node is a member; never ends.
pub async fn keep(paths: &Paths, node: &NodeFile) {
    if node.cluster.is_none() {
        return std::future::pending().await;
    }
    let is_member = || Settings::load(paths).is_ok();
    loop {
        if is_member() {
            let no_more = async {
                while is_member() {
                    sleep(LOOK).await;
                }
            };
            tokio::select! {
                () = lead::lead(Arc::new(own_store(paths)), node.id, &node.name) => {}
                () = no_more => {}
            }
        }
        sleep(LOOK).await;
    }
}
