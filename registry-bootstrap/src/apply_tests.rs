//! The registry over the fake engine and a tree in memory: each step broken off, and done again.

use std::sync::Arc;

use cluster::config::{Author, Name};
use cluster::nodes::{DockerSettings, Kind, Membership, NodeFile, Paths, Role};
use cluster::store::memory::MemoryStore;
use engine::Engine;
use engine::fake::{Fake, Step};

use super::*;

struct Bench {
    core: Core,
    fake: Fake,
    _root: tempfile::TempDir,
}

fn author() -> Author {
    Author {
        who: "test".to_owned(),
        command: "up".to_owned(),
    }
}

/// A core whose engine has the image that is configured.
async fn bench() -> Bench {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::from_root(Some(root.path()));
    std::fs::create_dir_all(paths.pki()).unwrap();
    let ca = Ca::load_or_make(&paths.pki()).unwrap();
    let mut node = NodeFile::micro(&Name::new("core").unwrap(), DockerSettings::default());
    node.kind = Kind::Cluster;
    node.roles = vec![Role::Base, Role::Core];
    node.cluster = Some(Membership {
        core: "127.0.0.1:8443".to_owned(),
        ca: ca.fingerprint().to_string(),
    });
    let fake = Fake::new();
    fake.add_image("registry:2");
    let core = Core::with_engine(&paths, node, Arc::new(MemoryStore::new()), Arc::new(fake.clone())).unwrap();
    core.record("endpoint", "127.0.0.1".into(), &author()).await.unwrap();
    Bench {
        core,
        fake,
        _root: root,
    }
}

/// All of [`up`] but the question whether it answers, which nothing pretended does.
async fn up(bench: &Bench) -> Result<bool> {
    make_places(&bench.core.places)?;
    let configured = bench.core.configured().await?;
    let changed = bring_up(&bench.core, &configured, &|_| {}).await?;
    container::check_port(&bench.core, configured.port).await?;
    let location = configured.wanted_location();
    bench
        .core
        .record("registry/location", location.into(), &author())
        .await?;
    Ok(changed)
}

#[tokio::test]
async fn a_second_run_finds_nothing_to_do() {
    let bench = bench().await;
    assert!(up(&bench).await.unwrap());
    assert!(!up(&bench).await.unwrap());
    assert!(!keep(&bench.core).await.unwrap());
    assert_eq!(bench.fake.calls(Step::Create), 1);
    let config = std::fs::read_to_string(bench.core.places.config()).unwrap();
    assert!(
        config.contains("realm: https://127.0.0.1:8443/v1/registry/token"),
        "{config}"
    );
    use std::os::unix::fs::PermissionsExt;
    let places = &bench.core.places;
    for path in [places.config(), places.key(), places.signing_key(), places.secret()] {
        assert_eq!(
            path.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{}",
            path.display()
        );
    }
}

#[tokio::test]
async fn whatever_breaks_off_is_gone_on_with() {
    for step in [Step::List, Step::Image, Step::Create, Step::Start, Step::Inspect] {
        for lost in [false, true] {
            let bench = bench().await;
            match lost {
                true => bench.fake.lose_answer_at(step, 1),
                false => bench.fake.fail_at(step, 1),
            }
            up(&bench).await.unwrap_err();
            up(&bench).await.unwrap();
            let present = container::all(&bench.core).await.unwrap();
            assert_eq!(present.len(), 1, "{step:?} {lost}");
            assert!(present[0].runs, "{step:?} {lost}");
            assert!(!keep(&bench.core).await.unwrap(), "{step:?} {lost}");
        }
    }
}

#[tokio::test]
async fn one_that_ended_or_is_gone_is_brought_back_and_one_taken_down_is_not() {
    let bench = bench().await;
    up(&bench).await.unwrap();
    let id = container::all(&bench.core).await.unwrap()[0].id.clone();
    bench.fake.exit(&id, 1);
    assert!(keep(&bench.core).await.unwrap());
    bench.fake.remove(&id).await.unwrap();
    assert!(keep(&bench.core).await.unwrap());
    // The fake's first processes do not end by SIGTERM, and the wait for that is not what is tested.
    let id = container::all(&bench.core).await.unwrap()[0].id.clone();
    bench.fake.exit(&id, 0);
    assert_eq!(down(&bench.core, false, &author()).await.unwrap(), Was::SetUp);
    assert!(!keep(&bench.core).await.unwrap());
    assert_eq!(down(&bench.core, false, &author()).await.unwrap(), Was::Nothing);
    assert_eq!(container::all(&bench.core).await.unwrap(), []);
    assert_eq!(bench.core.configured().await.unwrap().location, "");
    assert!(bench.core.places.data().exists(), "its images stay");
}

