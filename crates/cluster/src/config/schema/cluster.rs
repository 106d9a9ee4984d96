//! The component `cluster`: what concerns the whole cluster and no single process.

use serde::Deserialize;
use serde_json::json;

use super::registry::{self, RegistryConfig};
use super::{Applies, ComponentSchema, Key, Kind, image, independent};

/// The component `cluster`, typed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ClusterConfig {
    /// The cluster's name, for people.
    pub name: String,
    /// The host name under which clients reach the cluster.
    pub endpoint: String,
    /// How changes are remembered.
    pub history: HistoryConfig,
    /// What nodes prove themselves with.
    pub certificates: CertificatesConfig,
    /// The image registry.
    pub registry: RegistryConfig,
    /// How images are brought to nodes.
    pub images: ImagesConfig,
}

/// How images are brought to nodes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ImagesConfig {
    /// How many nodes pull, or take an image up, at a time.
    pub wave: u64,
}

/// What nodes prove themselves with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CertificatesConfig {
    /// How long a node's certificate is good, in seconds.
    pub lifetime: u64,
}

/// How changes are remembered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct HistoryConfig {
    /// How many changes are kept.
    pub keep: u64,
}

/// Thirty days.
pub const DEFAULT_LIFETIME: u64 = 30 * 24 * 60 * 60;

pub(super) static SCHEMA: ComponentSchema = ComponentSchema {
    name: "cluster",
    help: "what concerns the whole cluster",
    check: independent,
    keys: &[
        Key {
            path: "name",
            aliases: &[],
            kind: Kind::Text {
                check: check_name,
                accepts: "1 to 63 characters without control characters",
            },
            default: || json!("micro"),
            help: "the cluster's name, for people",
            applies: Applies::Live,
            secret: false,
        },
        Key {
            path: "endpoint",
            aliases: &[],
            kind: Kind::Text {
                check: check_endpoint,
                accepts: "a host name such as api.paas.example.com",
            },
            default: || json!("localhost"),
            help: "the host name under which clients reach the cluster",
            applies: Applies::Live,
            secret: false,
        },
        Key {
            path: "certificates/lifetime",
            aliases: &[],
            kind: Kind::Integer {
                min: 10,
                max: 10 * 365 * 24 * 60 * 60,
            },
            default: || json!(DEFAULT_LIFETIME),
            help: "how many seconds a node's certificate is good; it is renewed after two thirds of that",
            applies: Applies::Live,
            secret: false,
        },
        Key {
            path: "history/keep",
            aliases: &[],
            kind: Kind::Integer { min: 10, max: 100_000 },
            default: || json!(1000),
            help: "how many changes of the tree are remembered; older ones are forgotten with the next changes",
            applies: Applies::Live,
            secret: false,
        },
        Key {
            path: "images/wave",
            aliases: &[],
            kind: Kind::Integer { min: 1, max: 1000 },
            default: || json!(4),
            help: "how many nodes pull an image, or take it up in a rollout, at a time",
            applies: Applies::Live,
            secret: false,
        },
        registry::IMAGE,
        registry::PORT,
        registry::LOCATION,
        registry::CREDENTIALS,
    ],
};

fn check_name(name: &str) -> Result<(), String> {
    if name.trim().is_empty() || name.chars().count() > 63 || name.chars().any(char::is_control) {
        return Err("this is not a name to show".to_owned());
    }
    Ok(())
}

fn check_endpoint(endpoint: &str) -> Result<(), String> {
    if image::is_host(endpoint) {
        Ok(())
    } else {
        Err(format!("{endpoint:?} is not a host name"))
    }
}
