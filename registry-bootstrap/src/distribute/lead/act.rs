//! One step of one job, taken and written: its progress, with the configuration where that changes.

use std::sync::Arc;
use std::time::Duration;

use cluster::config::{self, Author, Config, KeyPath, Name, Scope, Swap, Swapped, Target};
use cluster::leader::Lead;
use cluster::nodes::record::by_id_key;
use cluster::process::{self, OrderAction, Process};
use cluster::store::{Error, Outcome, Result, Store, Txn};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::job::{self, ABORT, Failure, JOBS, Job, Known, PROGRESS, Phase, Progress, ROLLOUT, Rollout};
use super::super::pull::{self, View};
use super::super::rollout::{self, Action};
use super::super::told::short;
use crate::chain;

/// Where the image is configured.
const IMAGE: &str = "fence/docker/image";
/// For how long, and how many of each kind, jobs that ended are remembered.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(7 * 24);
const MOST_REMEMBERED: usize = 5;

/// Who takes steps: the leader.
pub(super) struct Actor {
    pub(super) store: Arc<dyn Store>,
    pub(super) name: Name,
    pub(super) lead: Lead,
}

impl Actor {
    /// Take the next step of a job; `known` is what it is afterwards.
    pub(super) async fn advance(&self, known: &mut Known, view: &View, since: Duration) -> Result<()> {
        let mut next = known.progress.clone();
        let action = match &known.job.rollout {
            None => {
                step_of_pull(known, &mut next, view, since);
                Action::None
            }
            Some(rollout) => rollout::step(&known.job, rollout, &mut next, view, known.abort.as_deref(), since),
        };
        let (mut next, done) = match self.perform(known, next, action).await? {
            Performed::Write(next) => (next, false),
            Performed::Written(next) => (next, true),
            // Something changed meanwhile: it is looked at anew.
            Performed::Nothing => return Ok(()),
        };
        if next.is_over() && next.ended.is_none() {
            next.ended = Some(Timestamp::now());
        }
        if done || next == known.progress {
            known.progress = next;
            return Ok(());
        }
        let txn = self.progress(known, &next)?;
        // Where it rests on something that has changed it is looked at anew.
        if let Outcome::Done(_) = self.store.txn(txn).await? {
            known.progress = next;
        }
        Ok(())
    }

    /// The transaction that writes how far a job is.
    fn progress(&self, known: &Known, next: &Progress) -> Result<Txn> {
        let key = format!("{PROGRESS}{}", known.job.id);
        let value = serde_json::to_vec(next).map_err(|source| Error::Failed {
            attempt: "write how far a job is",
            place: key.clone(),
            source: Box::new(source),
        })?;
        let txn = self.lead.fenced(Txn::new()).when(&key, known.revision).put(key, value);
        Ok(match next.is_over() && known.job.rollout.is_some() {
            true => txn.delete(ROLLOUT),
            false => txn,
        })
    }

    async fn perform(&self, known: &Known, mut next: Progress, action: Action) -> Result<Performed> {
        let (job, Some(rollout)) = (&known.job, &known.job.rollout) else {
            return Ok(Performed::Write(next));
        };
        match action {
            Action::None => Ok(Performed::Write(next)),
            Action::Restart(node) => {
                let order = process::NewOrder {
                    process: Process::Fence,
                    action: OrderAction::Restart,
                    within: rollout::RESTART,
                    by: &job.by,
                };
                let fenced = self.lead.fenced(Txn::new()).compares;
                let Some(number) = process::give_if(self.store.as_ref(), node, &order, &fenced).await? else {
                    return Err(self.lead.lost());
                };
                next.nodes.entry(node).or_default().restart = Some(number);
                Ok(Performed::Write(next))
            }
            Action::Set(nodes) => {
                let swaps = self.set(job, &nodes).await?;
                self.swap(known, next, swaps).await
            }
            Action::Unset(nodes) => {
                let swaps = self.unset(job, &nodes).await?;
                self.swap(known, next, swaps).await
            }
            Action::Configure(nodes) => {
                let mut swaps = self.unset(job, &nodes).await?;
                swaps.push(configure(job, rollout));
                self.swap(known, next, swaps).await
            }
        }
    }

    /// By the names that the nodes have now. One that is none any more has nothing to set.
    async fn set(&self, job: &Job, nodes: &[Uuid]) -> Result<Vec<Swap>> {
        let value = json!(job.image.pinned());
        let names = self.names(nodes).await?;
        Ok(names
            .iter()
            .map(|name| of_node(name, None, Some(value.clone())))
            .collect())
    }

