//! The node: how it is, and what it is made of.

use axum::extract::State;

use crate::http::json::Json;
use crate::supervisor::{NodeStatus, NodeVersion, Supervisor};

pub async fn status(State(supervisor): State<Supervisor>) -> Json<NodeStatus> {
    Json(supervisor.status().await)
}

pub async fn version(State(supervisor): State<Supervisor>) -> Json<NodeVersion> {
    Json(supervisor.version().await)
}
