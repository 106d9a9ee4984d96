//! An image and the nodes that are to have it, as an administrator chose them: found and checked before anything is given to
//! the cluster.

use clap::Args;
use cluster::config::{Config, KeyPath};
use cluster::nodes::{Kind, Role};
use registry_bootstrap::distribute::job::{self, Job, MAX_NODES, Rollout};
use registry_bootstrap::platform::{self, Platform};
use registry_bootstrap::remote::Remote;
use registry_bootstrap::{ImageName, names};
use uuid::Uuid;

use super::rollout::check_realm;
use super::shared::{self, Entry};
use crate::commands::Context;
use crate::commands::cloud::{Cloud, Seen, by, name};
use crate::commands::config::problem as tree;
use crate::completing;
use crate::error::{Error, Result};

/// Which nodes are meant, of those that have containers.
#[derive(Args, Debug, Default)]
pub struct WhichArgs {
    /// All of them, which is also the default
    #[arg(long, conflicts_with_all = ["role", "realm", "node"])]
    all: bool,
    /// Those that have this role as well
    #[arg(long, value_name = "ROLE")]
    role: Option<Role>,
    /// Those of this realm
    #[arg(long, value_name = "REALM", add = completing::realms())]
    realm: Option<String>,
    /// This one: its name, id, the beginning of its id, or an address
    #[arg(short = 'n', long, value_name = "NODE", add = completing::nodes(), conflicts_with_all = ["role", "realm"])]
    node: Option<String>,
}

/// An image at the cluster's registry, by what it is at this moment.
pub struct Found {
    pub remote: Remote,
    pub name: ImageName,
    pub image: job::Chosen,
    /// What is under the name, for each architecture.
    pub entries: Vec<Entry>,
}

/// Find an image, which has to be at the cluster's registry.
pub async fn find(context: &Context, name: &str) -> Result<Found> {
    if shared::node(context)?.kind == Kind::Micro {
        let message = "this is a micro cloud, whose one node pulls what is configured";
        return Err(Error::refused(message).hint("kato config set fence docker/image NAME"));
    }
    let remote = shared::remote(context).await?;
    let name = shared::full(name, remote.location())?;
    let location = remote.location().to_owned();
    if name.registry() != Some(&location) {
        let message = format!("{name} is not at the cluster's registry {location}");
        return Err(
            Error::refused(message).hint("kato image tag NAME NEW, kato image push NEW; or kato image load FILE")
        );
    }
    let (held, entries) = shared::entries(&remote, &name).await?;
    let image = job::Chosen {
        name: name.to_string(),
        exact: format!("{location}/{}@{}", names::repository(&name), held.digest),
    };
    Ok(Found {
        remote,
        name,
        image,
        entries,
    })
}

/// The nodes that are meant.
pub async fn meant(cloud: &Cloud, which: &WhichArgs) -> Result<Vec<Seen>> {
    let mut all = match &which.node {
        Some(word) => {
            let found = cloud.find(word).await?;
            if !found.record.roles.contains(&Role::Dea) {
                let message = format!("{} runs no containers, and needs no images", found.record.name);
                return Err(Error::refused(message).hint("kato node list"));
            }
            vec![found]
        }
        None => cloud.seen().await?,
    };
    let realm = which.realm.as_deref().map(name).transpose()?;
    if let Some(realm) = &realm {
        check_realm(cloud, realm).await?;
    }
    let is_meant = |seen: &Seen| {
        let roles = &seen.record.roles;
        roles.contains(&Role::Dea)
            && which.role.is_none_or(|role| roles.contains(&role))
            && realm.as_ref().is_none_or(|realm| seen.record.realm == *realm)
    };
    all.retain(is_meant);
    if all.is_empty() {
        return Err(Error::not_found("no node with containers is meant").hint("kato node list"));
    }
    if all.len() > MAX_NODES {
        let message = format!(
            "{} nodes are meant, and at most {MAX_NODES} are taken at once",
            all.len()
        );
        return Err(Error::refused(message).hint("--realm REALM"));
    }
    Ok(all)
}

impl Found {
    /// These nodes, with what each has to fetch. Nodes for whose architecture there is nothing are refused.
    pub fn nodes(&self, seen: &[Seen]) -> Result<Vec<job::Node>> {
        let platforms: Vec<Platform> = self.entries.iter().map(|entry| entry.platform.clone()).collect();
        let known: Vec<(String, Platform)> = seen
            .iter()
            .filter_map(|seen| Some((seen.record.name.to_string(), platform_of(seen)?)))
            .collect();
        let lacking = platform::lacking(&platforms, known.iter().map(|(name, platform)| (name, platform)));
        if !lacking.is_empty() {
            let names: Vec<&str> = lacking.into_iter().map(String::as_str).collect();
            let message = format!("{} has nothing for the architecture of {}", self.name, names.join(", "));
            return Err(Error::refused(message).hint(format!("kato image inspect {}", self.name)));
        }
        Ok(seen.iter().map(|seen| self.node(seen)).collect())
    }

    fn node(&self, seen: &Seen) -> job::Node {
        let own = platform_of(seen);
        let suits = |entry: &&Entry| own.as_ref().is_none_or(|own| entry.platform.suits(own));
        job::Node {
            id: seen.record.id,
            name: seen.record.name.clone(),
            bytes: self
                .entries
                .iter()
                .filter(suits)
                .map(|entry| entry.bytes)
                .max()
                .unwrap_or(0),
        }
    }

    /// The command by which the image itself says that it is well, as it has it for these nodes.
    pub async fn check(&self, seen: &[Seen]) -> Result<Option<Vec<String>>> {
        let own = seen.iter().find_map(platform_of);
        let suits = |entry: &&Entry| own.as_ref().is_none_or(|own| entry.platform.suits(own));
        let Some(entry) = self.entries.iter().find(suits) else {
            return Ok(None);
        };
        let config = shared::config(&self.remote, &self.name, &entry.digest).await?;
        Ok(config.check())
    }

    /// A job for these nodes.
    pub fn job(&self, nodes: Vec<job::Node>, wave: usize, rollout: Option<Rollout>, command: String) -> Job {
        Job {
            id: Uuid::new_v4(),
            image: self.image.clone(),
            nodes,
            wave,
            rollout,
            by: by(),
            command,
            at: jiff::Timestamp::now(),
        }
    }
}

/// For what a node takes images, where it says so.
fn platform_of(seen: &Seen) -> Option<Platform> {
    let architecture = &seen.state.report.as_ref()?.architecture;
    (!architecture.is_empty()).then(|| Platform::linux(architecture, ""))
}

/// How many nodes at a time: as given, else as configured.
pub async fn wave(cloud: &Cloud, given: Option<usize>) -> Result<usize> {
    if let Some(wave) = given {
        return Ok(wave);
    }
    let config = Config::new(cloud.store.clone(), cloud.node.name.clone());
    let effective = config.effective().await.map_err(tree::tree)?;
    let key = KeyPath::parse("cluster/images/wave").map_err(tree::key)?;
    let wave = effective.leaf(&key).and_then(serde_json::Value::as_u64);
    Ok(wave.and_then(|wave| usize::try_from(wave).ok()).unwrap_or(1))
}
