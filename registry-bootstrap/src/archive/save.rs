//! Images of the registry into a file, all architectures of each: an OCI layout, with what `docker load` looks for beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use engine::ImageName;
use futures_util::StreamExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tar::{Builder, EntryType, Header};
use tokio_util::io::StreamReader;

use super::layout::{INDEX, TAG, WHOLE_NAME, place};
use crate::manifest::{Descriptor, Held, Manifest};
use crate::platform::Platform;
use crate::remote::{Pieces, Remote};
use crate::{Error, Result, names};

/// An image with all that is below it.
struct Whole {
    name: ImageName,
    top: Held,
    /// Its images; of an index all of them.
    images: Vec<Held>,
}

/// Write these to `out`; `tell` hears how far that is. A file that was not written to its end is none.
pub async fn save(
    remote: &Remote,
    names: &[ImageName],
    out: impl AsyncWrite + Unpin + Send + 'static,
    mut tell: impl FnMut(&str),
) -> Result<()> {
    let mut all = Vec::new();
    for name in names {
        all.push(find(remote, name).await?);
    }
    let mut tar = Builder::new(out);
    let mut written = BTreeSet::new();
    put(&mut tar, "oci-layout", br#"{"imageLayoutVersion": "1.0.0"}"#).await?;
    for whole in &all {
        let repository = names::repository(&whole.name);
        for held in whole.images.iter().chain([&whole.top]) {
            for part in parts(held) {
                if written.insert(part.digest.clone()) {
                    tell(&format!("{}: {} ({} bytes)", whole.name, part.digest, part.size));
                    content(&mut tar, part, remote.content(repository, part).await?).await?;
                }
            }
            if written.insert(held.digest.clone()) {
                put(&mut tar, &place(&held.digest), &held.bytes).await?;
            }
        }
    }
    put(&mut tar, INDEX, index(&all).to_string().as_bytes()).await?;
    put(&mut tar, "manifest.json", for_docker(&all).to_string().as_bytes()).await?;
    let mut out = tar.into_inner().await.map_err(broken)?;
    tokio::io::AsyncWriteExt::flush(&mut out).await.map_err(broken)
}

async fn find(remote: &Remote, name: &ImageName) -> Result<Whole> {
    let repository = names::repository(name);
    let top = remote.manifest(repository, names::reference(name)).await?;
    let mut images = Vec::new();
    if let Manifest::Index { manifests } = &top.manifest {
        for part in manifests {
            images.push(remote.manifest(repository, &part.digest).await?);
        }
    }
    Ok(Whole {
        name: name.clone(),
        top,
        images,
    })
}

fn parts(held: &Held) -> Vec<&Descriptor> {
    match &held.manifest {
        Manifest::Image { config, layers } => layers.iter().chain([config]).collect(),
        Manifest::Index { .. } => Vec::new(),
    }
}

fn index(all: &[Whole]) -> Value {
    let one = |whole: &Whole| {
        let annotations = BTreeMap::from([
            (WHOLE_NAME, whole.name.to_string()),
            (TAG, names::reference(&whole.name).to_owned()),
        ]);
        json!({
            "mediaType": whole.top.media_type,
            "size": whole.top.bytes.len(),
            "digest": whole.top.digest,
            "annotations": annotations,
        })
    };
    json!({ "schemaVersion": 2, "manifests": all.iter().map(one).collect::<Vec<_>>() })
}

/// Of each name the image that this machine's Docker would take.
fn for_docker(all: &[Whole]) -> Value {
    let here = Platform::of_word(std::env::consts::ARCH).unwrap_or_default();
    let one = |whole: &Whole| {
        let held = match &whole.top.manifest {
            Manifest::Image { .. } => &whole.top,
            Manifest::Index { manifests } => {
                let suits = |part: &Descriptor| part.platform.as_ref().is_some_and(|is| is.suits(&here));
                let at = manifests.iter().position(suits)?;
                whole.images.get(at)?
            }
        };
        let Manifest::Image { config, layers } = &held.manifest else {
            return None;
        };
        let layers: Vec<String> = layers.iter().map(|layer| place(&layer.digest)).collect();
        Some(json!({ "Config": place(&config.digest), "RepoTags": [whole.name.to_string()], "Layers": layers }))
    };
    json!(all.iter().filter_map(one).collect::<Vec<_>>())
}

async fn put<W: AsyncWrite + Unpin + Send + 'static>(tar: &mut Builder<W>, name: &str, bytes: &[u8]) -> Result<()> {
    append(tar, name, bytes.len() as u64, bytes).await
}

/// Content as it comes, checked while it does.
async fn content<W: AsyncWrite + Unpin + Send + 'static>(
    tar: &mut Builder<W>,
    part: &Descriptor,
    pieces: Pieces,
) -> Result<()> {
    let mut hash = Sha256::new();
    let mut size = 0;
    let pieces = pieces.map(|piece| {
        let piece = piece?;
        size += piece.len() as u64;
        hash.update(&piece);
        match size > part.size {
            true => Err(io::Error::other("there is more of it than there should be")),
            false => Ok(piece),
        }
    });
    append(
        tar,
        &place(&part.digest),
        part.size,
        StreamReader::new(Box::pin(pieces)),
    )
    .await?;
    let is: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    match size == part.size && part.digest == format!("sha256:{is}") {
        true => Ok(()),
        false => Err(Error::refused(
            format!(
                "what the registry has as {} is not what its digest says: it is sha256:{is}",
                part.digest
            ),
            "push the image again; what was written is not whole",
        )),
    }
}

async fn append<W: AsyncWrite + Unpin + Send + 'static>(
    tar: &mut Builder<W>,
    name: &str,
    size: u64,
    content: impl AsyncRead + Unpin + Send,
) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    tar.append_data(&mut header, name, content).await.map_err(broken)
}

fn broken(error: io::Error) -> Error {
    Error::failed("write the images", error)
}
