//! A container's limits, read back.

use axum::extract::State;

use super::{HANDLE, Reply, wire};
use crate::container::Limits;
use crate::http::container;
use crate::http::json::Json;
use crate::http::segments::Segments;
use crate::supervisor::{self, Supervisor};

pub async fn memory(State(supervisor): State<Supervisor>, path: Segments) -> Reply<wire::MemoryLimit> {
    let limits = limits_of(&supervisor, &path).await?;
    Ok(Json(wire::MemoryLimit {
        limit_in_bytes: limits.memory_bytes,
    }))
}

/// In shares, also where a weight was asked for.
pub async fn cpu(State(supervisor): State<Supervisor>, path: Segments) -> Reply<wire::CpuLimit> {
    let limits = limits_of(&supervisor, &path).await?;
    Ok(Json(wire::CpuLimit {
        limit_in_shares: limits.cpu_shares,
    }))
}

/// Disk and bandwidth: empty, as Garden's own server answers.
pub async fn none(State(supervisor): State<Supervisor>, path: Segments) -> Reply<wire::Nothing> {
    container(&supervisor, path.at(HANDLE))?;
    Ok(Json(wire::Nothing {}))
}

async fn limits_of(supervisor: &Supervisor, path: &Segments) -> supervisor::Result<Limits> {
    let (handle, _hold) = container(supervisor, path.at(HANDLE))?;
    Ok(supervisor.info(&handle).await?.limits)
}
