//! One question of a guest's: read within bounds, checked, passed on to etcd; and the answer back as it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http::{Method, Request, Response, Version};
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::time::timeout;

use super::check::Call;
use super::frame::{Frames, MAX_MESSAGE, single};
use super::guests::Guest;
use super::rights::Rights;
use super::status::{Body, Refusal};
use super::{MAX_LIMITED, MAX_WATCHES, Shared, locked};

/// How long a question, or the first message of a stream, may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);
/// What of a guest's headers reaches etcd: how long it waits, and whether a member without a leader is to answer.
const PASSED: [&str; 2] = ["grpc-timeout", "hasleader"];
/// The longest such header, in bytes.
const MAX_HEADER: usize = 32;

/// Answer one question.
pub async fn answer(shared: &Arc<Shared>, guest: &Arc<Guest>, request: Request<Incoming>) -> Response<Body> {
    match ask(shared, guest, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.response(),
    }
}

async fn ask(shared: &Arc<Shared>, guest: &Arc<Guest>, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let (head, body) = request.into_parts();
    if head.method != Method::POST {
        return Err(Refusal::Malformed);
    }
    let path = head.uri.path();
    // Counted until the answer ends, which may be long after the question did.
    let mut entered = None;
    let body = match (&guest.rights, Call::of(path)) {
        (Rights::Root, _) => body.map_err(Into::into).boxed_unsync(),
        (Rights::Granted(_), None) => return Err(Refusal::Denied),
        (Rights::Granted(_), Some(call)) if call.is_stream() => {
            entered = Some(shared.streams.enter(guest.name.clone()).ok_or(Refusal::TooMany)?);
            streamed(shared, guest, call, body).await?
        }
        (Rights::Granted(_), Some(call)) => {
            let message = whole(body).await?;
            let checked = checked(shared, guest, call, &message)?;
            Full::new(checked).map_err(|never| match never {}).boxed_unsync()
        }
    };
    let response = shared.upstream.ask(passed_on(path, &head.headers, body)).await?;
    Ok(response.map(|body| {
        let counted = body.map_frame(move |frame| {
            let _ = &entered;
            frame
        });
        counted.map_err(Into::into).boxed_unsync()
    }))
}

/// The question as etcd gets it, whatever else the guest said.
fn passed_on(path: &str, said: &HeaderMap, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = Method::POST;
    // A path that was read can be written.
    *request.uri_mut() = format!("http://etcd{path}").parse().unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    for name in PASSED {
        if let Some(value) = said.get(name).filter(|value| value.len() <= MAX_HEADER) {
            headers.insert(name, value.clone());
        }
    }
    request
}

async fn whole(body: Incoming) -> Result<Bytes, Refusal> {
    let read = timeout(ARRIVAL, Limited::new(body, MAX_MESSAGE).collect()).await;
    let body = read.map_err(|_| Refusal::TooSlow)?.map_err(|_| Refusal::TooLarge)?;
    Ok(single(&body.to_bytes())?)
}

fn checked(shared: &Shared, guest: &Guest, call: Call, message: &[u8]) -> Result<Bytes, Refusal> {
    if !guest.rights.cover_everything() {
        if message.len() > MAX_LIMITED {
            return Err(Refusal::TooLarge);
        }
        // At most MAX_LIMITED / 1024 more than one.
        let cost = u32::try_from(1 + message.len() / 1024).unwrap_or(u32::MAX);
        if !locked(&shared.rates).may_ask_for(guest.name.clone(), cost, Instant::now()) {
            return Err(Refusal::TooMany);
        }
    }
    Ok(call.check(guest, message, random())?)
}

/// Bits that tell a lease of a guest's from its others.
fn random() -> u16 {
    let bytes = uuid::Uuid::new_v4().into_bytes();
    u16::from_be_bytes([bytes[0], bytes[1]])
}

/// Messages that come one after the other, each checked. The first is awaited, so that what is not allowed is answered.
async fn streamed(shared: &Arc<Shared>, guest: &Arc<Guest>, call: Call, body: Incoming) -> Result<Body, Refusal> {
    let mut messages = Messages {
        shared: Arc::clone(shared),
        guest: Arc::clone(guest),
        call,
        body,
        frames: Frames::default(),
        taken: 0,
    };
    let first = timeout(ARRIVAL, messages.next())
        .await
        .map_err(|_| Refusal::TooSlow)??;
    Ok(BodyExt::boxed_unsync(StreamBody::new(messages.stream(first))))
}

struct Messages {
    shared: Arc<Shared>,
    guest: Arc<Guest>,
    call: Call,
    body: Incoming,
    frames: Frames,
    /// How many messages were passed on.
    taken: usize,
}

type Piece = Result<Frame<Bytes>, Box<dyn std::error::Error + Send + Sync>>;

impl Messages {
    /// The next message as it is passed on; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            if let Some(message) = self.frames.next()? {
                self.taken += 1;
                // Each may be one more watch; a lease is kept alive by any number.
                if self.call == Call::Watch && self.taken > MAX_WATCHES {
                    return Err(Refusal::TooMany);
                }
                return checked(&self.shared, &self.guest, self.call, &message).map(Some);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(piece) = frame.data_ref() {
                        self.frames.push(piece);
                    }
                }
                Some(Err(_)) => return Err(Refusal::Broken),
                None if self.frames.is_empty() => return Ok(None),
                None => return Err(Refusal::Malformed),
            }
        }
    }

    /// What etcd gets: until the guest ends it, or says what it may not, which breaks it off.
    fn stream(self, first: Option<Bytes>) -> impl Stream<Item = Piece> + Send {
        let begun = first.map(|first| (Some(first), self));
        stream::unfold(begun, |state| async move {
            let (first, mut messages) = state?;
            let next = match first {
                Some(first) => Ok(Some(first)),
                None => messages.next().await,
            };
            match next {
                Ok(Some(message)) => Some((Ok(Frame::data(message)), Some((None, messages)))),
                Ok(None) => None,
                Err(refusal) => Some((Err(format!("{refusal:?}").into()), None)),
            }
        })
    }
}
