//! What nodes and the core's door say to each other: JSON over HTTP/1.1 over TLS.
//!
//! Unknown members are passed over, so that a node and a core of neighbouring versions understand each other.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cluster::config::Name;
use cluster::config::schema::registry::Account;
use cluster::identity::Secret;
use cluster::nodes::Role;
use cluster::pairing::Asks;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The largest question, in bytes.
pub const MAX_QUESTION: usize = 32 * 1024;
/// The largest answer, in bytes.
pub const MAX_ANSWER: usize = 128 * 1024;
/// Where the CA's certificate is asked for.
pub const CA: &str = "/v1/ca";
/// Where a node asks to be let in, and for its certificate anew.
pub const JOIN: &str = "/v1/join";
/// Where a node of the config store asks to be a member of it.
pub const MEMBER: &str = "/v1/member";

/// Where a node or an administrator, with the certificate, asks for the account at the image registry.
pub const REGISTRY_ACCOUNT: &str = "/v1/registry/account";
/// Where an account of the image registry gets its tokens, as Docker asks for them.
pub const REGISTRY_TOKEN: &str = registry_bootstrap::settings::TOKEN_PATH;

/// A node asks to be let in, or for a new certificate.
#[derive(Debug, Serialize, Deserialize)]
pub struct Join {
    /// A request for a certificate, in PEM: it proves that the node has its key.
    pub csr: String,
    /// What the node says of itself.
    #[serde(flatten)]
    pub asks: Asks,
    /// What lets it in without an administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
}

/// The node is in (200).
#[derive(Debug, Serialize, Deserialize)]
pub struct Joined {
    /// Its certificate, in PEM.
    pub certificate: String,
    /// How it is called.
    pub name: Name,
    /// Its id.
    pub id: Uuid,
    /// The realm it belongs to.
    pub realm: Name,
    /// What it is to do.
    pub roles: Vec<Role>,
    /// Where the config store answers.
    pub endpoints: Vec<String>,
}

/// The node has to wait (202).
#[derive(Debug, Serialize, Deserialize)]
pub struct Waiting {
    /// By which it is paired.
    pub fingerprint: String,
}

/// It is refused (400, 403, 409, 429, 503).
#[derive(Debug, Serialize, Deserialize)]
pub struct Refused {
    /// Why.
    pub reason: String,
}

/// A node of the config store asks to be a member.
#[derive(Debug, Serialize, Deserialize)]
pub struct Member {
    /// A request for certificates, in PEM.
    pub csr: String,
    /// Its id.
    pub id: Uuid,
    /// Where it can be reached, the most useful first.
    pub addresses: Vec<IpAddr>,
    /// Where it will answer clients.
    pub client_port: u16,
    /// Where it will answer the other members.
    pub peer_port: u16,
    /// It is one already and asks for certificates alone.
    #[serde(default)]
    pub renews: bool,
}

/// It is one (200).
#[derive(Debug, Serialize, Deserialize)]
pub struct Membership {
    /// What it shows clients, in PEM.
    pub server_certificate: String,
    /// What it shows the other members, in PEM.
    pub peer_certificate: String,
    /// Who signs the other members' certificates, in PEM.
    pub peer_ca: String,
    /// All members, as etcd's setting `initial-cluster` wants it; "" where certificates alone were asked for.
    pub initial_cluster: String,
    /// What tells this cluster's members from another's.
    pub cluster_token: String,
}

/// Who asks for an account at the registry.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AskAccount {
    /// The node of this id.
    Node(Uuid),
    /// The administrator of this name.
    Administrator(Name),
}

/// The accounts (200): passwords are in it.
#[derive(Serialize, Deserialize)]
pub struct Accounts {
    /// At the cluster's own registry, where it has one.
    #[serde(flatten)]
    pub own: Option<Own>,
    /// The accounts at other registries, by registry; for nodes alone.
    #[serde(default)]
    pub others: BTreeMap<String, Account>,
}

/// The account at the cluster's own registry.
#[derive(Serialize, Deserialize)]
pub struct Own {
    /// Where it answers.
    pub location: String,
    /// The account there.
    pub account: Account,
}
