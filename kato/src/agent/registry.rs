//! The core keeps its image registry as it was set up: its certificate is renewed, and it is started where it does not run
//! and nobody took it down. What is done is [`registry_bootstrap::apply`]'s; here is only when.

use std::sync::Arc;
use std::time::Duration;

use cluster::nodes::{NodeFile, Paths, Role};
use jiff::Timestamp;
use registry_bootstrap::apply;
use registry_bootstrap::core::Core;
use tokio::time::sleep;
use tracing::{info, warn};

use super::core::root_store;
use crate::error::chain;

/// How often it is looked at; and how soon at the earliest, where its certificate is short-lived.
const ROUND: Duration = Duration::from_secs(30);
const SOONEST: Duration = Duration::from_secs(1);

/// Keep it, where this node is a core; never ends.
pub async fn keep(paths: &Paths, node: &NodeFile) {
    if node.cluster.is_none() || !node.roles.contains(&Role::Core) {
        return std::future::pending().await;
    }
    let mut said = String::new();
    loop {
        // What needs a step is begun with a pause: a registry that is being set up is its command's to look after.
        let due = apply::renewal(paths).filter(|_| said.is_empty());
        sleep(pause(due, Timestamp::now())).await;
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

/// How long to wait until it is looked at again, with a certificate that is due then: it must not be late by a round.
fn pause(due: Option<Timestamp>, now: Timestamp) -> Duration {
    let until = due.map_or(ROUND, |due| due.duration_since(now).try_into().unwrap_or_default());
    until.clamp(SOONEST, ROUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_when_it_is_due_and_not_a_round_later() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let due_in = |seconds: i64| pause(Timestamp::from_second(now.as_second() + seconds).ok(), now);
        assert_eq!(due_in(7), Duration::from_secs(7));
        assert_eq!(due_in(86400), ROUND);
        assert_eq!((due_in(0), due_in(-100)), (SOONEST, SOONEST));
        assert_eq!(pause(None, now), ROUND);
    }
}
