//! The routes of Garden that this version of fence does not serve, all in one place.

use super::Error;

pub async fn stream_in() -> Error {
    Error::unsupported("copying files into a container")
}

pub async fn stream_out() -> Error {
    Error::unsupported("copying files out of a container")
}

pub async fn metrics() -> Error {
    Error::unsupported("measuring a container")
}

pub async fn bulk_info() -> Error {
    Error::unsupported("describing several containers at once")
}

pub async fn bulk_metrics() -> Error {
    Error::unsupported("measuring several containers at once")
}
