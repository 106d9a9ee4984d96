//! What the core answers at its door: who may come in gets a certificate, who may not learns that and nothing else.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cluster::config::{Config, KeyPath, Name};
use cluster::identity::{self, Ca, Request, Subject};
use cluster::nodes::{Record, Role, registry};
use cluster::pairing::{Answer, Error, MAX_ADDRESSES, Pairing};
use cluster::store::Store;
use http::{Method, StatusCode};
use registry_bootstrap::settings::Places;
use serde::de::DeserializeOwned;
use tracing::{info, warn};
use uuid::Uuid;

use super::door::{self, Question, Reply};
use super::wire::{self, Join, Joined, Member, Membership, Waiting};
use crate::error::{Result, chain};

/// What the config store has to do for a node. The real one is etcd's administration.
#[async_trait]
pub trait Admission: Send + Sync + 'static {
    /// Make the node a member, reached by the others at `peer_url`; all members as `name=url`, separated by commas.
    async fn add_member(&self, id: Uuid, peer_url: &str) -> Result<String>;

    /// Where the store answers.
    async fn endpoints(&self) -> Result<Vec<String>>;
}

/// Who answers.
pub struct CoreDesk {
    /// Signs for nodes and for the members of the store towards clients.
    pub ca: Ca,
    /// Signs for the members of the store towards each other.
    pub peer_ca: Ca,
    /// The tree, with all rights.
    pub store: Arc<dyn Store>,
    /// The core's own name, from which the tree is seen.
    pub name: Name,
    /// What the store has to do.
    pub admission: Arc<dyn Admission>,
    /// The registry's files, by which its accounts and tokens are made.
    pub registry: Places,
    /// Who was given an account at it since this agent began, for the log.
    pub given: Mutex<BTreeSet<String>>,
}

/// Why a question is not answered as hoped.
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

pub(super) type Answered = std::result::Result<Reply, Refusal>;

#[async_trait]
impl door::Desk for CoreDesk {
    async fn answer(&self, question: &Question<'_>) -> Reply {
        let body = question.body;
        let answered = match (question.method, question.path) {
            (&Method::GET, wire::CA) => Ok(Reply {
                status: StatusCode::OK,
                kind: "application/x-pem-file",
                body: self.ca.pem().as_bytes().to_vec(),
            }),
            (&Method::POST, wire::JOIN) => self.join(body).await,
            (&Method::POST, wire::MEMBER) => self.member(body).await,
            (&Method::POST, wire::REGISTRY_ACCOUNT) => self.registry_account(question).await,
            (&Method::GET, wire::REGISTRY_TOKEN) => self.registry_token(question).await,
            (_, wire::CA | wire::JOIN | wire::MEMBER | wire::REGISTRY_ACCOUNT | wire::REGISTRY_TOKEN) => Err(Refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "this is asked otherwise".to_owned(),
            )),
            _ => Err(Refusal(StatusCode::NOT_FOUND, "there is nothing here".to_owned())),
        };
        answered.unwrap_or_else(|Refusal(status, reason)| Reply::refused(status, reason))
    }
}

impl CoreDesk {
    async fn join(&self, body: &[u8]) -> Answered {
        let question: Join = read(body)?;
        let request = Request::from_pem(&question.csr).map_err(bad)?;
        let key = request.fingerprint();
        let pairing = Pairing::new(Arc::clone(&self.store));
        let asked = pairing.ask(&key, &question.asks, question.token.as_ref()).await;
        match asked.map_err(refusal)? {
            Answer::Pending => {
                let fingerprint = key.to_string();
                Ok(Reply::json(StatusCode::ACCEPTED, &Waiting { fingerprint }))
            }
            Answer::Paired(record) => self.joined(*record, &request).await,
        }
    }

    async fn joined(&self, record: Record, request: &Request) -> Answered {
        let subject = Subject::Node { id: record.id };
        let lifetime = lifetime(&self.store, &self.name).await;
        let certificate = self.ca.sign(request, &subject, lifetime).map_err(failed)?;
        let endpoints = self.admission.endpoints().await.map_err(unavailable)?;
        info!(node = %record.name, id = %record.id, "gave a node its certificate");
        let joined = Joined {
            certificate,
            name: record.name,
            id: record.id,
            realm: record.realm,
            roles: record.roles,
            endpoints,
        };
        Ok(Reply::json(StatusCode::OK, &joined))
    }

