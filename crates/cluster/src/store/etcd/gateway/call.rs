//! One question of a guest's: counted, read within bounds, checked, passed on to etcd; and the answer back as it is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http::{Method, Request, Response, Version};
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::time::{sleep, timeout};

use super::check::Call;
use super::frame::{Frames, HEAD, single};
use super::rights::Rights;
use super::status::{Body, Refusal};
use super::visit::Visit;

/// How long a message may take to arrive, once it is waited for or has begun.
const ARRIVAL: Duration = Duration::from_secs(10);
/// How long an answer that is no stream may take, until the guest has read all of it.
const ANSWER: Duration = Duration::from_secs(60);
/// The largest message, in bytes: etcd's own limit, and what encoding adds.
const MAX_MESSAGE: usize = 2 * 1024 * 1024 + 64 * 1024;
/// The same of one who may not do everything: many times what a node says of itself.
const MAX_LIMITED: usize = 40 * 1024;
/// What asks for a watch, or keeps a lease alive.
const MAX_OF_STREAM: usize = 4 * 1024;

/// Answer one question.
pub async fn answer(visit: &Arc<Visit>, request: Request<Incoming>) -> Response<Body> {
    match ask(visit, request).await {
        Ok(response) => {
            visit.answered();
            response
        }
        Err(refusal) => {
            visit.refused(refusal);
            refusal.response()
        }
    }
}

async fn ask(visit: &Arc<Visit>, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    visit.has_asked.store(true, Ordering::Relaxed);
    // Counted until the answer ends, which may be long after the question did.
    let counted = visit.count()?;
    let (head, body) = request.into_parts();
    if head.method != Method::POST {
        return Err(Refusal::Malformed);
    }
    let (path, call) = (head.uri.path(), Call::of(head.uri.path()));
    let body = match (&visit.guest.rights, call) {
        (Rights::Root, _) => body.map_err(Into::into).boxed_unsync(),
        (Rights::Granted(_), None) => return Err(Refusal::Denied),
        (Rights::Granted(_), Some(call)) if call.is_stream() => streamed(visit, call, body).await?,
        (Rights::Granted(_), Some(call)) => {
            let checked = visit.check(call, &whole(visit, body).await?)?;
            Full::new(checked).map_err(|never| match never {}).boxed_unsync()
        }
    };
    let late = (!call.is_some_and(Call::is_stream) && visit.guest.rights != Rights::Root).then(|| Late::watch(visit));
    let response = visit
        .upstream
        .ask(passed_on(visit, path, call, &head.headers, body))
        .await?;
    Ok(response.map(|body| {
        let kept = body.map_frame(move |frame| {
            let _ = (&counted, &late);
            frame
        });
        kept.map_err(Into::into).boxed_unsync()
    }))
}

/// Ends the visit of a guest who does not read an answer, unless it was read before.
struct Late(tokio::task::JoinHandle<()>);

impl Late {
    fn watch(visit: &Arc<Visit>) -> Self {
        let visit = Arc::clone(visit);
        Late(tokio::spawn(async move {
            sleep(ANSWER).await;
            visit.end.notify_one();
        }))
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The question as etcd gets it, whatever else the guest said.
fn passed_on(visit: &Visit, path: &str, call: Option<Call>, said: &HeaderMap, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = Method::POST;
    // A path that was read can be written.
    *request.uri_mut() = format!("http://etcd{path}").parse().unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if let Some(value) = said.get("grpc-timeout").filter(|value| is_timeout(value)) {
        headers.insert("grpc-timeout", value.clone());
    }
    // A member that lost the others has what was true then. How it is, and who the members are, it tells all the same.
    let may_be_alone = matches!(call, Some(Call::Status | Call::Members)) || visit.guest.rights == Rights::Root;
    if !may_be_alone || said.contains_key("hasleader") {
        headers.insert("hasleader", HeaderValue::from_static("true"));
    }
    request
}

/// Digits and a unit, as gRPC has it.
fn is_timeout(value: &HeaderValue) -> bool {
    match value.as_bytes().split_last() {
        Some((unit, digits)) => {
            b"HMSmun".contains(unit) && (1..=8).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
        }
        None => false,
    }
}

fn most(visit: &Visit) -> usize {
    match visit.guest.is_limited() {
        true => MAX_LIMITED,
        false => MAX_MESSAGE,
    }
}

async fn whole(visit: &Visit, body: Incoming) -> Result<Bytes, Refusal> {
    let most = most(visit);
    let read = timeout(ARRIVAL, Limited::new(body, most + HEAD).collect()).await;
    let body = read.map_err(|_| Refusal::TooSlow)?.map_err(|_| Refusal::TooLarge)?;
    Ok(single(&body.to_bytes(), most)?)
}

impl Visit {
    fn check(&self, call: Call, message: &[u8]) -> Result<Bytes, Refusal> {
        self.charge(call.cost(message.len()), Instant::now())?;
        Ok(call.check(&self.guest, message, random())?)
    }
}

/// Bits that tell a lease of a guest's from its others.
fn random() -> u16 {
    let bytes = uuid::Uuid::new_v4().into_bytes();
    u16::from_be_bytes([bytes[0], bytes[1]])
}

/// Messages that come one after the other, each checked. The first is awaited, so that what is not allowed is answered.
async fn streamed(visit: &Arc<Visit>, call: Call, body: Incoming) -> Result<Body, Refusal> {
    let mut messages = Messages {
        visit: Arc::clone(visit),
        call,
        body,
        frames: Frames::new(MAX_OF_STREAM),
        taken: 0,
    };
    let first = timeout(ARRIVAL, messages.next())
        .await
        .map_err(|_| Refusal::TooSlow)??;
    Ok(BodyExt::boxed_unsync(StreamBody::new(messages.stream(first))))
}

struct Messages {
    visit: Arc<Visit>,
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
                // Each may be one more watch, and a client of ours has one a stream; a lease is kept alive by any number.
                if self.call == Call::Watch && self.visit.guest.is_limited() && self.taken > 1 {
                    return Err(Refusal::TooMany);
                }
                return self.visit.check(self.call, &message).map(Some);
            }
            match self.piece().await? {
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

    /// What arrives next: at any time between two messages, and soon in the middle of one.
    async fn piece(&mut self) -> Result<Option<Result<Frame<Bytes>, hyper::Error>>, Refusal> {
        match self.frames.is_empty() {
            true => Ok(self.body.frame().await),
            false => timeout(ARRIVAL, self.body.frame()).await.map_err(|_| Refusal::TooSlow),
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
                Err(refusal) => {
                    messages.visit.refused(refusal);
                    Some((Err(format!("{refusal:?}").into()), None))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_limit_is_digits_and_a_unit() {
        let is = |text: &'static str| is_timeout(&HeaderValue::from_static(text));
        assert!(is("1S") && is("12345678n"));
        assert!(!is("") && !is("S") && !is("123456789n") && !is("1s") && !is("-1S") && !is("1 S"));
    }
}