#[tokio::test]
async fn it_is_known_when_its_certificate_is_due_while_there_is_one() {
    let bench = bench().await;
    assert_eq!(renewal(&bench.core.paths), None);
    bench
        .core
        .record("certificates/lifetime", 30.into(), &author())
        .await
        .unwrap();
    up(&bench).await.unwrap();
    let due = renewal(&bench.core.paths).unwrap();
    let left = due.duration_since(Timestamp::now()).as_secs();
    assert!((15..=20).contains(&left), "after two thirds of 30 s: {left} s");
    let id = container::all(&bench.core).await.unwrap()[0].id.clone();
    bench.fake.exit(&id, 0);
    down(&bench.core, false, &author()).await.unwrap();
    assert_eq!(renewal(&bench.core.paths), None);
}

#[tokio::test]
async fn a_port_that_is_taken_is_refused_with_what_to_do() {
    let bench = bench().await;
    let spec = engine::ContainerSpec {
        image: "registry:2".to_owned(),
        ports: vec![engine::Port {
            container: 80,
            host: 5000,
        }],
        ..Default::default()
    };
    let other = bench.fake.create("other", &spec).await.unwrap();
    bench.fake.start(&other).await.unwrap();
    let error = up(&bench).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.hint()),
        (crate::Kind::Refused, "kato registry setup --port PORT")
    );
}

#[tokio::test]
async fn an_endpoint_that_leads_nowhere_is_refused_before_anything_is_done() {
    let bench = bench().await;
    for endpoint in ["localhost", "no-such-host.invalid"] {
        bench.core.record("endpoint", endpoint.into(), &author()).await.unwrap();
        let error = super::up(&bench.core, None, &author(), |_| {}).await.unwrap_err();
        assert_eq!(error.kind(), crate::Kind::Refused, "{error}");
    }
    assert!(!bench.core.places.directory().exists());
}

#[tokio::test]
async fn a_node_that_is_no_core_has_no_registry() {
    let bench = bench().await;
    let node = NodeFile::micro(&Name::new("one").unwrap(), DockerSettings::default());
    let opened = Core::open(&bench.core.paths, node, Arc::clone(&bench.core.store));
    assert_eq!(opened.err().map(|error| error.kind()), Some(crate::Kind::Refused));
}

#[tokio::test]
async fn two_at_once_work_one_after_the_other() {
    let bench = bench().await;
    make_places(&bench.core.places).unwrap();
    let turn = Turn::take(&bench.core.places).await.unwrap();
    let second = tokio::spawn({
        let core = bench.core.clone();
        async move { Turn::take(&core.places).await.map(drop) }
    });
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    drop(turn);
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_was_taken_down_before_its_turn_is_not_brought_back() {
    let bench = bench().await;
    up(&bench).await.unwrap();
    let id = container::all(&bench.core).await.unwrap()[0].id.clone();
    let turn = Turn::take(&bench.core.places).await.unwrap();
    let kept = tokio::spawn({
        let core = bench.core.clone();
        async move { keep(&core).await }
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!kept.is_finished());
    // What `down` does, whose turn it is.
    bench
        .core
        .record("registry/location", "".into(), &author())
        .await
        .unwrap();
    bench.fake.exit(&id, 0);
    bench.fake.remove(&id).await.unwrap();
    drop(turn);
    assert!(!kept.await.unwrap().unwrap());
    assert_eq!(container::all(&bench.core).await.unwrap(), []);
    assert_eq!(bench.fake.calls(Step::Create), 1);
}

#[tokio::test]
async fn it_is_kept_where_it_was_set_up_and_not_where_the_next_setup_has_it() {
    let bench = bench().await;
    up(&bench).await.unwrap();
    for (key, value) in [("registry/port", 5001.into()), ("endpoint", "127.0.0.2".into())] {
        bench.core.record(key, value, &author()).await.unwrap();
    }
    assert!(!keep(&bench.core).await.unwrap());
    container::check_port(&bench.core, 5000).await.unwrap();
    // The next setup moves it, unless something else is there.
    let held = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let error = container::check_move(&bench.core, port).await.unwrap_err();
    assert_eq!(error.hint(), "kato registry setup --port PORT");
    container::check_move(&bench.core, 5000).await.unwrap();
}