    /// What was set and is still there, by the names of then and of now: what somebody changed since is theirs.
    async fn unset(&self, job: &Job, nodes: &[Uuid]) -> Result<Vec<Swap>> {
        let layers = self.config().layers().await.map_err(of_config)?;
        let value = json!(job.image.pinned());
        let address = KeyPath::parse(IMAGE).unwrap_or_default();
        let is_ours = |name: &Name| layers.own(&Scope::Node(name.clone())).leaf(&address) == Some(&value);
        let then = job.nodes.iter().filter(|node| nodes.contains(&node.id));
        let mut names: Vec<Name> = then.map(|node| node.name.clone()).collect();
        names.extend(self.names(nodes).await?);
        names.sort_unstable();
        names.dedup();
        let ours = names.iter().filter(|name| is_ours(name));
        Ok(ours.map(|name| of_node(name, Some(value.clone()), None)).collect())
    }

    /// What these nodes are called now.
    async fn names(&self, nodes: &[Uuid]) -> Result<Vec<Name>> {
        let mut names = Vec::new();
        for id in nodes {
            let entry = self.store.get(&by_id_key(*id)).await?;
            let record = entry.and_then(|entry| serde_json::from_slice::<Named>(&entry.value).ok());
            names.extend(record.map(|record| record.name));
        }
        Ok(names)
    }

    /// Change the configuration and write the progress with it. What is refused ends the rollout.
    async fn swap(&self, known: &Known, mut next: Progress, swaps: Vec<Swap>) -> Result<Performed> {
        let author = Author {
            who: known.job.by.clone(),
            command: known.job.command.clone(),
        };
        let also = self.progress(known, &next)?;
        let reason = match self.config().swap(&swaps, &also, &author).await {
            Ok(Swapped::Done(_)) => return Ok(Performed::Written(next)),
            Ok(Swapped::Stale) => return Ok(Performed::Nothing),
            // Too late to put anything back: it is looked anew at what is still there of it.
            Ok(Swapped::Other(..)) if matches!(known.progress.phase, Phase::Finishing | Phase::PuttingBack) => {
                return Ok(Performed::Nothing);
            }
            Ok(Swapped::Other(target, _)) => format!("{target} was changed meanwhile by somebody else"),
            Err(config::Error::Store { source, .. }) => return Err(source),
            Err(error) => short(&chain(&error)),
        };
        // Nothing of it was done.
        next = known.progress.clone();
        rollout::fail(&mut next, Failure::new("", "configure", reason));
        Ok(Performed::Write(next))
    }

    /// Forget jobs that ended long ago.
    pub(super) async fn forget_old(&self) -> Result<()> {
        let now = Timestamp::now();
        let mut known = job::all(self.store.as_ref()).await?;
        known.sort_by_key(|known| std::cmp::Reverse(known.progress.ended));
        let mut kept = [0; 2];
        for known in known {
            let Some(ended) = known.progress.ended else { continue };
            let kept = &mut kept[usize::from(known.job.rollout.is_some())];
            *kept += 1;
            if *kept <= MOST_REMEMBERED && now.duration_since(ended) <= REMEMBERED {
                continue;
            }
            let id = known.job.id;
            let txn = [JOBS, PROGRESS, ABORT]
                .into_iter()
                .fold(Txn::new(), |txn, place| txn.delete(format!("{place}{id}")));
            self.store.txn(self.lead.fenced(txn)).await?;
        }
        Ok(())
    }

    fn config(&self) -> Config {
        Config::new(Arc::clone(&self.store), self.name.clone())
    }
}

/// What of a node's record is its name.
#[derive(Deserialize)]
struct Named {
    name: Name,
}

/// What came of an action.
enum Performed {
    /// The progress is to be written.
    Write(Progress),
    /// It was, with what it is about.
    Written(Progress),
    Nothing,
}

fn step_of_pull(known: &Known, next: &mut Progress, view: &View, since: Duration) {
    if let Some(by) = &known.abort {
        next.phase = Phase::Failed;
        next.failure = Some(Failure::new("", "abort", format!("{by} had it aborted")));
    } else if pull::step(&known.job, next, view, since) {
        next.phase = Phase::Done;
    }
}

/// The image configured for all, in place of the first one where there are fallbacks.
fn configure(job: &Job, rollout: &Rollout) -> Swap {
    let pinned = json!(job.image.pinned());
    let to = match &rollout.from {
        Some(Value::Array(names)) if names.len() > 1 => {
            let rest = names.iter().skip(1).filter(|name| **name != pinned).cloned();
            Value::Array(std::iter::once(pinned.clone()).chain(rest).collect())
        }
        _ => pinned,
    };
    Swap {
        target: target(rollout.scope.clone()),
        from: rollout.from.clone(),
        to: Some(to),
    }
}

fn of_node(name: &Name, from: Option<Value>, to: Option<Value>) -> Swap {
    Swap {
        target: target(Scope::Node(name.clone())),
        from,
        to,
    }
}

fn target(scope: Scope) -> Target {
    Target {
        scope,
        address: KeyPath::parse(IMAGE).unwrap_or_default(),
        own: true,
    }
}

fn of_config(error: config::Error) -> Error {
    match error {
        config::Error::Store { source, .. } => source,
        other => Error::Failed {
            attempt: "read the configuration",
            place: IMAGE.to_owned(),
            source: Box::new(other),
        },
    }
}
