//! A node's side of the core's door: one question a connection, everything bounded, the core known by its CA and its name.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use cluster::identity::{Address, CORE_NAME, Fingerprint, Key, Pki, tls};
use cluster::nodes::{Membership, Paths};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::request::Builder;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use registry_bootstrap::RegistryAuth;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::agent::core::wire::{self, Join, Joined, MAX_ANSWER, Member, Refused};
use crate::error::{Error, Result};

/// How long a connection, and a whole question, may take.
const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(30);

/// What the core answered.
#[derive(Debug)]
pub enum Answer<T> {
    /// It was done.
    Done(Box<T>),
    /// The node has to wait.
    Waiting,
    /// It was refused, for this reason.
    Refused(String),
}

/// The core, seen from a node.
pub struct Client {
    core: Address,
    tls: Arc<ClientConfig>,
}

impl Client {
    /// The core of this node's cluster, believed by the CA whose fingerprint the node was given.
    pub fn open(paths: &Paths, membership: &Membership) -> Result<Self> {
        let path = Pki::new(paths.pki()).ca();
        let ca = std::fs::read_to_string(&path)
            .map_err(|error| Error::failed(format!("could not read {}", path.display())).because(error))?;
        let core = membership.core.parse();
        let core = core.map_err(|error: cluster::identity::Error| {
            Error::failed("the core's address in the node's file is none").because(error)
        })?;
        let known: Fingerprint = membership.ca.parse().map_err(|error: cluster::identity::Error| {
            Error::failed("the CA's fingerprint in the node's file is none").because(error)
        })?;
        Self::believing(core, &ca, &known)
    }

    /// The core at this address, believed by this CA (PEM), which must have this fingerprint.
    pub fn believing(core: Address, ca: &str, known: &Fingerprint) -> Result<Self> {
        let unusable = |error| Error::failed("the cluster's CA is not usable").because(error);
        let is = Fingerprint::of_certificate(ca).map_err(unusable)?;
        if is != *known {
            let message = format!("this is not the core that is meant: its CA is {is} and not {known}");
            return Err(Error::refused(message));
        }
        let tls = tls::client(ca).map_err(unusable)?;
        Ok(Client {
            core,
            tls: Arc::new(tls),
        })
    }

    /// The same, to whom one shows a certificate.
    pub fn showing(self, ca: &str, certificate: &str, key: &Key) -> Result<Self> {
        let tls = tls::client_as(ca, certificate, key)
            .map_err(|error| Error::failed("could not show the core a certificate").because(error))?;
        Ok(Client {
            tls: Arc::new(tls),
            ..self
        })
    }

    /// Ask for an account at the image registry. It takes a client that shows a certificate.
    pub async fn account(&self, who: &wire::AskAccount) -> Result<Answer<wire::Accounts>> {
        self.ask(wire::REGISTRY_ACCOUNT, who).await
    }

    /// Whether the door still gives tokens to this account.
    pub async fn is_account(&self, account: &RegistryAuth) -> Result<bool> {
        let words = BASE64_STANDARD.encode(format!("{}:{}", account.username, account.password));
        let unusable = |error| Error::failed("could not ask the core").because(error);
        let request = request(Method::GET, wire::REGISTRY_TOKEN).header(AUTHORIZATION, format!("Basic {words}"));
        let request = request.body(Full::default()).map_err(unusable)?;
        match exchange(&self.core, &self.tls, request).await? {
            (StatusCode::OK, _) => Ok(true),
            (StatusCode::UNAUTHORIZED, _) => Ok(false),
            (other, body) => Err(answered(other, &body)),
        }
    }

    /// The address by which this machine reaches the core.
    pub async fn local_address(&self) -> Result<IpAddr> {
        let stream = connect(&self.core).await?;
        let address = stream
            .local_addr()
            .map_err(|error| unreachable(&self.core).because(error))?;
        Ok(address.ip())
    }

    /// Ask to be let in.
    pub async fn join(&self, join: &Join) -> Result<Answer<Joined>> {
        self.ask(wire::JOIN, join).await
    }

