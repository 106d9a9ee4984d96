//! The registry as a client asks it, over real connections to a pretended one.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::pretend::{Said, json, registry};
use crate::Kind;
use crate::manifest::digest;
use crate::token::MAX_SCOPES;

/// The path that is asked for, with its query.
fn path(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

/// The number of the token that is shown.
fn shown(head: &str) -> Option<usize> {
    let line = head
        .lines()
        .find_map(|line| line.strip_prefix("authorization: Bearer "));
    line?.trim().parse().ok()
}

fn who_are_you(at: SocketAddr) -> Said {
    let challenge = format!("Bearer realm=\"https://{at}/token\",service=\"x\"");
    Said(401, vec![("www-authenticate", challenge)], Vec::new())
}

/// Gives a token for what is asked for, up to as much as the core's door does.
#[derive(Default)]
struct Door(Mutex<Vec<Vec<String>>>);

impl Door {
    fn give(&self, query: &str) -> Said {
        let scopes = query.split('&').filter_map(|pair| pair.strip_prefix("scope="));
        let mut given = self.0.lock().unwrap();
        given.push(scopes.take(MAX_SCOPES).map(|scope| scope.replace("%3A", ":")).collect());
        json(json!({ "token": (given.len() - 1).to_string() }))
    }

    fn allows(&self, head: &str, scope: &str) -> bool {
        let given = self.0.lock().unwrap();
        let shown = shown(head).and_then(|at| given.get(at));
        shown.is_some_and(|scopes| scopes.iter().any(|given| given == scope))
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[tokio::test]
async fn one_token_is_asked_for_many_repositories() {
    let door = Arc::new(Door::default());
    let remote = registry({
        let door = Arc::clone(&door);
        move |at, head| match path(head).split_once('?') {
            Some(("/token", query)) => door.give(query),
            Some((path, _)) => {
                let name = path.trim_start_matches("/v2/").trim_end_matches("/tags/list");
                match door.allows(head, &format!("repository:{name}:pull")) {
                    true => json(json!({ "tags": [name] })),
                    false => who_are_you(at),
                }
            }
            None => Said(404, Vec::new(), Vec::new()),
        }
    })
    .await;
    let all: Vec<String> = (0..100).map(|n| format!("app{n}")).collect();
    remote.will_read(&all);
    for name in &all {
        assert_eq!(remote.tags(name).await.unwrap(), [name.as_str()]);
    }
    assert_eq!(door.asked(), all.len().div_ceil(MAX_SCOPES));
    assert_eq!(remote.tags("other").await.unwrap(), ["other"]);
}

#[tokio::test]
async fn one_who_asks_too_much_waits_and_asks_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let remote = registry({
        let asked = Arc::clone(&asked);
        move |_, _| match asked.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => Said(429, vec![("retry-after", "0".to_owned())], Vec::new()),
            _ => json(json!({ "tags": ["1"] })),
        }
    })
    .await;
    assert_eq!(remote.tags("app").await.unwrap(), ["1"]);
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn lists_are_read_to_their_last_page() {
    let remote = registry(|_, head| {
        let (path, query) = path(head).split_once('?').unwrap_or_default();
        let from: usize = match query.split_once("last=") {
            Some((_, last)) => last.split('&').next().unwrap_or_default().parse().unwrap_or(0),
            None => 0,
        };
        let names: Vec<String> = (from..2500.min(from + 1000)).map(|n| format!("n{n}")).collect();
        let next = format!("<{path}?last={}&n=1000>; rel=\"next\"", from + 1000);
        let headers = if from + 1000 < 2500 {
            vec![("link", next)]
        } else {
            Vec::new()
        };
        Said(
            200,
            headers,
            json!({ "tags": names, "repositories": names }).to_string().into_bytes(),
        )
    })
    .await;
    assert_eq!(remote.tags("app").await.unwrap().len(), 2500);
    assert_eq!(remote.repositories().await.unwrap().len(), 2500);
}

#[tokio::test]
async fn a_list_without_an_end_is_given_up() {
    let remote = registry(|_, head| {
        let path = path(head).to_owned();
        let headers = vec![("link", format!("<{path}>; rel=\"next\""))];
        let names = vec!["again"; 5000];
        Said(200, headers, json!({ "tags": names }).to_string().into_bytes())
    })
    .await;
    let error = remote.tags("app").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
    assert!(error.to_string().contains("more than 100000 names"), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_no_silence() {
    let remote = registry(|_, _| Said(200, Vec::new(), vec![b' '; super::MAX_ANSWER + 1])).await;
    let error = remote.tags("app").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Failed, "{error}");
}

#[tokio::test]
async fn a_manifest_is_held_to_every_digest_that_it_is_named_by() {
    let (sha512, good) = (format!("sha512:{}", "0a".repeat(64)), digest(b"{}"));
    let remote = registry({
        let sha512 = sha512.clone();
        move |_, _| Said(200, vec![("docker-content-digest", sha512.clone())], b"{}".to_vec())
    })
    .await;
    for reference in ["latest", sha512.as_str(), good.as_str()] {
        let error = remote.manifest("app", reference).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{reference}");
        assert!(error.to_string().contains("only sha256 is supported"), "{error}");
    }
}
