//! What containers are and use: one, or many at a time. Of many, each has an answer of its own, an error too.

use std::collections::BTreeMap;

use axum::extract::State;
use futures_util::future::join_all;
use http::Uri;

use super::{Error, HANDLE, Reply, convert, wire};
use crate::http::container;
use crate::http::json::Json;
use crate::http::segments::{Segments, query};
use crate::supervisor::Supervisor;

pub async fn metrics(State(supervisor): State<Supervisor>, path: Segments) -> Reply<wire::Metrics> {
    let (handle, _hold) = container(&supervisor, path.at(HANDLE))?;
    Ok(Json(convert::metrics(supervisor.metrics(&handle).await?)))
}

pub async fn bulk_info(State(supervisor): State<Supervisor>, uri: Uri) -> Json<BTreeMap<String, wire::InfoEntry>> {
    let mut answers = BTreeMap::new();
    for name in handles(&uri) {
        let found = match container(&supervisor, &name) {
            Ok((handle, _hold)) => supervisor.info(&handle).await,
            Err(error) => Err(error),
        };
        let answer = match found {
            Ok(info) => wire::InfoEntry {
                info: convert::container_info(info),
                err: None,
            },
            Err(error) => wire::InfoEntry {
                info: wire::ContainerInfo::default(),
                err: Some(Error::from(error).body),
            },
        };
        answers.insert(name, answer);
    }
    Json(answers)
}

pub async fn bulk_metrics(
    State(supervisor): State<Supervisor>,
    uri: Uri,
) -> Json<BTreeMap<String, wire::MetricsEntry>> {
    let measured = handles(&uri).into_iter().map(|name| measure(&supervisor, name));
    Json(join_all(measured).await.into_iter().collect())
}

async fn measure(supervisor: &Supervisor, name: String) -> (String, wire::MetricsEntry) {
    let found = match container(supervisor, &name) {
        Ok((handle, _hold)) => supervisor.metrics(&handle).await,
        Err(error) => Err(error),
    };
    let answer = match found {
        Ok(metrics) => wire::MetricsEntry {
            metrics: convert::metrics(metrics),
            err: None,
        },
        Err(error) => wire::MetricsEntry {
            metrics: wire::Metrics::default(),
            err: Some(Error::from(error).body),
        },
    };
    (name, answer)
}

/// The containers that a request names, by commas. Their number is bounded by the length of a head.
fn handles(uri: &Uri) -> Vec<String> {
    let named = query(uri).into_iter().find(|(key, _)| key == "handles");
    let named = named.map(|(_, value)| value).unwrap_or_default();
    named
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_between_commas_and_none_is_none() {
        let of = |query: &str| handles(&format!("/containers/bulk_info{query}").parse().unwrap());
        assert_eq!(of("?handles=a%2Cb,c"), ["a", "b", "c"]);
        assert!(of("?handles=").is_empty() && of("").is_empty());
    }
}