    /// Ask to be a member of the config store.
    pub async fn member(&self, member: &Member) -> Result<Answer<wire::Membership>> {
        self.ask(wire::MEMBER, member).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        path: &'static str,
        question: &impl serde::Serialize,
    ) -> Result<Answer<T>> {
        let body =
            serde_json::to_vec(question).map_err(|error| Error::failed("could not ask the core").because(error))?;
        let request = request(Method::POST, path).body(Full::from(body));
        let request = request.map_err(|error| Error::failed("could not ask the core").because(error))?;
        let (status, body) = exchange(&self.core, &self.tls, request).await?;
        let odd = |error| Error::failed("the core's answer is not understood").because(error);
        match status {
            StatusCode::OK => Ok(Answer::Done(Box::new(serde_json::from_slice(&body).map_err(odd)?))),
            StatusCode::ACCEPTED => Ok(Answer::Waiting),
            StatusCode::FORBIDDEN | StatusCode::CONFLICT | StatusCode::BAD_REQUEST => {
                Ok(Answer::Refused(reason(&body)))
            }
            other => Err(answered(other, &body)),
        }
    }
}

/// The CA's certificate as whoever is at this address gives it: to be believed only when its fingerprint is the right one.
pub async fn fetch_ca(core: &Address) -> Result<(String, Fingerprint)> {
    let tls = tls::client_of_anyone().map_err(|error| Error::failed("could not prepare TLS").because(error))?;
    let request = request(Method::GET, wire::CA).body(Full::default());
    let request = request.map_err(|error| Error::failed("could not ask the core").because(error))?;
    let (status, body) = exchange(core, &Arc::new(tls), request).await?;
    let odd = |why: String| Error::failed(format!("what answers at {core} is no core: {why}"));
    if status != StatusCode::OK {
        return Err(odd(format!("it says {status}")));
    }
    let pem = String::from_utf8(body.to_vec()).map_err(|_| odd("its CA is no text".to_owned()))?;
    let fingerprint = Fingerprint::of_certificate(&pem).map_err(|error| odd(error.to_string()))?;
    Ok((pem, fingerprint))
}

fn request(method: Method, path: &'static str) -> Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, CORE_NAME)
        .header(CONTENT_TYPE, "application/json")
}

async fn exchange(
    core: &Address,
    tls: &Arc<ClientConfig>,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes)> {
    let asked = timeout(WHOLE, async {
        let stream = connect(core).await?;
        let failed = |error: std::io::Error| {
            let message = format!("the core at {core} did not prove to be the one of this cluster");
            match error.get_ref().is_some_and(|cause| cause.is::<rustls::Error>()) {
                true => Error::refused(message).because(error),
                false => unreachable(core).because(error),
            }
        };
        let name =
            ServerName::try_from(CORE_NAME).map_err(|error| Error::failed("could not ask the core").because(error))?;
        let connector = TlsConnector::from(Arc::clone(tls));
        let stream = connector.connect(name, stream).await.map_err(failed)?;
        let broken = |error: hyper::Error| unreachable(core).because(error);
        let (mut sender, connection): (SendRequest<Full<Bytes>>, _) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // It ends with the connection; what goes wrong on it reaches the sender as well.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| Error::failed("the core's answer is not understood").because(error))?;
        Ok((status, body.to_bytes()))
    });
    let late = || {
        Error::unreachable(format!(
            "the core at {core} gave no answer within {} s",
            WHOLE.as_secs()
        ))
    };
    asked.await.unwrap_or_else(|_| Err(late()))
}

async fn connect(core: &Address) -> Result<TcpStream> {
    let connected = timeout(CONNECT, TcpStream::connect((core.host(), core.port()))).await;
    match connected {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(unreachable(core).because(error)),
        Err(_) => Err(Error::unreachable(format!(
            "the core at {core} could not be connected to within {} s",
            CONNECT.as_secs()
        ))),
    }
}

fn unreachable(core: &Address) -> Error {
    Error::unreachable(format!("the core at {core} cannot be reached"))
}

fn answered(status: StatusCode, body: &[u8]) -> Error {
    Error::unreachable(format!("the core answered {status}: {}", reason(body)))
}

fn reason(body: &[u8]) -> String {
    match serde_json::from_slice::<Refused>(body) {
        Ok(refused) => refused.reason.chars().take(512).collect(),
        Err(_) => "it gave no reason".to_owned(),
    }
}
