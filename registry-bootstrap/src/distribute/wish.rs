//! What a node is to do with images: the leader's word to it, all of it in one key that is written anew with each change.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::job::{Check, Job, Phase, Progress, Standing};

/// What a node is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// Images to have, in this order.
    #[serde(default)]
    pub pulls: Vec<Pull>,
    /// A container to try.
    #[serde(default)]
    pub trial: Option<Trial>,
}

/// An image to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// For which job.
    pub job: Uuid,
    /// `registry/name@sha256:…`.
    pub exact: String,
    /// The name it is to have as well; "" = none yet.
    #[serde(default)]
    pub name: String,
    /// What has to come over the network for it.
    pub bytes: u64,
}

/// A container to try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// For which job.
    pub job: Uuid,
    /// Of which image.
    pub exact: String,
    pub check: Check,
    /// In seconds.
    pub ready_within: u64,
}

/// Where a node finds what it is to do with images. It stands among the orders for the node's processes, which the node may read.
pub fn key(node: Uuid) -> String {
    format!("{}images", cluster::process::orders_prefix(node))
}

impl Wishes {
    /// Nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.pulls.is_empty() && self.trial.is_none()
    }

    /// Take in what a job that goes on wants of a node.
    pub fn add(&mut self, job: &Job, progress: &Progress, node: Uuid) {
        let (Some(of), Some(named)) = (
            progress.nodes.get(&node),
            job.nodes.iter().find(|known| known.id == node),
        ) else {
            return;
        };
        if progress.is_over() || !matches!(of.standing, Standing::Pulling | Standing::Here) {
            return;
        }
        // A name that is in use is another image's until the rollout is at its end.
        let has_name = job.rollout.is_none() || progress.phase == Phase::Naming;
        self.pulls.push(Pull {
            job: job.id,
            exact: job.image.exact.clone(),
            name: if has_name {
                job.image.tag().to_owned()
            } else {
                String::new()
            },
            bytes: named.bytes,
        });
        if let (Some(rollout), true) = (&job.rollout, progress.phase == Phase::Trying(node)) {
            self.trial = Some(Trial {
                job: job.id,
                exact: job.image.exact.clone(),
                check: rollout.check.clone(),
                ready_within: rollout.ready_within,
            });
        }
    }
}
