//! The same files in and out as Garden has them, with our own errors.

use axum::body::Body;
use axum::extract::State;
use http::Uri;

use super::{Error, HANDLE, Reply};
use crate::http::container;
use crate::http::files::{self, Begun};
use crate::http::garden::wire;
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
    let (handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    files::stream_in(&supervisor, &handle, &uri, body).await?;
    Ok(Json(wire::Nothing {}))
}

pub async fn stream_out(supervisor: Supervisor, path: Segments, connection: Hijacked) {
    let (handle, _hold) = match container(&supervisor, path.at(HANDLE)) {
        Ok(found) => found,
        Err(error) => return Error::from(error).refuse(connection).await,
    };
    match files::begin(&supervisor, &handle, &connection.head.uri).await {
        Begun::Archive(archive, first) => files::stream_out(connection, archive, first).await,
        Begun::Refused(error) => Error::from(error).refuse(connection).await,
    }
}