    async fn member(&self, body: &[u8]) -> Answered {
        let question: Member = read(body)?;
        let request = Request::from_pem(&question.csr).map_err(bad)?;
        if question.addresses.is_empty() || question.addresses.len() > MAX_ADDRESSES {
            return Err(Refusal(
                StatusCode::BAD_REQUEST,
                format!("1 to {MAX_ADDRESSES} addresses are needed"),
            ));
        }
        let nodes = registry::Nodes::new(Arc::clone(&self.store));
        let record = nodes.get(question.id).await.map_err(|error| refusal(error.into()))?;
        let record = record.filter(|record| record.fingerprint == request.fingerprint().as_str());
        let Some(record) = record else {
            return Err(Refusal(StatusCode::FORBIDDEN, "this node is not paired".to_owned()));
        };
        if !record
            .roles
            .iter()
            .any(|role| matches!(role, Role::Config | Role::Core))
        {
            let reason = "this node does not have the role config".to_owned();
            return Err(Refusal(StatusCode::FORBIDDEN, reason));
        }
        let initial_cluster = match question.renews {
            true => String::new(),
            false => {
                let url = url(question.addresses[0], question.peer_port);
                let added = self.admission.add_member(record.id, &url).await;
                added.map_err(unavailable)?
            }
        };
        let lifetime = lifetime(&self.store, &self.name).await;
        let certificates = member_certificates(&self.ca, &self.peer_ca, &request, &question.addresses, lifetime);
        let (server_certificate, peer_certificate) = certificates.map_err(failed)?;
        info!(node = %record.name, "gave a member of the config store its certificates");
        let membership = Membership {
            server_certificate,
            peer_certificate,
            peer_ca: self.peer_ca.pem().to_owned(),
            initial_cluster,
            cluster_token: cluster_token(&self.ca),
        };
        Ok(Reply::json(StatusCode::OK, &membership))
    }
}

/// The two certificates of a member of the config store: towards clients, towards the others.
pub fn member_certificates(
    ca: &Ca,
    peer_ca: &Ca,
    request: &Request,
    addresses: &[IpAddr],
    lifetime: Duration,
) -> identity::Result<(String, String)> {
    let mut addresses = addresses.to_vec();
    // A member on the same machine, and its own health check, come from here.
    addresses.extend([IpAddr::from([127, 0, 0, 1]), std::net::Ipv6Addr::LOCALHOST.into()]);
    addresses.sort_unstable();
    addresses.dedup();
    let server = Subject::Config {
        addresses: addresses.clone(),
    };
    let peer = Subject::ConfigPeer { addresses };
    Ok((
        ca.sign(request, &server, lifetime)?,
        peer_ca.sign(request, &peer, lifetime)?,
    ))
}

/// What tells this cluster's members from another's.
pub fn cluster_token(ca: &Ca) -> String {
    format!("fence-{}", ca.fingerprint().short())
}

/// `https://ADDRESS:PORT`.
pub fn url(address: IpAddr, port: u16) -> String {
    format!("https://{}", std::net::SocketAddr::new(address, port))
}

/// How long certificates of nodes are good, as it is configured; where that cannot be read, as it is by default.
pub async fn lifetime(store: &Arc<dyn Store>, name: &Name) -> Duration {
    let config = Config::new(Arc::clone(store), name.clone());
    let seconds = match config.effective().await {
        Ok(tree) => KeyPath::parse("cluster/certificates/lifetime")
            .ok()
            .and_then(|key| tree.leaf(&key)?.as_u64()),
        Err(error) => {
            warn!(error = %chain(&error), "the configured lifetime of certificates cannot be read");
            None
        }
    };
    Duration::from_secs(seconds.unwrap_or(cluster::config::schema::cluster::DEFAULT_LIFETIME))
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> std::result::Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        // Where it went wrong, and nothing of what was there: it may be a secret.
        let reason = format!(
            "the question is not understood (line {}, column {})",
            error.line(),
            error.column()
        );
        Refusal(StatusCode::BAD_REQUEST, reason)
    })
}

fn bad(error: identity::Error) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, chain(&error))
}

pub(super) fn failed(error: identity::Error) -> Refusal {
    warn!(error = %chain(&error), "could not sign a certificate");
    Refusal(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the core could not sign the certificate".to_owned(),
    )
}

pub(super) fn unavailable(error: crate::error::Error) -> Refusal {
    warn!(error = %chain(&error), "the config store did not do what a node needs");
    Refusal(
        StatusCode::SERVICE_UNAVAILABLE,
        "the config store cannot be used just now".to_owned(),
    )
}

/// The one place where pairing's errors become an answer.
pub(super) fn refusal(error: Error) -> Refusal {
    let status = match &error {
        Error::Removed | Error::OtherKey | Error::NoToken => StatusCode::FORBIDDEN,
        Error::Asks { .. } | Error::Identity(_) => StatusCode::BAD_REQUEST,
        Error::PairedAlready { .. }
        | Error::Registry(
            registry::Error::NameTaken { .. }
            | registry::Error::IdTaken { .. }
            | registry::Error::NoRealm { .. }
            | registry::Error::RealmTaken { .. }
            | registry::Error::RealmInUse { .. }
            | registry::Error::RealmNeeded { .. }
            | registry::Error::Refused { .. }
            | registry::Error::NoNode { .. }
            | registry::Error::Ambiguous { .. },
        ) => StatusCode::CONFLICT,
        Error::Full { .. } => StatusCode::TOO_MANY_REQUESTS,
        Error::Registry(
            registry::Error::Contended { .. } | registry::Error::Corrupt { .. } | registry::Error::Store { .. },
        ) => {
            warn!(error = %chain(&error), "a node could not be answered");
            let reason = "the config store cannot be used just now".to_owned();
            return Refusal(StatusCode::SERVICE_UNAVAILABLE, reason);
        }
        // Nothing a node asks for.
        Error::UnknownToken { .. }
        | Error::AdministratorTaken { .. }
        | Error::NoAdministrator { .. }
        | Error::LastAdministrator { .. }
        | Error::NotPending { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Refusal(status, chain(&error))
}
