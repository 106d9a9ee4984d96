//! Pulls from a real registry: what is there, what is not, what is not for us, and registries that do not answer.
#![allow(clippy::unwrap_used, reason = "tests: what fails is to panic")]

mod common;

use std::process::Command;
use std::time::Duration;

use common::registry::{PASSWORD, Registry, USER};
use common::{SOCKET, bench, bounded};
use engine::conformance::Bench;
use engine::docker::{Docker, Timeouts};
use engine::{Engine, Error, Image, Progress, RegistryAuth, Result};
use tokio::sync::mpsc;

/// An image of the test's own in this registry, and no longer in the engine.
async fn published(bench: &Bench, registry: &Registry) -> (String, Image) {
    let name = registry.name(&bench.name("app:1"));
    let mark = format!("published {}", bench.id);
    let made = bench.engine.import(&name, common::busybox(&mark)).await.unwrap();
    common::run(Command::new("docker").args(["push", "--quiet", &name]));
    bench.engine.remove_image(&name).await.unwrap();
    assert!(bench.engine.image(&made.id.0).await.unwrap_err().is_not_found());
    (name, made)
}

async fn pull(engine: &dyn Engine, name: &str, auth: Option<&RegistryAuth>) -> Result<(Image, Vec<Progress>)> {
    let (progress, mut steps) = mpsc::channel(1000);
    let image = bounded("a pull", engine.pull(name, auth, progress)).await?;
    let mut seen = Vec::new();
    while let Some(step) = steps.recv().await {
        seen.push(step);
    }
    Ok((image, seen))
}

#[tokio::test]
async fn what_is_there_is_fetched_by_tag_and_by_digest() {
    bench()
        .await
        .run(|bench| async move {
            let folder = tempfile::tempdir().unwrap();
            let registry = Registry::start(folder.path(), false).await;
            let (name, made) = published(&bench, &registry).await;

            let (pulled, steps) = pull(&*bench.engine, &name, None).await.unwrap();
            assert_eq!((&pulled.id, &pulled.tags), (&made.id, &vec![name.clone()]));
            let layer = steps.iter().find(|step| step.total > 0).expect("a step with a size");
            assert!(!layer.layer.is_empty() && layer.current <= layer.total, "{layer:?}");
            assert!(steps.iter().any(|step| step.status == "Pull complete"), "{steps:?}");
            pull(&*bench.engine, &name, None).await.expect("pulled again");

            let [digest] = pulled.digests.as_slice() else {
                panic!("{:?}", pulled.digests)
            };
            bench.engine.remove_image(&name).await.unwrap();
            let (by_digest, _) = pull(&*bench.engine, digest, None).await.unwrap();
            assert_eq!((by_digest.id, by_digest.tags), (made.id, vec![]));
            bench.engine.remove_image(digest).await.unwrap();
        })
        .await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    bench()
        .await
        .run(|bench| async move {
            let folder = tempfile::tempdir().unwrap();
            let registry = Registry::start(folder.path(), false).await;
            let (name, _) = published(&bench, &registry).await;
            let other_tag = name.replace(":1", ":2").replace(&registry.address.to_string(), "");
            let other_tag = registry.name(other_tag.trim_start_matches('/'));
            let digest = format!("{}@sha256:{}", registry.name("unauthorized/timeout"), "0".repeat(64));
            for absent in [other_tag, registry.name("nothing/here"), digest] {
                let error = pull(&*bench.engine, &absent, None).await.unwrap_err();
                assert!(
                    matches!(&error, Error::NotFound { what } if what.contains(&absent)),
                    "{error:?}"
                );
            }
        })
        .await;
}

#[tokio::test]
async fn what_is_private_needs_the_account() {
    bench()
        .await
        .run(|bench| async move {
            let folder = tempfile::tempdir().unwrap();
            let open = Registry::start(folder.path(), false).await;
            let (name, made) = published(&bench, &open).await;
            let private = Registry::start(folder.path(), true).await;
            let name = name.replace(&open.address.to_string(), &private.address.to_string());

            let wrong = RegistryAuth {
                username: USER.to_owned(),
                password: "wrong".to_owned(),
            };
            for auth in [None, Some(&wrong)] {
                let error = pull(&*bench.engine, &name, auth).await.unwrap_err();
                assert!(matches!(error, Error::Refused { .. }), "{error:?}");
                assert!(!error.to_string().contains(PASSWORD));
            }
            let right = RegistryAuth {
                username: USER.to_owned(),
                password: PASSWORD.to_owned(),
            };
            let (pulled, _) = pull(&*bench.engine, &name, Some(&right)).await.unwrap();
            assert_eq!(pulled.id, made.id);
        })
        .await;
}

#[tokio::test]
async fn who_has_the_account_pushes_what_others_can_pull() {
    bench()
        .await
        .run(|bench| async move {
            let folder = tempfile::tempdir().unwrap();
            let registry = Registry::start(folder.path(), true).await;
            let name = registry.name(&format!("{}/app:1", bench.name("pushed")));
            bench.engine.tag(&bench.image, &name).await.unwrap();
            let auth = RegistryAuth {
                username: USER.to_owned(),
                password: PASSWORD.to_owned(),
            };
            let push = async |auth| bench.engine.push(&name, auth, mpsc::channel(1).0).await;
            let error = push(None).await.unwrap_err();
            assert!(matches!(error, Error::Refused { .. }), "{error:?}");
            push(Some(&auth)).await.unwrap();
            push(Some(&auth)).await.expect("a second push is done already");
            let id = bench.engine.image(&name).await.unwrap().id;
            bench.engine.remove_image(&name).await.unwrap();
            let (pulled, _) = pull(&*bench.engine, &name, Some(&auth)).await.unwrap();
            assert_eq!(pulled.id, id);
        })
        .await;
}

#[tokio::test]
async fn a_registry_that_is_away_is_temporary() {
    bench()
        .await
        .run(|bench| async move {
            let folder = tempfile::tempdir().unwrap();
            let address = Registry::start(folder.path(), false).await.stop();
            let error = pull(&*bench.engine, &format!("{address}/app:1"), None)
                .await
                .unwrap_err();
            assert!(
                matches!(error, Error::RegistryUnavailable { .. }) && error.is_temporary(),
                "{error:?}"
            );
            assert!(error.to_string().contains("refused"), "{error}");
        })
        .await;
}

#[tokio::test]
async fn a_registry_that_never_answers_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let timeouts = Timeouts {
        idle: Duration::from_secs(2),
        ..Timeouts::default()
    };
    let docker = Docker::connect(SOCKET.as_ref(), timeouts);
    let name = format!("{}/app:1", silent.local_addr().unwrap());
    let error = pull(&docker, &name, None).await.unwrap_err();
    assert!(
        matches!(error, Error::TimedOut { .. }) && error.is_temporary(),
        "{error:?}"
    );
}
