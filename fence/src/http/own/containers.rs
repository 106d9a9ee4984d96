//! Containers with all that fence knows of them, and the start of their image's command.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::{Error, HANDLE, Reply, wire};
use crate::container::ContainerInfo;
use crate::http::container;
use crate::http::garden::{container_spec, wire as garden};
use crate::http::json::{self, Json};
use crate::http::segments::Segments;
use crate::supervisor::{Metrics, Supervisor, TopProcess};

pub async fn list(State(supervisor): State<Supervisor>) -> Json<Vec<ContainerInfo>> {
    Json(supervisor.infos().await)
}

pub async fn create(State(supervisor): State<Supervisor>, body: Body) -> Result<Response, Error> {
    let wire::Create { spec, start, command } = json::read(body).await?;
    let mut spec = container_spec(spec)?;
    spec.start = start;
    spec.command = command;
    let info = supervisor.create(spec).await?;
    Ok(json::with_status(StatusCode::CREATED, &info))
}

pub async fn info(State(supervisor): State<Supervisor>, path: Segments) -> Reply<ContainerInfo> {
    let (handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    Ok(Json(supervisor.info(&handle).await?))
}

pub async fn metrics(State(supervisor): State<Supervisor>, path: Segments) -> Reply<Metrics> {
    let (handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    Ok(Json(supervisor.metrics(&handle).await?))
}

pub async fn start(State(supervisor): State<Supervisor>, path: Segments, body: Body) -> Reply<ContainerInfo> {
    let (handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    let start: wire::Start = json::read_if_any(body).await?;
    Ok(Json(supervisor.start(&handle, start.command).await?))
}

pub async fn stop(State(supervisor): State<Supervisor>, path: Segments, body: Body) -> Reply<ContainerInfo> {
    let (handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    let stop: garden::Stop = json::read_if_any(body).await?;
    supervisor.stop(&handle, stop.kill).await?;
    Ok(Json(supervisor.info(&handle).await?))
}

pub async fn pause(State(supervisor): State<Supervisor>, path: Segments) -> Reply<ContainerInfo> {
    let (handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    Ok(Json(supervisor.pause(&handle).await?))
}

pub async fn resume(State(supervisor): State<Supervisor>, path: Segments) -> Reply<ContainerInfo> {
    let (handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    Ok(Json(supervisor.resume(&handle).await?))
}

pub async fn top(State(supervisor): State<Supervisor>, path: Segments) -> Reply<Vec<TopProcess>> {
    let (handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    Ok(Json(supervisor.top(&handle).await?))
}

pub async fn destroy(State(supervisor): State<Supervisor>, path: Segments) -> Reply<garden::Nothing> {
    let (handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    supervisor.destroy(&handle).await?;
    Ok(Json(garden::Nothing {}))
}
