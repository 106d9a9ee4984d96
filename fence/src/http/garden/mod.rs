//! The Garden API, so that existing Garden clients work unchanged.
//!
//! The routes are here; the handlers are in a file per resource: [`containers`], [`properties`], [`limits`], [`net`]
//! and [`bulk`] for ordinary requests, [`processes`] and [`streams`] for those that take the socket over, [`files`]
//! with one of each. [`wire`] has the JSON types and nothing else has any, [`convert`] turns them into the
//! supervisor's and back, [`error`] is the only map from the supervisor's errors to Garden's.
//! `docs/garden-api.md` says what differs from Garden's own server, and why.

mod bulk;
mod containers;
mod convert;
mod error;
mod files;
#[cfg(test)]
mod hostile_tests;
mod input;
mod limits;
mod net;
mod processes;
mod properties;
mod streams;
pub(super) mod wire;

pub(super) use convert::{container_spec, process_spec};
pub(super) use error::Error;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post, put};
use http::header::ALLOW;
use http::{Method, StatusCode};

use super::head::RequestHead;
use super::json::Json;
use super::segments::Segments;
use super::server::Hijack;
use crate::supervisor::{Stream, Supervisor};

/// What a handler gives.
type Reply<T> = Result<Json<T>, Error>;

/// Where in a path the container is named, and what comes two segments later.
const HANDLE: usize = 1;
const KEY: usize = 3;

/// The ordinary routes.
pub(super) fn router(supervisor: Supervisor) -> Router {
    Router::new()
        .route("/ping", get(containers::ping))
        .route("/capacity", get(containers::capacity))
        .route("/containers", get(containers::list).post(containers::create))
        .route("/containers/bulk_info", get(bulk::bulk_info))
        .route("/containers/bulk_metrics", get(bulk::bulk_metrics))
        .route("/containers/{handle}", delete(containers::destroy))
        .route("/containers/{handle}/info", get(containers::info))
        .route("/containers/{handle}/stop", put(containers::stop))
        .route("/containers/{handle}/grace_time", put(containers::set_grace_time))
        .route(
            "/containers/{handle}/files",
            put(files::stream_in).get(|| hijacked_only(Method::GET)),
        )
        .route("/containers/{handle}/metrics", get(bulk::metrics))
        .route("/containers/{handle}/limits/memory", get(limits::memory))
        .route("/containers/{handle}/limits/cpu", get(limits::cpu))
        .route("/containers/{handle}/limits/disk", get(limits::none))
        .route("/containers/{handle}/limits/bandwidth", get(limits::none))
        .route("/containers/{handle}/net/in", post(net::net_in))
        .route("/containers/{handle}/net/out", post(net::net_out))
        .route("/containers/{handle}/net/out/bulk", post(net::bulk_net_out))
        .route("/containers/{handle}/properties", get(properties::all))
        .route(
            "/containers/{handle}/properties/{key}",
            get(properties::one).put(properties::set).delete(properties::remove),
        )
        .route("/containers/{handle}/processes", any(|| hijacked_only(Method::POST)))
        .route(
            "/containers/{handle}/processes/{process}",
            any(|| hijacked_only(Method::GET)),
        )
        .route(
            "/containers/{handle}/processes/{process}/attaches/{stream}/stdout",
            any(|| hijacked_only(Method::GET)),
        )
        .route(
            "/containers/{handle}/processes/{process}/attaches/{stream}/stderr",
            any(|| hijacked_only(Method::GET)),
        )
        .fallback(unknown_path)
        .with_state(supervisor)
}

/// The handler of a request that takes the socket over.
pub(super) fn hijack(supervisor: &Supervisor, head: &RequestHead) -> Option<Hijack> {
    let segments = Segments::of(&head.uri);
    let supervisor = supervisor.clone();
    match (head.method.as_str(), &segments.parts()[..]) {
        ("POST", ["containers", _, "processes"]) => Some(Box::new(move |connection| {
            Box::pin(processes::run(supervisor, segments, connection))
        })),
        ("GET", ["containers", _, "files"]) => Some(Box::new(move |connection| {
            Box::pin(files::stream_out(supervisor, segments, connection))
        })),
        ("GET", ["containers", _, "processes", _]) => Some(Box::new(move |connection| {
            Box::pin(processes::attach(supervisor, segments, connection))
        })),
        (
            "GET",
            [
                "containers",
                _,
                "processes",
                _,
                "attaches",
                _,
                name @ ("stdout" | "stderr"),
            ],
        ) => {
            let stream = if *name == "stdout" {
                Stream::Stdout
            } else {
                Stream::Stderr
            };
            Some(Box::new(move |connection| {
                Box::pin(streams::output(supervisor, segments, stream, connection))
            }))
        }
        _ => None,
    }
}

/// Another method on a path whose own method takes the socket over and never comes here.
pub(super) async fn hijacked_only(method: Method) -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, method.as_str().to_owned())]).into_response()
}

async fn unknown_path() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "no such path\n")
}
