//! Keeps what fence believes of its containers true: hears the engine's events, and compares everything at the start,
//! whenever the engine comes back, and now and then.

use std::sync::Arc;
use std::time::Duration;

use engine::{Engine, Event};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::image::rootfs;
use crate::supervisor::Supervisor;

/// How often everything is compared although nothing happened.
const COMPARE: Duration = Duration::from_secs(30);
/// How soon it is while a container waits to be cleaned up; twice as long after every time that the engine did not answer.
const UNFINISHED: Duration = Duration::from_secs(1);
/// How often images of root file systems that nobody uses are removed, and how old they must be.
const PRUNE: Duration = Duration::from_secs(600);
const UNUSED: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);
/// How long to wait for an engine that is away before it is asked again.
const AWAY: Duration = Duration::from_millis(500);
/// Events that wait to be acted on; more than that and the next comparison finds what they said.
const WAITING: usize = 1024;

/// Run for ever; stop it by dropping it.
pub(super) async fn run(engine: Arc<dyn Engine>, supervisor: Supervisor) {
    let (sender, events) = mpsc::channel(WAITING);
    tokio::join!(
        hear(engine.clone(), supervisor.clone(), sender),
        act(supervisor, events),
        prune(engine)
    );
}

/// Remove what was made for containers that are no more.
async fn prune(engine: Arc<dyn Engine>) {
    let mut due = tokio::time::interval(PRUNE);
    loop {
        due.tick().await;
        if let Err(error) = rootfs::prune(&*engine, UNUSED).await {
            tracing::debug!(%error, "could not remove unused images of root file systems");
        }
    }
}

/// Something to act on.
enum Sign {
    Happened(Event),
    /// Events may have been missed.
    Compare,
}

async fn hear(engine: Arc<dyn Engine>, supervisor: Supervisor, sender: mpsc::Sender<Sign>) {
    let mut told = false;
    loop {
        match engine.events(&supervisor.labels()).await {
            Ok(mut events) => {
                told = false;
                supervisor.engine_is_back();
                // What happened before the stream was open is found by comparing.
                let _ = sender.try_send(Sign::Compare);
                while let Some(Ok(event)) = events.next().await {
                    let _ = sender.try_send(Sign::Happened(event));
                }
                tracing::warn!("the engine's events have ended; it is stopping or gone");
            }
            Err(error) if !told => {
                tracing::warn!(%error, "cannot hear the engine's events; will try again until it is back");
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(AWAY).await;
    }
}

async fn act(supervisor: Supervisor, mut signs: mpsc::Receiver<Sign>) {
    let mut look = tokio::time::interval(UNFINISHED);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first comparison comes with the engine's first answer.
    let (mut compared, mut pause) = (Instant::now(), UNFINISHED);
    loop {
        let sign = tokio::select! {
            sign = signs.recv() => sign,
            _ = look.tick() => {
                let due = if supervisor.has_unfinished() { pause } else { COMPARE };
                if compared.elapsed() < due {
                    continue;
                }
                Some(Sign::Compare)
            }
        };
        match sign {
            // In a task of its own: a container that is being stopped must not hold up what happens to the others.
            Some(Sign::Happened(event)) => {
                let supervisor = supervisor.clone();
                tokio::spawn(async move { supervisor.engine_event(&event).await });
            }
            Some(Sign::Compare) => {
                pause = match supervisor.reconcile().await {
                    Ok(()) => UNFINISHED,
                    Err(error) => {
                        let error = error.chain();
                        tracing::warn!(error, "could not compare the containers with what is recorded");
                        (pause * 2).min(COMPARE)
                    }
                };
                compared = Instant::now();
            }
            None => return,
        }
    }
}
