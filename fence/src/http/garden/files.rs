//! Files in and out, as tar streams. Files out take the socket over: an archive that breaks off must be seen to.

use axum::body::Body;
use axum::extract::State;
use http::Uri;

use super::{Error, HANDLE, Reply, wire};
use crate::http::files::{self, Archive};
use crate::http::hijack::Hijacked;
use crate::http::json::Json;
use crate::http::segments::Segments;
use crate::supervisor::Supervisor;

pub async fn stream_in(
    State(supervisor): State<Supervisor>,
    path: Segments,
    uri: Uri,
    body: Body,
) -> Reply<wire::Nothing> {
    files::stream_in(&supervisor, path.at(HANDLE), &uri, body).await?;
    Ok(Json(wire::Nothing {}))
}

pub async fn stream_out(supervisor: Supervisor, path: Segments, connection: Hijacked) {
    match Archive::begin(&supervisor, path.at(HANDLE), &connection.head.uri).await {
        Ok(archive) => archive.send(connection).await,
        Err(error) => Error::from(error).refuse(connection).await,
    }
}
