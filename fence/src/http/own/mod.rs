//! Fence's own routes below `/fence/v1/`: what kato needs and Garden has no words for.
//!
//! Requests name containers and processes in Garden's JSON (its wire types are reused); answers are in our own words.
//! [`frames`], [`processes`], [`input`] and [`delivery`] are the upgraded connection that carries a process's input and
//! output, binary safe. [`events`] and [`logs`] are answered by a [`stream`] that goes on for as long as its client wants.

mod containers;
mod delivery;
mod error;
mod events;
mod files;
#[cfg(test)]
mod fixture_tests;
mod frames;
mod input;
mod logs;
mod node;
mod processes;
mod stream;
mod wire;

use axum::Router;
use axum::routing::{any, get, post, put};
use http::Method;

use super::garden::hijacked_only;
use super::head::RequestHead;
use super::segments::Segments;
use super::server::Hijack;
use crate::supervisor::Supervisor;

use error::Error;

/// What a handler gives.
type Reply<T> = Result<super::json::Json<T>, Error>;

/// Where in a path the container and the process are named.
const HANDLE: usize = 3;
const PROCESS: usize = 5;

/// The ordinary routes.
pub(super) fn router(supervisor: Supervisor) -> Router {
    Router::new()
        .route("/fence/v1/status", get(node::status))
        .route("/fence/v1/version", get(node::version))
        .route("/fence/v1/containers", get(containers::list).post(containers::create))
        .route(
            "/fence/v1/containers/{handle}",
            get(containers::info).delete(containers::destroy),
        )
        .route("/fence/v1/containers/{handle}/metrics", get(containers::metrics))
        .route("/fence/v1/containers/{handle}/start", post(containers::start))
        .route("/fence/v1/containers/{handle}/stop", post(containers::stop))
        .route("/fence/v1/containers/{handle}/pause", post(containers::pause))
        .route("/fence/v1/containers/{handle}/resume", post(containers::resume))
        .route("/fence/v1/containers/{handle}/top", get(containers::top))
        .route("/fence/v1/containers/{handle}/logs", any(|| hijacked_only(Method::GET)))
        .route("/fence/v1/events", any(|| hijacked_only(Method::GET)))
        .route(
            "/fence/v1/containers/{handle}/files",
            put(files::stream_in).get(|| hijacked_only(Method::GET)),
        )
        .route(
            "/fence/v1/containers/{handle}/processes",
            any(|| hijacked_only(Method::POST)),
        )
        .route(
            "/fence/v1/containers/{handle}/processes/{process}/attach",
            any(|| hijacked_only(Method::GET)),
        )
        .with_state(supervisor)
}

/// The handler of a request that takes the socket over.
pub(super) fn hijack(supervisor: &Supervisor, head: &RequestHead) -> Option<Hijack> {
    let path = Segments::of(&head.uri);
    let supervisor = supervisor.clone();
    match (head.method.as_str(), &path.parts()[..]) {
        ("POST", ["fence", "v1", "containers", _, "processes"]) => Some(Box::new(move |connection| {
            Box::pin(processes::run(supervisor, path, connection))
        })),
        ("GET", ["fence", "v1", "containers", _, "files"]) => Some(Box::new(move |connection| {
            Box::pin(files::stream_out(supervisor, path, connection))
        })),
        ("GET", ["fence", "v1", "containers", _, "processes", _, "attach"]) => Some(Box::new(move |connection| {
            Box::pin(processes::attach(supervisor, path, connection))
        })),
        ("GET", ["fence", "v1", "containers", _, "logs"]) => Some(Box::new(move |connection| {
            Box::pin(logs::show(supervisor, path, connection))
        })),
        ("GET", ["fence", "v1", "events"]) => Some(Box::new(move |connection| {
            Box::pin(events::follow(supervisor, connection))
        })),
        _ => None,
    }
}
