//! What the verbs share: the cluster's registry and who one is there, names, and the images under a name.

use cluster::identity::Pki;
use cluster::nodes::NodeFile;
use registry_bootstrap::manifest::{Config, Descriptor, Held, Manifest};
use registry_bootstrap::platform::Platform;
use registry_bootstrap::remote::Remote;
use registry_bootstrap::{ImageName, RegistryAuth, names, trust};
use serde::Serialize;

use crate::commands::Context;
use crate::commands::config::{open_store, problem as tree};
use crate::commands::registry::{problem, shared};
use crate::error::{Error, Result};

/// An image under a name, for one platform.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub platform: Platform,
    pub digest: String,
    pub media_type: String,
    /// Of the layers together, as they are carried.
    pub bytes: u64,
    /// Their digests.
    pub layers: Vec<String>,
}

/// Where the cluster's registry answers; "" where there is none.
pub async fn location(context: &Context) -> Result<String> {
    let (node, store) = open_store(context).await?;
    let config = cluster::config::Config::new(store, node.name);
    let tree = config.effective().await.map_err(tree::tree)?;
    let key = cluster::config::KeyPath::parse("cluster/registry/location").map_err(tree::key)?;
    let location = tree.leaf(&key).and_then(|value| value.as_str());
    Ok(location.unwrap_or_default().to_owned())
}

/// The account at a registry: an administrator's at the cluster's where there is a credential, else that of root's Docker.
pub async fn account(context: &Context, registry: &str, location: &str) -> Result<Option<RegistryAuth>> {
    if registry == location && context.paths.credential_file().exists() {
        let given = shared::account(context).await?.account;
        return Ok(Some(RegistryAuth {
            username: given.username,
            password: given.password,
        }));
    }
    Ok(trust::account(&context.paths, registry))
}

/// The cluster's registry.
pub async fn remote(context: &Context) -> Result<Remote> {
    let location = location(context).await?;
    if location.is_empty() {
        return Err(Error::not_found("this cluster has no image registry").hint("kato registry setup"));
    }
    let account = account(context, &location, &location).await?;
    let path = Pki::new(context.paths.pki()).ca();
    let ca = std::fs::read_to_string(&path)
        .map_err(|error| Error::failed(format!("could not read {}", path.display())).because(error))?;
    Remote::new(&location, &ca, account).map_err(problem::registry)
}

/// This node.
pub fn node(context: &Context) -> Result<NodeFile> {
    Ok(NodeFile::load(&context.paths)?)
}

/// A name as it was typed, with the cluster's registry where it has none.
pub fn full(name: &str, location: &str) -> Result<ImageName> {
    names::full(name, location).map_err(|error| Error::usage(error.to_string()))
}

/// The images under a name at the cluster's registry, each with its platform.
pub async fn entries(remote: &Remote, name: &ImageName) -> registry_bootstrap::Result<(Held, Vec<Entry>)> {
    let repository = names::repository(name);
    let held = remote.manifest(repository, names::reference(name)).await?;
    let entries = match &held.manifest {
        Manifest::Image { .. } => vec![entry(remote, repository, &held, None).await?],
        Manifest::Index { manifests } => {
            let mut entries = Vec::new();
            for part in manifests {
                let one = remote.manifest(repository, &part.digest).await?;
                entries.push(entry(remote, repository, &one, Some(part)).await?);
            }
            entries
        }
    };
    Ok((held, entries))
}

/// The configuration of the image with this digest, below this name.
pub async fn config(remote: &Remote, name: &ImageName, digest: &str) -> Result<Config> {
    let repository = names::repository(name);
    let held = remote.manifest(repository, digest).await.map_err(problem::registry)?;
    match &held.manifest {
        Manifest::Image { config, .. } => remote.config(repository, config).await.map_err(problem::registry),
        Manifest::Index { .. } => Err(Error::failed(format!("{digest} is an index, and not an image"))),
    }
}

async fn entry(
    remote: &Remote,
    repository: &str,
    held: &Held,
    part: Option<&Descriptor>,
) -> registry_bootstrap::Result<Entry> {
    let Manifest::Image { config, layers } = &held.manifest else {
        return Err(registry_bootstrap::Error::Failed {
            attempt: "read what is under the name".to_owned(),
            reason: format!("the index has another in it ({})", held.digest),
        });
    };
    // What the index says goes before what the image says of itself, as it does for Docker.
    let platform = match part.and_then(|part| part.platform.clone()) {
        Some(platform) => platform,
        None => remote.config(repository, config).await?.platform(),
    };
    Ok(Entry {
        platform,
        digest: held.digest.clone(),
        media_type: held.media_type.clone(),
        bytes: layers.iter().fold(0, |all, layer| u64::saturating_add(all, layer.size)),
        layers: layers.iter().map(|layer| layer.digest.clone()).collect(),
    })
}
