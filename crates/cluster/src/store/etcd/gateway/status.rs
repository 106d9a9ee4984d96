//! Answers of the gateway's own: gRPC's way to say no, a status without a message.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};

use super::check::Denied;
use super::frame::Malformed;

/// Any body that goes either way.
pub type Body = UnsyncBoxBody<bytes::Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Why something is not passed on, or has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This guest may not.
    Denied,
    /// There is no such lease, or it is somebody else's.
    NoLease,
    /// It is none of etcd's questions, or not one that is understood.
    Malformed,
    /// It is larger than etcd takes.
    TooLarge,
    /// This guest asks too often.
    TooMany,
    /// It took too long to arrive.
    TooSlow,
    /// etcd does not answer here; nothing was sent.
    NoMember,
    /// etcd was asked, and went away.
    Broken,
}

impl Refusal {
    /// gRPC's code, and words that the store's client knows: some are etcd's own.
    fn said(self) -> (u8, &'static str) {
        match self {
            Refusal::Denied => (7, "etcdserver: permission denied"),
            Refusal::NoLease => (5, "etcdserver: requested lease not found"),
            Refusal::Malformed => (3, "the question is not understood"),
            Refusal::TooLarge => (3, "etcdserver: request is too large"),
            Refusal::TooMany => (8, "etcdserver: too many requests"),
            Refusal::TooSlow => (4, "the question took too long"),
            Refusal::NoMember => (14, super::NO_MEMBER),
            Refusal::Broken => (14, "the member of the config store broke off"),
        }
    }

    /// As an answer.
    pub fn response(self) -> Response<Body> {
        let (code, message) = self.said();
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::OK;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(u16::from(code)));
        headers.insert("grpc-message", HeaderValue::from_static(message));
        response
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Rights => Refusal::Denied,
            Denied::Lease => Refusal::NoLease,
            Denied::Malformed => Refusal::Malformed,
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::TooLong => Refusal::TooLarge,
            Malformed::Compressed | Malformed::Length => Refusal::Malformed,
        }
    }
}
