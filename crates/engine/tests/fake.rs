//! The fake under the suite that the real engine passes, and its own levers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use engine::conformance::{self, Bench};
use engine::fake::{self, Fake, Step};
use engine::{ContainerSpec, ContainerState, Engine, Error, EventKind, Labels, RegistryAuth};
use futures_util::StreamExt;
use tokio::sync::mpsc;

const IMAGE: &str = "fence/base:1";

fn bench() -> Bench {
    let fake = Fake::new();
    fake.add_image(IMAGE);
    Bench::new(Arc::new(fake), IMAGE)
}

fn spec() -> ContainerSpec {
    ContainerSpec {
        image: IMAGE.to_owned(),
        command: vec!["/bin/sleep".to_owned()],
        ..ContainerSpec::default()
    }
}

#[tokio::test]
async fn containers() {
    bench().run(conformance::containers).await;
}

#[tokio::test]
async fn limits() {
    bench().run(conformance::limits).await;
}

#[tokio::test]
async fn joining() {
    bench().run(conformance::joining).await;
}

#[tokio::test]
async fn images() {
    bench().run(conformance::images).await;
}

#[tokio::test]
async fn events() {
    bench().run(conformance::events).await;
}

#[tokio::test]
async fn a_step_fails_as_often_as_it_was_told() {
    let fake = Fake::new();
    fake.add_image(IMAGE);
    let id = fake.create("one", &spec()).await.unwrap();
    fake.fail_at(Step::Start, 2);
    for _ in 0..2 {
        assert!(matches!(fake.start(&id).await, Err(Error::Failed { .. })));
        assert_eq!(fake.inspect(&id).await.unwrap().state, ContainerState::Created);
    }
    fake.start(&id).await.unwrap();
    assert_eq!(fake.calls(Step::Start), 3);
}

#[tokio::test]
async fn a_lost_answer_leaves_the_effect() {
    let fake = Fake::new();
    fake.add_image(IMAGE);
    fake.lose_answer_at(Step::Create, 1);
    assert!(matches!(fake.create("one", &spec()).await, Err(Error::TimedOut { .. })));
    assert_eq!(fake.list(&Labels::new()).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_step_times_out_and_is_released() {
    let fake = Fake::with_call_timeout(Duration::from_secs(5));
    fake.hang_at(Step::Version);
    assert!(matches!(fake.version().await, Err(Error::TimedOut { after, .. }) if after == Duration::from_secs(5)));
    let waiting = tokio::spawn({
        let fake = fake.clone();
        async move { fake.version().await }
    });
    while fake.calls(Step::Version) < 2 {
        tokio::task::yield_now().await;
    }
    fake.release();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_engine_that_went_away_comes_back_with_all_it_had() {
    let fake = Fake::new();
    fake.add_image(IMAGE);
    let mut events = fake.events(&Labels::new()).await.unwrap();
    let id = fake.create("one", &spec()).await.unwrap();
    fake.go_down();
    assert!(fake.inspect(&id).await.unwrap_err().is_temporary());
    assert!(matches!(events.next().await, Some(Ok(event)) if event.kind == EventKind::Created(id.clone())));
    assert!(matches!(events.next().await, Some(Err(Error::Unavailable { .. }))));
    assert!(events.next().await.is_none());
    fake.come_back();
    assert_eq!(fake.inspect(&id).await.unwrap().id, id);
}

#[tokio::test]
async fn a_test_runs_in_place_of_the_first_process() {
    let fake = Fake::new();
    fake.add_image(IMAGE);
    let signalled = Arc::new(AtomicI32::new(0));
    fake.on_start(|spec| {
        assert_eq!(spec.command, ["/bin/sleep"]);
        4711
    });
    fake.on_kill({
        let signalled = signalled.clone();
        move |pid, signal| {
            assert_eq!(pid, 4711);
            signalled.store(signal, Ordering::SeqCst);
        }
    });
    let id = fake.create("one", &spec()).await.unwrap();
    fake.start(&id).await.unwrap();
    assert_eq!(fake.inspect(&id).await.unwrap().pid, 4711);
    fake.kill(&id, 15).await.unwrap();
    assert_eq!(signalled.load(Ordering::SeqCst), 15);
    assert_eq!(fake.inspect(&id).await.unwrap().state, ContainerState::Running);
    fake.exit(&id, 143);
    assert_eq!(fake.inspect(&id).await.unwrap().exit_code, Some(143));
    fake.start(&id).await.unwrap();
    fake.run_out_of_memory(&id);
    assert!(fake.inspect(&id).await.unwrap().oom_killed);
    assert_eq!(fake.signals(&id), [15]);
}

#[tokio::test]
async fn the_registry_holds_what_was_published() {
    let fake = Fake::new();
    let (progress, mut steps) = mpsc::channel(8);
    let image = fake::image(&["/start.sh"]);
    fake.publish("registry.test:5000/app:1", image.clone());
    let pulled = fake
        .pull("registry.test:5000/app:1", None, progress.clone())
        .await
        .unwrap();
    assert_eq!((&pulled.id, &pulled.command), (&image.id, &image.command));
    assert_eq!(pulled.tags, ["registry.test:5000/app:1"]);
    assert!(steps.recv().await.is_some());
    let by_digest = fake.pull(&pulled.digests[0], None, progress.clone()).await.unwrap();
    assert_eq!(by_digest.id, image.id);

    let absent = fake.pull("registry.test:5000/app:2", None, progress.clone()).await;
    assert!(absent.unwrap_err().is_not_found());
    let auth = RegistryAuth {
        username: "u".into(),
        password: "p".into(),
    };
    fake.publish_private("registry.test:5000/own", fake::image(&[]), auth.clone());
    let denied = fake.pull("registry.test:5000/own", None, progress.clone()).await;
    assert!(matches!(denied, Err(Error::Refused { .. })));
    fake.pull("registry.test:5000/own", Some(&auth), progress.clone())
        .await
        .unwrap();
    fake.set_registry_down(true);
    let down = fake.pull("registry.test:5000/app:1", None, progress).await.unwrap_err();
    assert!(down.is_temporary(), "{down}");
}
