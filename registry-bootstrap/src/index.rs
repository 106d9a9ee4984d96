//! Several images under one name, each for its platform, so that every node takes its own: put together at the registry from
//! images that are there. What an index would say is decided before anything is published.

use engine::ImageName;
use serde::{Deserialize, Serialize};

use crate::manifest::{self, Descriptor, Held, Manifest};
use crate::platform::Platform;
use crate::remote::Remote;
use crate::{Error, Result, names};

/// The most images of an index that is made here.
const MAX_SOURCES: usize = 64;

/// A description of an index, as manifest-tool has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Spec {
    /// What it is called.
    pub image: String,
    /// Further tags of it.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Its images.
    pub manifests: Vec<SpecEntry>,
}

/// An image of a [`Spec`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SpecEntry {
    pub image: String,
    /// Where it is not as the image itself says.
    pub platform: Option<SpecPlatform>,
}

/// The platform of a [`SpecEntry`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SpecPlatform {
    pub architecture: String,
    #[serde(default = "linux")]
    pub os: String,
    #[serde(default)]
    pub variant: String,
}

fn linux() -> String {
    "linux".to_owned()
}

impl From<SpecPlatform> for Platform {
    fn from(spec: SpecPlatform) -> Self {
        Platform {
            architecture: spec.architecture,
            os: spec.os,
            variant: spec.variant,
        }
    }
}

/// An image that is to be in an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub name: ImageName,
    /// For what it is made, where that is said beside the image.
    pub platform: Option<Platform>,
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Created {
    pub name: String,
    pub digest: String,
    pub manifests: Vec<Descriptor>,
    /// What is odd about it.
    pub warnings: Vec<String>,
}

/// An image that was found, where, and for what it is.
struct Found {
    repository: String,
    held: Held,
    platform: Platform,
}

/// Publish an index of these under each of `targets`, the first of which is its name.
pub async fn create(remote: &Remote, targets: &[ImageName], sources: &[Source]) -> Result<Created> {
    let names = targets.iter().chain(sources.iter().map(|source| &source.name));
    for name in names {
        if name.registry() != Some(remote.location()) {
            let reason = format!("{name} is not at the cluster's registry {}", remote.location());
            return Err(Error::refused(reason, "kato image push"));
        }
    }
    if sources.is_empty() || sources.len() > MAX_SOURCES {
        return Err(Error::refused(format!("an index has 1 to {MAX_SOURCES} images"), ""));
    }
    let (mut found, mut warnings) = (Vec::new(), Vec::new());
    for source in sources {
        found.extend(find(remote, source, &mut warnings).await?);
    }
    let manifests = entries(&found)?;
    let index = manifest::index(&manifests)?;
    let Some(first) = targets.first() else {
        return Err(Error::refused("an index needs a name", ""));
    };
    for target in targets {
        publish(remote, target, &found, &index).await?;
    }
    Ok(Created {
        name: first.to_string(),
        digest: index.digest,
        manifests,
        warnings,
    })
}

/// The parts of the index; no platform twice, since a node would take either.
fn entries(found: &[Found]) -> Result<Vec<Descriptor>> {
    let mut entries: Vec<Descriptor> = Vec::new();
    for one in found {
        if entries
            .iter()
            .any(|known| known.platform.as_ref() == Some(&one.platform))
        {
            let reason = format!("two of the images are for {}", one.platform);
            return Err(Error::refused(
                reason,
                "say for what they are made: --from NAME=PLATFORM",
            ));
        }
        entries.push(one.held.descriptor(one.platform.clone()));
    }
    Ok(entries)
}

async fn find(remote: &Remote, source: &Source, warnings: &mut Vec<String>) -> Result<Vec<Found>> {
    let repository = names::repository(&source.name).to_owned();
    let held = remote.manifest(&repository, names::reference(&source.name)).await?;
    let config = match &held.manifest {
        Manifest::Image { config, .. } => config.clone(),
        Manifest::Index { manifests } => return of_index(remote, source, &repository, manifests).await,
    };
    let says = remote.config(&repository, &config).await?.platform();
    let platform = match &source.platform {
        Some(wanted) => {
            if wanted.architecture != says.architecture || wanted.os != says.os {
                warnings.push(format!(
                    "{} says of itself that it is for {says}, and is taken for {wanted}",
                    source.name
                ));
            }
            wanted.clone()
        }
        None => {
            check_name(&source.name, &says)?;
            says
        }
    };
    Ok(vec![Found {
        repository,
        held,
        platform,
    }])
}

