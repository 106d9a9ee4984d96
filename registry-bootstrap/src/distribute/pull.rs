//! The next step of a pull: as many nodes at a time as a wave has, the next one as soon as one is done. Pure.
//!
//! A node that is dead is passed over and has its turn when it is back, as long as the job goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use super::job::{Job, OfNode, Progress, Standing};
use super::told::{PullState, Told, short};

/// What is seen of nodes.
pub type View = BTreeMap<Uuid, Seen>;

/// What is seen of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Its agent says that it is alive.
    pub alive: bool,
    /// It is being retired.
    pub retiring: bool,
    /// What it says of its images.
    pub told: Option<Told>,
    /// The last order for its process fence that it has answered, and why that did not come about.
    pub answered: Option<(u64, String)>,
}

/// How long nodes that pull may say nothing that makes a difference: longer than each waits for its registry and its Docker.
const SILENT: Duration = Duration::from_secs(25 * 60);

/// Take the next step; whether nothing is left to pull. `since` is how long nothing has come of the job.
pub fn step(job: &Job, progress: &mut Progress, view: &View, since: Duration) -> bool {
    for node in &job.nodes {
        let of = progress.nodes.entry(node.id).or_default();
        look(job.id, of, view.get(&node.id));
        if of.standing == Standing::Pulling && since > SILENT {
            of.standing = Standing::Failed;
            of.problem = format!("it did not say within {} minutes how far it is", SILENT.as_secs() / 60);
        }
    }
    let mut under_way = progress.count(Standing::Pulling);
    for node in &job.nodes {
        let of = progress.nodes.entry(node.id).or_default();
        if of.standing == Standing::Waiting && under_way < job.wave.max(1) {
            of.standing = Standing::Pulling;
            under_way += 1;
        }
    }
    under_way == 0
}

/// How a node stands now.
fn look(job: Uuid, of: &mut OfNode, seen: Option<&Seen>) {
    let away = match seen {
        None => Some("it is no node any more"),
        Some(seen) if !seen.alive => Some("it is dead"),
        Some(_) => None,
    };
    match (of.standing, away) {
        (Standing::Waiting | Standing::Pulling, Some(why)) => {
            of.standing = Standing::Away;
            why.clone_into(&mut of.problem);
        }
        (Standing::Away, None) => {
            of.standing = Standing::Waiting;
            of.problem.clear();
        }
        (Standing::Pulling, None) => heard(job, of, seen),
        _ => {}
    }
}

/// What it says of its pull.
fn heard(job: Uuid, of: &mut OfNode, seen: Option<&Seen>) {
    let told = seen.and_then(|seen| seen.told.as_ref()?.pulls.get(&job));
    let Some(told) = told else { return };
    match told.state {
        PullState::Here => of.standing = Standing::Here,
        PullState::Failed => {
            of.standing = Standing::Failed;
            of.problem = short(&told.problem);
        }
        // What it says meanwhile is for who follows it.
        PullState::Waiting | PullState::Pulling => {}
    }
}
