//! The properties clients keep with a container. Those that Garden's own server adds can be read like the others.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::State;

use super::{HANDLE, KEY, Reply, convert, wire};
use crate::http::container;
use crate::http::json::{self, Json};
use crate::http::segments::Segments;
use crate::supervisor::{self, Supervisor};

pub async fn all(State(supervisor): State<Supervisor>, path: Segments) -> Reply<BTreeMap<String, String>> {
    let (handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    Ok(Json(convert::properties(&supervisor.info(&handle).await?)))
}

pub async fn one(State(supervisor): State<Supervisor>, path: Segments) -> Reply<wire::Property> {
    let (handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    let key = path.at(KEY);
    let value = match supervisor.property(&handle, key) {
        Err(supervisor::Error::PropertyNotFound { handle, key }) => {
            let mut all = convert::properties(&supervisor.info(&handle).await?);
            all.remove(&key)
                .ok_or(supervisor::Error::PropertyNotFound { handle, key })?
        }
        other => other?,
    };
    Ok(Json(wire::Property { value }))
}

pub async fn set(State(supervisor): State<Supervisor>, path: Segments, body: Body) -> Reply<wire::Nothing> {
    let (handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    let property: wire::Property = json::read(body).await?;
    supervisor.set_property(&handle, path.at(KEY), property.value).await?;
    Ok(Json(wire::Nothing {}))
}

pub async fn remove(State(supervisor): State<Supervisor>, path: Segments) -> Reply<wire::Nothing> {
    let (handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    supervisor.remove_property(&handle, path.at(KEY)).await?;
    Ok(Json(wire::Nothing {}))
}
