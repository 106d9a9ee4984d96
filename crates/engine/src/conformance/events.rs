//! Events: what happened, in its order, to those asked about and no others.

use futures_util::StreamExt;

use super::{Bench, PATIENCE, SIGKILL};
use crate::{ContainerState, EventKind, Events};

/// All promises about events.
pub async fn events(bench: Bench) {
    a_life_is_told_in_order(&bench).await;
    others_are_not_told_of(&bench).await;
    images_are_told_of(&bench).await;
}

/// The next event that `pick` wants.
async fn next<T>(events: &mut Events, mut pick: impl FnMut(EventKind) -> Option<T>) -> T {
    let found = async {
        loop {
            let event = events
                .next()
                .await
                .expect("a stream of events ends with an error")
                .unwrap();
            assert!(event.time_ns > 0);
            if let Some(found) = pick(event.kind) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("an event in time")
}

/// The next event of a container.
async fn next_of_container(events: &mut Events) -> EventKind {
    next(events, |kind| {
        (!matches!(kind, EventKind::ImageChanged(_))).then_some(kind)
    })
    .await
}

async fn a_life_is_told_in_order(bench: &Bench) {
    let engine = &bench.engine;
    let mut events = engine.events(&bench.labels()).await.unwrap();
    let id = bench.started("told", &bench.spec()).await;
    engine.kill(&id, SIGKILL).await.unwrap();
    bench.until(&id, ContainerState::Exited).await;
    engine.remove(&id).await.unwrap();
    for expected in [
        EventKind::Created(id.clone()),
        EventKind::Started(id.clone()),
        EventKind::Died {
            id: id.clone(),
            exit_code: 137,
        },
        EventKind::Removed(id.clone()),
    ] {
        assert_eq!(next_of_container(&mut events).await, expected);
    }
}

async fn others_are_not_told_of(bench: &Bench) {
    let engine = &bench.engine;
    let mut labels = bench.labels();
    labels.insert("io.fence.test.extra".to_owned(), "wanted".to_owned());
    let mut events = engine.events(&labels).await.unwrap();
    let other = bench
        .started("other", &bench.running(&["/bin/sh", "-c", "exit 0"]))
        .await;
    bench.until(&other, ContainerState::Exited).await;
    engine.remove(&other).await.unwrap();
    let spec = crate::ContainerSpec { labels, ..bench.spec() };
    let wanted = engine.create(&bench.name("wanted"), &spec).await.unwrap();
    assert_eq!(next_of_container(&mut events).await, EventKind::Created(wanted.clone()));
    engine.remove(&wanted).await.unwrap();
}

async fn images_are_told_of(bench: &Bench) {
    let engine = &bench.engine;
    let name = bench.name("image:1");
    let mut events = engine.events(&bench.labels()).await.unwrap();
    let made = engine
        .import(&name, Box::pin(std::io::Cursor::new(vec![0; 1024])))
        .await
        .unwrap();
    // Others may work with images at the same time.
    let of_ours = |kind| matches!(&kind, EventKind::ImageChanged(what) if *what == made.id.0).then_some(());
    next(&mut events, of_ours).await;
    engine.remove_image(&name).await.unwrap();
    next(&mut events, of_ours).await;
}
