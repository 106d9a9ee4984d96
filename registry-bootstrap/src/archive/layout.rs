//! An OCI layout in a file: `index.json` names manifests by their digests, and `blobs/` has all content by its own.

use serde::Deserialize;

use super::file::File;
use super::{Loaded, name_here, odd};
use crate::manifest::{self, Descriptor, Held, Manifest};
use crate::remote::Remote;
use crate::{Error, Result, names};

pub(super) const INDEX: &str = "index.json";
/// The annotations by which a name is told: the whole one, and the tag alone.
pub(super) const WHOLE_NAME: &str = "io.containerd.image.name";
pub(super) const TAG: &str = "org.opencontainers.image.ref.name";

#[derive(Deserialize)]
struct Top {
    manifests: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(flatten)]
    part: Descriptor,
    #[serde(default)]
    annotations: std::collections::HashMap<String, String>,
}

/// Where content of this digest is.
pub(super) fn place(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

/// Bring all that has a name to the registry.
pub(super) async fn load(remote: &Remote, file: &File, tell: &mut impl FnMut(&str)) -> Result<Vec<Loaded>> {
    let top: Top = serde_json::from_slice(&file.whole(INDEX)?).map_err(|error| odd(file, error))?;
    let mut loaded = Vec::new();
    for named in &top.manifests {
        let name = named.annotations.get(WHOLE_NAME).or(named.annotations.get(TAG));
        let name = name.ok_or_else(|| odd(file, format!("{} has no name in it", named.part.digest)))?;
        let name = name_here(remote, name)?;
        let held = read(file, &named.part)?;
        let repository = names::repository(&name);
        if let Manifest::Index { manifests } = &held.manifest {
            for part in manifests {
                let one = read(file, part)?;
                content(remote, file, repository, &one, tell).await?;
                remote.put_manifest(repository, &one.digest, &one).await?;
            }
        } else {
            content(remote, file, repository, &held, tell).await?;
        }
        // The name last: until then nothing has changed for anybody.
        remote.put_manifest(repository, names::reference(&name), &held).await?;
        loaded.push(Loaded {
            name: name.to_string(),
            digest: held.digest,
        });
    }
    Ok(loaded)
}

fn read(file: &File, part: &Descriptor) -> Result<Held> {
    let what = format!("a manifest in {}", file.path().display());
    manifest::check_digest(&what, &part.digest)?;
    let bytes = file.whole(&place(&part.digest))?;
    manifest::check(&what, &part.digest, &bytes)?;
    Held::read(&part.digest, &part.media_type, bytes)
}

async fn content(
    remote: &Remote,
    file: &File,
    repository: &str,
    held: &Held,
    tell: &mut impl FnMut(&str),
) -> Result<()> {
    let Manifest::Image { config, layers } = &held.manifest else {
        return Err(odd(file, format!("{} is an index in an index", held.digest)));
    };
    for part in layers.iter().chain([config]) {
        tell(&format!("{repository}: {} ({} bytes)", part.digest, part.size));
        bring(remote, file, repository, part, &place(&part.digest)).await?;
    }
    Ok(())
}

/// Bring one part, once it is known to be what its digest says.
pub(super) async fn bring(
    remote: &Remote,
    file: &File,
    repository: &str,
    part: &Descriptor,
    place: &str,
) -> Result<()> {
    let (is, size) = (file.digest(place).await?, file.size(place)?);
    if is != part.digest || size != part.size {
        return Err(Error::refused(
            format!(
                "{place} in {} is not what its digest says: it is {is} and not {}",
                file.path().display(),
                part.digest
            ),
            "save the image again",
        ));
    }
    remote.bring(repository, part, file.pieces(place).await?).await
}
