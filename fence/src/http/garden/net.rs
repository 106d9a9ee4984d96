//! Ports into a container, and the rules for what it may reach.

use axum::body::Body;
use axum::extract::State;

use super::{HANDLE, Reply, convert, wire};
use crate::http::container;
use crate::http::json::{self, Json};
use crate::http::segments::Segments;
use crate::supervisor::Supervisor;

pub async fn net_in(State(supervisor): State<Supervisor>, path: Segments, body: Body) -> Reply<wire::NetInDone> {
    let (handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    let wanted = convert::port_mapping(&json::read(body).await?)?;
    let port = supervisor.net_in(&handle, wanted).await?;
    Ok(Json(wire::NetInDone {
        host_port: port.host_port.into(),
        container_port: port.container_port.into(),
    }))
}

/// Rules are exceptions to denied networks. This version denies none, so there is nothing to do, and Garden's own
/// server succeeds in that case.
pub async fn net_out(State(supervisor): State<Supervisor>, path: Segments, body: Body) -> Reply<wire::Nothing> {
    let (_handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    let _rule: wire::NetOutRule = json::read(body).await?;
    Ok(Json(wire::Nothing {}))
}

/// As [`net_out`], for several rules.
pub async fn bulk_net_out(State(supervisor): State<Supervisor>, path: Segments, body: Body) -> Reply<wire::Nothing> {
    let (_handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    let _rules: Vec<wire::NetOutRule> = json::read_list(body).await?;
    Ok(Json(wire::Nothing {}))
}