/// A name that says for what an image is made, and an image that says something else: one of both is a mistake.
fn check_name(name: &ImageName, says: &Platform) -> Result<()> {
    match names::platform(name) {
        Some(named) if named.architecture != says.architecture => Err(Error::refused(
            format!("{name} is by its name for {named}, and says of itself that it is for {says}"),
            format!("--from {name}={named}"),
        )),
        _ => Ok(()),
    }
}

/// What is in an index already; of that the one platform that is wanted, or all.
async fn of_index(remote: &Remote, source: &Source, repository: &str, manifests: &[Descriptor]) -> Result<Vec<Found>> {
    let wanted = |one: &&Descriptor| match (&source.platform, &one.platform) {
        (Some(wanted), Some(is)) => is.suits(wanted),
        (Some(_), None) => false,
        (None, _) => true,
    };
    let mut found = Vec::new();
    for one in manifests.iter().filter(wanted) {
        let held = remote.manifest(repository, &one.digest).await?;
        let Some(platform) = one.platform.clone() else { continue };
        found.push(Found {
            repository: repository.to_owned(),
            held,
            platform,
        });
    }
    if found.is_empty() {
        let reason = format!("the index {} has nothing for that platform", source.name);
        return Err(Error::refused(reason, format!("kato image inspect {}", source.name)));
    }
    Ok(found)
}

/// All parts first, the name last: until then nothing has changed for anybody.
async fn publish(remote: &Remote, target: &ImageName, found: &[Found], index: &Held) -> Result<()> {
    let repository = names::repository(target);
    for one in found.iter().filter(|one| one.repository != repository) {
        if let Manifest::Image { config, layers } = &one.held.manifest {
            for part in layers.iter().chain([config]) {
                remote.mount(repository, &part.digest, &one.repository).await?;
            }
        }
        remote.put_manifest(repository, &one.held.digest, &one.held).await?;
    }
    remote.put_manifest(repository, names::reference(target), index).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(content: &str, platform: &str) -> Found {
        let config = format!(
            r#"{{"mediaType": "x", "size": 1, "digest": "{}"}}"#,
            manifest::digest(b"c")
        );
        let text = format!(r#"{{"schemaVersion": 2, "config": {config}, "layers": [], "note": "{content}"}}"#);
        Found {
            repository: "app".to_owned(),
            held: Held::read("x", manifest::DOCKER_IMAGE, text.into_bytes()).unwrap(),
            platform: platform.parse().unwrap(),
        }
    }

    #[test]
    fn no_platform_is_there_twice() {
        let two = [found("a", "linux/amd64"), found("b", "linux/arm/v7")];
        assert_eq!(entries(&two).unwrap().len(), 2);
        let same = [found("a", "linux/amd64"), found("b", "linux/amd64")];
        assert_eq!(entries(&same).unwrap_err().kind(), crate::Kind::Refused);
        let variants = [found("a", "linux/arm/v6"), found("b", "linux/arm/v7")];
        assert_eq!(entries(&variants).unwrap().len(), 2);
    }

    #[test]
    fn a_name_that_says_something_else_than_its_image_is_a_mistake() {
        let name = |text: &str| names::full(text, "core:5000").unwrap();
        let amd: Platform = "linux/amd64".parse().unwrap();
        assert!(check_name(&name("app:cpy-amd64"), &amd).is_ok());
        assert!(check_name(&name("app:1"), &amd).is_ok());
        let error = check_name(&name("app:cpy-slim-arm64"), &amd).unwrap_err();
        assert_eq!(error.hint(), "--from core:5000/app:cpy-slim-arm64=linux/arm64");
    }
}
