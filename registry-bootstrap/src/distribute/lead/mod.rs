//! The leader's part: it looks at jobs and nodes, takes the next step of each job and writes what comes of it.
//!
//! Nothing is remembered that matters: a leader that dies is followed by one that finds everything in the store. What it writes
//! rests on its lead and on the progress it has read, so that two never write over each other.

mod act;
mod wishes;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cluster::config::Name;
use cluster::leader::Lead;
use cluster::store::{Result, Store};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};
use uuid::Uuid;

use self::act::Actor;
use self::wishes::Written;
use super::eyes::Eyes;
use super::job::{self, IMAGES, Known, Progress};
use crate::chain;

/// How often it is looked whether the lead is free.
const AGAIN: Duration = Duration::from_secs(2);
/// How often is looked while something goes on though nothing changed: times run out.
const ROUND: Duration = Duration::from_secs(1);
/// How long more changes are waited for after one.
const GATHER: Duration = Duration::from_millis(50);
/// How often is looked while nothing goes on.
const IDLE: Duration = Duration::from_secs(60);

/// Lead whenever nobody else does, for ever. The store is one with all rights.
pub async fn lead(store: Arc<dyn Store>, node: Uuid, name: &Name) {
    let mut said = String::new();
    loop {
        let error = match Lead::take(store.as_ref(), node).await {
            Ok(Some(lead)) => {
                info!(%node, "leads what is done with images");
                let led = tokio::select! {
                    error = lead.keep(store.as_ref()) => error,
                    error = work(&store, name, &lead) => error,
                };
                // One that is lost runs out by itself.
                let _ = lead.leave(store.as_ref()).await;
                Some(led)
            }
            Ok(None) => None,
            Err(error) => Some(error),
        };
        let problem = error.map_or_else(String::new, |error| chain(&error));
        if problem != said && !problem.is_empty() {
            warn!(problem, "does not lead what is done with images; tries again");
        }
        said = problem;
        sleep(AGAIN).await;
    }
}

/// Carry jobs on until something fails.
async fn work(store: &Arc<dyn Store>, name: &Name, lead: &Lead) -> cluster::store::Error {
    let actor = Actor {
        store: Arc::clone(store),
        name: name.clone(),
        lead: lead.clone(),
    };
    loop {
        if let Err(error) = actor.carry_on().await {
            return error;
        }
    }
}

impl Actor {
    /// Carry all jobs on until none is left, and wait for the next.
    async fn carry_on(&self) -> Result<()> {
        let store = self.store.as_ref();
        let mut written = Written::read(store).await?;
        let seen = store.range(job::ROLLOUT, cluster::store::Page::ALL).await?.revision;
        if job::all(store).await?.iter().all(|known| known.progress.is_over()) {
            written.follow(self, &[]).await?;
            self.forget_old().await?;
            let mut watch = store.watch(IMAGES, seen).await?;
            return match timeout(IDLE, watch.next()).await {
                Ok(changes) => changes.map(drop),
                Err(_) => Ok(()),
            };
        }
        let mut eyes = Eyes::open(store).await?;
        let mut clocks = Clocks::default();
        loop {
            let known = job::all(store).await?;
            let mut going: Vec<Known> = known.into_iter().filter(|known| !known.progress.is_over()).collect();
            if going.is_empty() {
                return Ok(());
            }
            for known in &mut going {
                let since = clocks.since(known);
                self.advance(known, &eyes.view, since).await?;
            }
            written.follow(self, &going).await?;
            timeout(ROUND, eyes.wait(GATHER)).await.unwrap_or(Ok(()))?;
            eyes.take_up();
        }
    }
}

/// Since when nothing has come of each job, by a clock that nobody sets.
#[derive(Default)]
struct Clocks(HashMap<Uuid, (Progress, Instant)>);

impl Clocks {
    fn since(&mut self, known: &Known) -> Duration {
        let now = Instant::now();
        let fresh = || (known.progress.clone(), now);
        let clock = self.0.entry(known.job.id).or_insert_with(fresh);
        if clock.0 != known.progress {
            *clock = fresh();
        }
        now.duration_since(clock.1)
    }
}
