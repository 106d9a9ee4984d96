//! The core as the registry needs it: what it is, its engine, its tree, and what is configured. It changes nothing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cluster::config::schema::cluster::ClusterConfig;
use cluster::config::{Author, Config, KeyPath, Name, Target};
use cluster::identity::Address;
use cluster::nodes::{NodeFile, Paths, Role};
use cluster::store::Store;
use engine::Engine;
use engine::docker::{Docker, Timeouts};
use serde_json::Value;

use crate::settings::Places;
use crate::{Error, Result};

/// The core, and what works on it.
#[derive(Clone)]
pub struct Core {
    /// What the node is.
    pub node: NodeFile,
    /// Where its files are.
    pub paths: Paths,
    /// Where the registry's are.
    pub places: Places,
    /// The core's door.
    pub door: Address,
    /// Its container engine.
    pub engine: Arc<dyn Engine>,
    /// The tree.
    pub store: Arc<dyn Store>,
}

/// What the tree says of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// The host name under which clients reach the cluster.
    pub endpoint: String,
    /// Of which the registry is made.
    pub image: String,
    /// The port it answers at.
    pub port: u16,
    /// Where it answers; "" where there is none.
    pub location: String,
    /// How long certificates are good.
    pub lifetime: Duration,
}

impl Core {
    /// The core that this machine is, with its own engine.
    pub fn open(paths: &Paths, node: NodeFile, store: Arc<dyn Store>) -> Result<Self> {
        let engine = Docker::connect(&node.docker.socket, Timeouts::default());
        Core::with_engine(paths, node, store, Arc::new(engine))
    }

    /// The same, with another engine.
    pub fn with_engine(paths: &Paths, node: NodeFile, store: Arc<dyn Store>, engine: Arc<dyn Engine>) -> Result<Self> {
        let membership = node.cluster.as_ref().filter(|_| node.roles.contains(&Role::Core));
        let Some(membership) = membership else {
            let reason = "the registry is on a cluster's core, and this node is none";
            return Err(Error::refused(
                reason,
                "kato node setup core HOST, or do this on the core",
            ));
        };
        let door = membership.core.parse();
        Ok(Core {
            door: door.map_err(Error::identity("read where the core's door is"))?,
            places: Places::of(paths),
            paths: paths.clone(),
            node,
            engine,
            store,
        })
    }

    /// What is configured for all nodes.
    pub async fn configured(&self) -> Result<Configured> {
        let whole = KeyPath::parse("cluster").map_err(|error| Error::failed("name the registry's keys", error))?;
        let tree = self.config().effective().await;
        let tree = tree.map_err(Error::tree("read what is configured of the registry"))?;
        let value = tree.nest(&whole).unwrap_or(Value::Null);
        let cluster: ClusterConfig = serde_json::from_value(value)
            .map_err(|error| Error::failed("read what is configured of the registry", error))?;
        Ok(Configured {
            endpoint: cluster.endpoint,
            image: cluster.registry.image,
            port: cluster.registry.port,
            location: cluster.registry.location,
            lifetime: Duration::from_secs(cluster.certificates.lifetime),
        })
    }

    /// Put a value of the registry's into the tree, for all nodes, where it is not there yet.
    pub async fn record(&self, path: &str, value: Value, author: &Author) -> Result<()> {
        self.record_all(vec![(path, value)], author).await
    }

    /// The same with several at once: all of them are there, or none.
    pub async fn record_all(&self, values: Vec<(&str, Value)>, author: &Author) -> Result<()> {
        let key = |error| Error::failed("name the registry's keys", error);
        let component = Name::new("cluster").map_err(key)?;
        let mut all = Vec::new();
        for (path, value) in values {
            let path = KeyPath::parse(path).map_err(key)?;
            all.push((Target::key(&component, &path).map_err(key)?, value));
        }
        let set = self.config().set_all(&all, author).await;
        set.map_err(Error::tree("record where the registry is"))
    }

    fn config(&self) -> Config {
        Config::new(Arc::clone(&self.store), self.node.name.clone())
    }
}

impl Configured {
    /// Where the registry is to answer.
    pub fn wanted_location(&self) -> String {
        format!("{}:{}", self.endpoint, self.port)
    }

    /// The registry where it is recorded, and not where it is to be at the next setup; `None` where there is none.
    pub fn as_recorded(self) -> Result<Option<Configured>> {
        if self.location.is_empty() {
            return Ok(None);
        }
        let place = self.location.rsplit_once(':');
        let place = place.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
        let (endpoint, port) = place.ok_or_else(|| {
            let reason = format!("{:?} is not a host and a port", self.location);
            Error::failed("read where the registry is", reason)
        })?;
        Ok(Some(Configured { endpoint, port, ..self }))
    }

    /// The addresses that stand in its certificate, beside the name.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.endpoint.parse().into_iter().collect()
    }
}
