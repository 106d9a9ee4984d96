//! What `docker save` writes: `manifest.json` names a configuration and layers for each image. Layers are known by the digests
//! that the configuration has of them.

use serde::Deserialize;

use super::file::File;
use super::layout::bring;
use super::{Loaded, name_here, odd};
use crate::manifest::{self, DOCKER_IMAGE, Descriptor, Held};
use crate::remote::Remote;
use crate::{Error, Result, names};

const MANIFEST: &str = "manifest.json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// Bring all that has a name to the registry.
pub(super) async fn load(remote: &Remote, file: &File, tell: &mut impl FnMut(&str)) -> Result<Vec<Loaded>> {
    if !file.has(MANIFEST) {
        let reason = format!("{} has neither index.json nor {MANIFEST}", file.path().display());
        return Err(Error::refused(
            reason,
            "kato image save, docker save, or an OCI layout as a tar file, not compressed",
        ));
    }
    let all: Vec<Saved> = serde_json::from_slice(&file.whole(MANIFEST)?).map_err(|error| odd(file, error))?;
    let mut loaded = Vec::new();
    for saved in &all {
        let (held, parts) = manifest_of(file, saved)?;
        for name in saved.repo_tags.iter().flatten() {
            let name = name_here(remote, name)?;
            let repository = names::repository(&name);
            for (part, place) in &parts {
                tell(&format!("{repository}: {} ({} bytes)", part.digest, part.size));
                bring(remote, file, repository, part, place).await?;
            }
            remote.put_manifest(repository, names::reference(&name), &held).await?;
            loaded.push(Loaded {
                name: name.to_string(),
                digest: held.digest.clone(),
            });
        }
    }
    match loaded.is_empty() {
        true => Err(odd(file, "no image in it has a name")),
        false => Ok(loaded),
    }
}

type Parts = Vec<(Descriptor, String)>;

/// A manifest for the registry, and where its parts are in the file.
fn manifest_of(file: &File, saved: &Saved) -> Result<(Held, Parts)> {
    let config = file.whole(&saved.config)?;
    let read: Config = serde_json::from_slice(&config).map_err(|error| odd(file, error))?;
    let ids = read.rootfs.diff_ids;
    if ids.len() != saved.layers.len() {
        return Err(odd(
            file,
            format!(
                "{} has {} layers and names {}",
                saved.config,
                saved.layers.len(),
                ids.len()
            ),
        ));
    }
    let part = |kind: &str, size, digest: &str| Descriptor {
        media_type: kind.to_owned(),
        size,
        digest: digest.to_owned(),
        platform: None,
    };
    let mut parts = Vec::new();
    for (id, place) in ids.iter().zip(&saved.layers) {
        parts.push((part(LAYER, file.size(place)?, id), place.clone()));
    }
    let own = part(CONFIG, config.len() as u64, &manifest::digest(&config));
    let layers: Vec<&Descriptor> = parts.iter().map(|(part, _)| part).collect();
    let value = serde_json::json!({ "schemaVersion": 2, "mediaType": DOCKER_IMAGE, "config": own, "layers": layers });
    let bytes = serde_json::to_vec_pretty(&value).map_err(|error| odd(file, error))?;
    parts.push((own, saved.config.clone()));
    Ok((Held::read(&saved.config, DOCKER_IMAGE, bytes)?, parts))
}
