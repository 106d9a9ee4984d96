//! The content of images at the registry: taken from there and brought there piece by piece, and checked on both ways.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::time::timeout;

use super::{Remote, question, wire};
use crate::manifest::Descriptor;
use crate::{Error, Result};

/// How long nothing may come.
const IDLE: Duration = Duration::from_secs(60);
/// How long content may take to get there, at the least, and a second for so many bytes more.
const UPLOAD: Duration = Duration::from_secs(60);
const SLOWEST: u64 = 100 << 10;

/// Pieces of content.
pub type Pieces = std::pin::Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

impl Remote {
    /// Whether the content is in this repository.
    pub async fn has(&self, repository: &str, digest: &str) -> Result<bool> {
        let asked = question(Method::HEAD, &format!("/v2/{repository}/blobs/{digest}"));
        let answer = self.ask(asked, &super::images::pulls(repository)).await?;
        match answer.status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            other => Err(self.refused(&format!("look for {digest}"), other, &answer.body)),
        }
    }

    /// The content of this digest; who reads it checks it.
    pub async fn content(&self, repository: &str, part: &Descriptor) -> Result<Pieces> {
        let digest = &part.digest;
        // It is there, and there is a token for it afterwards.
        if !self.has(repository, digest).await? {
            return Err(Error::NotFound {
                what: format!("{}/{repository}@{digest}", self.location()),
                hint: "push the image again".to_owned(),
            });
        }
        let asked = question(Method::GET, &format!("/v2/{repository}/blobs/{digest}"));
        let headers = self.authorized(&super::images::pulls(repository));
        let call = wire::send(&self.at, &self.tls, asked, empty(), &headers);
        let open = match timeout(IDLE, call).await {
            Ok(open) => open.map_err(|cause| self.unreachable(&self.at, cause))?,
            Err(_) => return Err(self.silent()),
        };
        if open.status != StatusCode::OK {
            return Err(self.odd(&format!("read {digest}"), open.status, &Bytes::new()));
        }
        Ok(Box::pin(futures_util::stream::unfold(open, piece)))
    }

    /// Bring content there, where it is not there yet. The registry checks what arrives against the digest.
    pub async fn bring(&self, repository: &str, part: &Descriptor, pieces: Pieces) -> Result<()> {
        if self.has(repository, &part.digest).await? {
            return Ok(());
        }
        let scope = super::images::pushes(repository);
        let begun = self
            .ask(
                question(Method::POST, &format!("/v2/{repository}/blobs/uploads/")),
                &scope,
            )
            .await?;
        if begun.status != StatusCode::ACCEPTED {
            return Err(self.refused("take content", begun.status, &begun.body));
        }
        let place = begun.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let place: Option<Uri> = place.and_then(|place| place.parse().ok());
        let odd = || {
            Error::failed(
                format!("use the registry {}", self.location()),
                "it says nowhere to send content to",
            )
        };
        let place = place.as_ref().and_then(Uri::path_and_query).ok_or_else(odd)?;
        let between = if place.query().is_some() { '&' } else { '?' };
        let mut asked = question(Method::PUT, &format!("{place}{between}digest={}", part.digest));
        asked.headers.insert(CONTENT_LENGTH, HeaderValue::from(part.size));
        asked
            .headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let body = StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync();
        let headers = self.authorized(&scope);
        let within = UPLOAD + Duration::from_secs(part.size / SLOWEST);
        let sent = timeout(within, async {
            let open = wire::send(&self.at, &self.tls, asked, body, &headers).await?;
            let status = open.status;
            let said = http_body_util::Limited::new(open.body, super::MAX_ANSWER)
                .collect()
                .await?;
            Ok::<_, wire::Cause>((status, said.to_bytes()))
        });
        match sent.await {
            Ok(Ok((StatusCode::CREATED, _))) => Ok(()),
            Ok(Ok((status, said))) => Err(self.refused(&format!("take {}", part.digest), status, &said)),
            Ok(Err(cause)) => Err(self.unreachable(&self.at, cause)),
            Err(_) => Err(self.silent()),
        }
    }

    fn authorized(&self, scope: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(token) = self.tokens().known(scope) {
            headers.insert(http::header::AUTHORIZATION, token);
        }
        headers
    }

    fn silent(&self) -> Error {
        self.unreachable(&self.at, "it gave no answer in time".into())
    }
}

fn empty() -> wire::Body {
    http_body_util::Empty::new().map_err(io::Error::other).boxed_unsync()
}

/// The next piece of an answer.
async fn piece(mut open: wire::Open) -> Option<(io::Result<Bytes>, wire::Open)> {
    loop {
        let frame = match timeout(IDLE, open.body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Some((Err(io::Error::other(error)), open)),
            Ok(None) => return None,
            Err(_) => return Some((Err(io::ErrorKind::TimedOut.into()), open)),
        };
        if let Ok(data) = frame.into_data() {
            return Some((Ok(data), open));
        }
    }
}
