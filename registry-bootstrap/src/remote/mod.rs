//! The registry, asked over HTTP as its clients ask it: believed by the cluster's CA, with an account where there is one.
//!
//! A connection a question, everything bounded. It knows nothing of images; what is asked is the caller's matter. The tokens
//! that the core's door gave are remembered while they are good; one who asks too much waits and asks again.

mod blobs;
mod challenge;
mod images;
mod pages;
#[cfg(test)]
mod pretend;
#[cfg(test)]
mod tests;
mod tokens;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cluster::identity::{Address, tls};
use engine::RegistryAuth;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::LengthLimitError;
use rustls::ClientConfig;
use tokio::time::{sleep, timeout};

pub use self::blobs::Pieces;
use self::challenge::Challenge;
use self::tokens::Tokens;
pub use self::wire::Answer;
use self::wire::Question;
use crate::{Error, Result};

/// How long a question may take, but for the content of an image.
const ANSWER: Duration = Duration::from_secs(30);
/// The largest answer that is no content of an image, in bytes.
const MAX_ANSWER: usize = 4 << 20;

/// A registry.
pub struct Remote {
    location: String,
    at: Address,
    tls: Arc<ClientConfig>,
    account: Option<RegistryAuth>,
    tokens: Mutex<Tokens>,
}

impl Remote {
    /// The registry at `location` (`host:port`), believed by this CA (PEM).
    pub fn new(location: &str, ca: &str, account: Option<RegistryAuth>) -> Result<Self> {
        let attempt = "ask the registry";
        Ok(Remote {
            location: location.to_owned(),
            at: location.parse().map_err(Error::identity(attempt))?,
            tls: Arc::new(tls::client(ca).map_err(Error::identity(attempt))?),
            account,
            tokens: Mutex::default(),
        })
    }

    /// Where it answers.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// It is there, and asks who one is.
    pub async fn ping(&self) -> Result<()> {
        let answer = self
            .once(&self.at, question(Method::GET, "/v2/"), &HeaderMap::new())
            .await?;
        match answer.status {
            StatusCode::UNAUTHORIZED => Ok(()),
            other => Err(self.odd("GET /v2/", other, &answer.body)),
        }
    }

    /// Where it sends who is not known, and for what: `realm` and `service`. `None` where it does not.
    pub(crate) async fn asks(&self) -> Result<Option<(String, String)>> {
        let asked = question(Method::GET, "/v2/");
        let answer = self.once(&self.at, asked, &HeaderMap::new()).await?;
        let header = answer.headers.get(WWW_AUTHENTICATE);
        let challenge = header
            .filter(|_| answer.status == StatusCode::UNAUTHORIZED)
            .and_then(Challenge::of);
        Ok(challenge.map(Challenge::into_words))
    }

    /// The account is one, and the door says so.
    pub async fn log_in(&self) -> Result<()> {
        let answer = self.ask(question(Method::GET, "/v2/"), "").await?;
        match answer.status {
            StatusCode::OK => Ok(()),
            other => Err(self.odd("GET /v2/", other, &answer.body)),
        }
    }

    /// These repositories will be read, in this order: one token is asked for many of them.
    pub fn will_read(&self, repositories: &[String]) {
        let scopes = repositories.iter().map(|repository| images::pulls(repository));
        self.tokens().expect(scopes.collect());
    }

    /// Ask, as who the account is, for what `scope` names.
    pub(crate) async fn ask(&self, asked: Question, scope: &str) -> Result<Answer> {
        let mut headers = HeaderMap::new();
        if let Some(token) = self.tokens().known(scope) {
            headers.insert(AUTHORIZATION, token);
        }
        let answer = self.once(&self.at, asked.clone(), &headers).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let Some(challenge) = answer.headers.get(WWW_AUTHENTICATE).and_then(Challenge::of) else {
            return Ok(answer);
        };
        headers.insert(AUTHORIZATION, self.token(&challenge, scope).await?);
        self.once(&self.at, asked, &headers).await
    }

    async fn token(&self, challenge: &Challenge, scope: &str) -> Result<HeaderValue> {
        let account = self.account.as_ref().ok_or_else(|| {
            let reason = format!("the registry {} wants to know who asks", self.location);
            Error::refused(reason, "kato registry login")
        })?;
        let scopes = self.tokens().to_ask(scope);
        let (at, path) = challenge.place(&scopes)?;
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, challenge::basic(account)?);
        let answer = self.once(&at, question(Method::GET, &path), &headers).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            let reason = format!("the cluster does not know the account {} any more", account.username);
            return Err(Error::refused(reason, "kato registry login"));
        }
        if answer.status != StatusCode::OK {
            return Err(self.odd("asked for a token, the core's door", answer.status, &answer.body));
        }
        let token = challenge::bearer(&answer.body)?;
        self.tokens().remember(scopes, &token);
        Ok(token)
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ask until there is another answer than that too much was asked.
    async fn once(&self, at: &Address, asked: Question, headers: &HeaderMap) -> Result<Answer> {
        let mut waited = Duration::ZERO;
        loop {
            let answer = self.exchange(at, asked.clone(), headers).await?;
            if answer.status != StatusCode::TOO_MANY_REQUESTS {
                return Ok(answer);
            }
            let Some(pause) = tokens::pause(&answer.headers, waited) else {
                return Err(Error::Unreachable {
                    what: format!("{at} is asked too much: it answered so for {} s", waited.as_secs()),
                    hint: "try again in a minute".to_owned(),
                    source: None,
                });
            };
            sleep(pause).await;
            waited += pause;
        }
    }

    async fn exchange(&self, at: &Address, asked: Question, headers: &HeaderMap) -> Result<Answer> {
        let call = wire::exchange(at, &self.tls, asked, headers, MAX_ANSWER);
        match timeout(ANSWER, call).await {
            // It answers; what it says is no use.
            Ok(Err(cause)) if cause.is::<LengthLimitError>() => Err(Error::failed(
                format!("use the registry {}", self.location),
                format!("an answer of {at} has more than {MAX_ANSWER} bytes"),
            )),
            Ok(answer) => answer.map_err(|cause| self.unreachable(at, cause)),
            Err(_) => Err(self.unreachable(at, format!("no answer within {} s", ANSWER.as_secs()).into())),
        }
    }

    fn unreachable(&self, at: &Address, cause: wire::Cause) -> Error {
        Error::Unreachable {
            what: format!("{at} does not answer as the registry {} should", self.location),
            hint: "kato registry status".to_owned(),
            source: Some(cause),
        }
    }

    pub(crate) fn odd(&self, asked: &str, status: StatusCode, body: &Bytes) -> Error {
        let said: String = String::from_utf8_lossy(body).chars().take(300).collect();
        Error::failed(
            format!("use the registry {}", self.location),
            format!("{asked} answered {status} {}", said.trim()),
        )
    }
}

/// A question without a body.
pub(crate) fn question(method: Method, path: &str) -> Question {
    Question {
        method,
        path: path.to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
    }
}
