//! Containers as such: made, found, described, stopped, destroyed.

use axum::body::Body;
use axum::extract::State;
use http::Uri;

use super::{HANDLE, Reply, convert, wire};
use crate::container::Properties;
use crate::http::container;
use crate::http::json::{self, Json};
use crate::http::segments::{Segments, query};
use crate::supervisor::Supervisor;

/// The filter that chooses by how far a container is.
pub const STATE: &str = "garden.state";

pub async fn ping() -> Json<wire::Nothing> {
    Json(wire::Nothing {})
}

pub async fn capacity(State(supervisor): State<Supervisor>) -> Reply<wire::Capacity> {
    let capacity = supervisor.capacity().await?;
    Ok(Json(wire::Capacity {
        memory_in_bytes: capacity.memory_bytes,
        disk_in_bytes: capacity.disk_bytes,
        schedulable_disk_in_bytes: capacity.schedulable_disk_bytes,
        max_containers: capacity.max_containers,
    }))
}

pub async fn list(State(supervisor): State<Supervisor>, uri: Uri) -> Json<wire::Handles> {
    // The first of several values for one key counts.
    let mut filter = Properties::new();
    for (key, value) in query(&uri) {
        filter.entry(key).or_insert(value);
    }
    let handles = match filter.remove(STATE).as_deref() {
        // A container that is still being made is in no list.
        None | Some("all" | "created") => supervisor.list(&filter),
        Some(_) => Vec::new(),
    };
    Json(wire::Handles {
        handles: handles.into_iter().map(String::from).collect(),
    })
}

pub async fn create(State(supervisor): State<Supervisor>, body: Body) -> Reply<wire::Created> {
    let spec = convert::container_spec(json::read(body).await?)?;
    let info = supervisor.create(spec).await?;
    Ok(Json(wire::Created {
        handle: info.handle.into(),
    }))
}

pub async fn info(State(supervisor): State<Supervisor>, path: Segments) -> Reply<wire::ContainerInfo> {
    let (handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    Ok(Json(convert::container_info(supervisor.info(&handle).await?)))
}

pub async fn stop(State(supervisor): State<Supervisor>, path: Segments, body: Body) -> Reply<wire::Nothing> {
    let (handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    let stop: wire::Stop = json::read(body).await?;
    supervisor.stop(&handle, stop.kill).await?;
    Ok(Json(wire::Nothing {}))
}

pub async fn destroy(State(supervisor): State<Supervisor>, path: Segments) -> Reply<wire::Nothing> {
    let (handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    supervisor.destroy(&handle).await?;
    Ok(Json(wire::Nothing {}))
}

pub async fn set_grace_time(State(supervisor): State<Supervisor>, path: Segments, body: Body) -> Reply<wire::Nothing> {
    let (handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    let nanoseconds = convert::grace_time(json::read(body).await?)?;
    supervisor.set_grace_time(&handle, nanoseconds).await?;
    Ok(Json(wire::Nothing {}))
}
