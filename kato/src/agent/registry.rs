//! The core keeps its image registry as it was set up: its certificate is renewed, and it is started where it does not run
//! and nobody took it down. What is done is [`registry_bootstrap::apply`]'s; here is only when.

use std::sync::Arc;
use std::time::Duration;

use cluster::nodes::{NodeFile, Paths, Role};
use registry_bootstrap::apply;
use registry_bootstrap::core::Core;
use tokio::time::sleep;
use tracing::{info, warn};

use super::core::root_store;
use crate::error::chain;

/// How often it is looked at.
const ROUND: Duration = Duration::from_secs(30);

/// Keep it, where this node is a core; never ends.
pub async fn keep(paths: &Paths, node: &NodeFile) {
    if node.cluster.is_none() || !node.roles.contains(&Role::Core) {
        return std::future::pending().await;
    }
    let mut said = String::new();
    loop {
        // What needs a step is begun with a pause: a registry that is being set up is its command's to look after.
        sleep(ROUND).await;
        let kept = match Core::open(paths, node.clone(), Arc::new(root_store(paths))) {
            Ok(core) => apply::keep(&core).await,
            Err(error) => Err(error),
        };
        let problem = match kept {
            Ok(true) => {
                info!("put the image registry in order");
                String::new()
            }
            Ok(false) => String::new(),
            Err(error) => chain(&error),
        };
        if problem != said && !problem.is_empty() {
            warn!(problem, "the image registry could not be put in order");
        }
        said = problem;
    }
}
