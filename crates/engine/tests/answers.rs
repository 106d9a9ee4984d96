//! Docker's side played by a program that answers strangely: other versions, too much, nonsense, half of it.

mod common;

use common::bounded;
use common::pretend::{Pretend, json};
use engine::docker::{Docker, Timeouts};
use engine::{ContainerId, Engine, Error};

const VERSION: &str = r#"{"Version":"1","ApiVersion":"1.41","Os":"linux","Arch":"amd64"}"#;

fn client(pretend: &Pretend) -> Docker {
    Docker::connect(&pretend.socket(), Timeouts::default())
}

fn anyone() -> ContainerId {
    ContainerId("c0ffee".to_owned())
}

#[tokio::test]
async fn each_request_is_in_the_newest_version_that_both_know() {
    let pretend = Pretend::start(|_| json(VERSION));
    let docker = client(&pretend);
    for (told, path) in [
        ("1.41", "/v1.41/version"),
        ("1.99", "/v1.47/version"),
        ("1.43", "/v1.43/version"),
    ] {
        *pretend.api.lock().unwrap() = told.to_owned();
        docker.version().await.unwrap();
        let last = pretend.requests.lock().unwrap().last().cloned().unwrap();
        assert_eq!(last, format!("GET {path} HTTP/1.1"));
    }
}

#[tokio::test]
async fn an_engine_too_old_is_refused_with_the_versions() {
    let pretend = Pretend::start(|_| json(VERSION));
    *pretend.api.lock().unwrap() = "1.24".to_owned();
    let error = client(&pretend).version().await.unwrap_err();
    assert!(
        matches!(&error, Error::Refused { reason, .. } if reason.contains("1.24") && reason.contains("1.41")),
        "{error:?}"
    );
    assert!(pretend.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let pretend = Pretend::start(|_| {
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n{\"Id\":\"".to_vec();
        answer.resize(65 << 20, b'x');
        answer
    });
    let error = bounded("an endless answer", client(&pretend).inspect(&anyone()))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Failed { reason, .. } if reason.contains("more than")),
        "{error:?}"
    );
}

#[tokio::test]
async fn nonsense_is_a_failure_and_a_broken_line_is_temporary() {
    let nonsense = Pretend::start(|_| json("[1, 2"));
    let error = bounded("nonsense", client(&nonsense).inspect(&anyone()))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error:?}");

    let empty = Pretend::start(|_| json("{}"));
    let error = bounded("an empty answer", client(&empty).inspect(&anyone()))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error:?}");

    let broken = Pretend::start(|_| Vec::new());
    let error = bounded("a broken line", client(&broken).inspect(&anyone()))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn what_a_status_means() {
    for (status, message, expected) in [
        (404, "No such container: c0ffee", "NotFound"),
        (404, "network bridge not found", "Refused"),
        (400, "bad parameter", "Refused"),
        (409, "is paused", "Conflict"),
        (500, "something broke", "Failed"),
        (500, "dial unix /run/containerd/containerd.sock: timeout", "Unavailable"),
        (503, "starting", "Unavailable"),
    ] {
        let body = format!(r#"{{"message":"{message}"}}"#);
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let pretend = Pretend::start(move |_| answer.clone().into_bytes());
        let error = client(&pretend).start(&anyone()).await.unwrap_err();
        assert!(
            format!("{error:?}").starts_with(expected),
            "{status} {message}: {error:?}"
        );
    }
}

#[tokio::test]
async fn ids_never_become_other_paths() {
    let pretend = Pretend::start(|_| json("{}"));
    for id in ["", "../images/json", "a/b", "a?all=1", "%2e%2e", "..", "a b", "é"] {
        let error = client(&pretend).start(&ContainerId(id.to_owned())).await.unwrap_err();
        assert!(error.is_not_found(), "{id:?}: {error:?}");
    }
    assert!(pretend.requests.lock().unwrap().is_empty());
}
