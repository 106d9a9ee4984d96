//! Keeps what fence believes of its containers true: hears the engine's events, and compares everything at the start,
//! whenever the engine comes back, and now and then.

use std::sync::Arc;
use std::time::Duration;

use engine::{Engine, Event};
use futures_util::StreamExt;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior};

use crate::image::rootfs;
use crate::supervisor::Supervisor;

/// How often everything is compared although nothing happened.
const COMPARE: Duration = Duration::from_secs(30);
/// How often it is looked whether a repair is due; twice as long after every time that comparing failed.
const LOOK: Duration = Duration::from_secs(1);
/// How often images of root file systems that nobody uses are removed, and how long they must have been there.
const PRUNE: Duration = Duration::from_secs(600);
const UNUSED: Duration = Duration::from_secs(3600);
/// How long to wait for an engine that is away before it is asked again.
const AWAY: Duration = Duration::from_millis(500);
/// Events that wait to be acted on; what happens beyond that is found by comparing.
const WAITING: usize = 1024;

/// Run for ever; stop it by dropping it.
pub(super) async fn run(engine: Arc<dyn Engine>, supervisor: Supervisor) {
    let (sender, events) = mpsc::channel(WAITING);
    let told = Arc::new(Notify::new());
    tokio::join!(
        hear(engine.clone(), supervisor.clone(), sender, told.clone()),
        act(supervisor.clone(), events),
        compare(supervisor, told),
        prune(engine)
    );
}

/// Remove what was made for containers that are no more.
async fn prune(engine: Arc<dyn Engine>) {
    let (mut due, mut unused) = (tokio::time::interval(PRUNE), rootfs::Unused::default());
    loop {
        due.tick().await;
        if let Err(error) = unused.prune(&*engine, UNUSED, std::time::Instant::now()).await {
            tracing::debug!(%error, "could not remove unused images of root file systems");
        }
    }
}

/// Hear what happens in the engine, and what may have been missed: then everything is to be compared.
async fn hear(engine: Arc<dyn Engine>, supervisor: Supervisor, sender: mpsc::Sender<Event>, compare: Arc<Notify>) {
    let mut told = false;
    loop {
        match engine.events(&supervisor.labels()).await {
            Ok(mut events) => {
                told = false;
                supervisor.engine_is_back();
                // What happened before the stream was open is found by comparing.
                compare.notify_one();
                while let Some(Ok(event)) = events.next().await {
                    if sender.try_send(event).is_err() {
                        compare.notify_one();
                    }
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

async fn act(supervisor: Supervisor, mut events: mpsc::Receiver<Event>) {
    while let Some(event) = events.recv().await {
        // In a task of its own: a container that is being stopped must not hold up what happens to the others.
        let supervisor = supervisor.clone();
        tokio::spawn(async move { supervisor.engine_event(&event).await });
    }
}

/// Compare when told to, when a repair is due, and now and then.
async fn compare(supervisor: Supervisor, told: Arc<Notify>) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first comparison comes with the engine's first answer.
    let (mut compared, mut pause) = (Instant::now(), LOOK);
    loop {
        tokio::select! {
            () = told.notified() => {}
            _ = look.tick() => {
                let due = if supervisor.is_repair_due() { pause } else { COMPARE };
                if compared.elapsed() < due {
                    continue;
                }
            }
        }
        pause = match supervisor.reconcile().await {
            Ok(()) => LOOK,
            Err(error) => {
                let error = error.chain();
                tracing::warn!(error, "could not compare the containers with what is recorded");
                (pause * 2).min(COMPARE)
            }
        };
        compared = Instant::now();
    }
}
