//! Follows a job until it ends: each node's progress on a terminal, and what became of it.
//!
//! The job goes on without anybody who follows it. Waiting is bounded where nobody carries it on: then it is told.

use std::collections::BTreeMap;
use std::time::Duration;

use bytesize::ByteSize;
use cluster::leader::LEADER;
use cluster::store::Store;
use registry_bootstrap::distribute::eyes::Eyes;
use registry_bootstrap::distribute::job::{self, Job, Known, OfNode, Phase, Progress, Standing};
use registry_bootstrap::distribute::pull::View;
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::commands::Context;
use crate::commands::cloud::{self, Cloud};
use crate::error::{Error, Result};
use crate::ui::Lines;

/// How often is looked though no node said anything, and how long more is waited for after something.
const ROUND: Duration = Duration::from_millis(500);
const GATHER: Duration = Duration::from_millis(100);
/// How soon a store that failed is asked again, and for how long.
const AGAIN: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may be that nobody leads.
const UNLED: Duration = Duration::from_secs(45);
/// The most nodes that are shown at once.
const MOST_LINES: usize = 20;

/// What became of one node, as it is printed.
#[derive(Debug, Serialize)]
pub struct Shown {
    pub node: String,
    pub state: &'static str,
    pub problem: String,
}

/// Wait for the end of a job.
pub async fn until_over(context: &Context, cloud: &Cloud, id: Uuid) -> Result<Known> {
    let lines = context.ui.lines();
    let mut heard = Instant::now();
    loop {
        let followed = tokio::select! {
            followed = follow(cloud.store.as_ref(), id, &lines, &mut heard) => followed,
            Ok(()) = tokio::signal::ctrl_c() => {
                drop(lines);
                let message = "it goes on in the cluster without this command";
                return Err(Error::failed(message).hint("kato image rollout status; kato image rollout abort"));
            }
        };
        match followed {
            Ok(Some(known)) => return Ok(known),
            Ok(None) => {
                let message = "nobody carries it on: no agent of a node with the config store leads";
                return Err(Error::unreachable(message).hint("kato status; kato image rollout status"));
            }
            Err(error) if !error.is_retryable() && !error.needs_new_range() || heard.elapsed() > PATIENCE => {
                let what = "it cannot be followed any more, and goes on without that".to_owned();
                return Err(cloud::store(error, what));
            }
            Err(_) => sleep(AGAIN).await,
        }
    }
}

/// Follow it until it is over or the store fails; `None` where nobody leads. `heard` is when the store answered last.
async fn follow(
    store: &dyn Store,
    id: Uuid,
    lines: &Lines,
    heard: &mut Instant,
) -> cluster::store::Result<Option<Known>> {
    let mut eyes = Eyes::open(store).await?;
    let mut led = Instant::now();
    loop {
        let Some(known) = job::find(store, id).await? else {
            return Err(cluster::store::Error::Closed);
        };
        *heard = Instant::now();
        if known.progress.is_over() {
            return Ok(Some(known));
        }
        show(&known, &eyes.view, lines);
        if store.get(LEADER).await?.is_some() {
            led = Instant::now();
        } else if led.elapsed() > UNLED {
            return Ok(None);
        }
        timeout(ROUND, eyes.wait(GATHER)).await.unwrap_or(Ok(()))?;
        eyes.take_up();
    }
}

fn show(known: &Known, view: &View, lines: &Lines) {
    let (job, progress) = (&known.job, &known.progress);
    let mut shown = BTreeMap::new();
    let under_way = |of: &OfNode| match progress.phase {
        Phase::Pulling => of.standing == Standing::Pulling,
        _ => of.set && !of.taken,
    };
    for node in &job.nodes {
        let Some(of) = progress.nodes.get(&node.id) else {
            continue;
        };
        let is_tried = progress.phase == Phase::Trying(node.id);
        if (under_way(of) || is_tried) && shown.len() < MOST_LINES {
            shown.insert(node.name.to_string(), text(job, progress, of, node.id, view));
        }
    }
    lines.set(&headline(job, progress), shown);
}

fn headline(job: &Job, progress: &Progress) -> String {
    let all = job.nodes.len();
    let name = &job.image.name;
    match progress.phase {
        Phase::Pulling => format!("{name}: {} of {all} nodes have it", progress.count(Standing::Here)),
        Phase::Trying(_) => format!("{name}: it is tried"),
        Phase::Setting => {
            let taken = progress.nodes.values().filter(|of| of.taken).count();
            format!("{name}: {taken} of {all} nodes use it")
        }
        Phase::Finishing | Phase::Naming => format!("{name}: it is configured for all"),
        Phase::PuttingBack => format!("{name}: everything is put back"),
        Phase::Done | Phase::Failed => name.clone(),
    }
}

fn text(job: &Job, progress: &Progress, of: &OfNode, id: Uuid, view: &View) -> String {
    let told = view.get(&id).and_then(|seen| seen.told.as_ref()?.pulls.get(&job.id));
    match (progress.phase, told) {
        (Phase::Pulling, Some(told)) if told.total > 0 => {
            let (current, total) = (ByteSize::b(told.current), ByteSize::b(told.total));
            let percent = told.current.saturating_mul(100) / told.total;
            format!("{percent:>3} % of {total} ({current}) {}", of.problem)
        }
        (Phase::Pulling, _) => format!("begins {}", of.problem),
        (Phase::Trying(_), _) => "a container of it has to pass its check".to_owned(),
        _ => "takes it up".to_owned(),
    }
}

/// What became of each node.
pub fn nodes(known: &Known) -> Vec<Shown> {
    let is_rollout = known.job.rollout.is_some();
    let of = |node: &job::Node| {
        let of = known.progress.nodes.get(&node.id).cloned().unwrap_or_default();
        let state = match (of.standing, is_rollout && of.taken, known.progress.phase) {
            (_, true, Phase::Done) => "in use",
            (Standing::Here, ..) => "here",
            (Standing::Waiting, ..) => "waiting",
            (Standing::Pulling, ..) => "pulling",
            (Standing::Failed, ..) => "failed",
            (Standing::Away, ..) => "away",
        };
        Shown {
            node: node.name.to_string(),
            state,
            problem: of.problem,
        }
    };
    known.job.nodes.iter().map(of).collect()
}
