//! The fake's images, and the registry it pulls from.

use std::collections::HashMap;

use super::{News, image};
use crate::name::lookup_key;
use crate::{Error, Image, ImageId, ImageName, RegistryAuth, Result};

#[derive(Default)]
pub(super) struct Images {
    held: Vec<Image>,
    registry: HashMap<String, Published>,
    registry_down: bool,
}

struct Published {
    image: Image,
    auth: Option<RegistryAuth>,
}

impl Images {
    pub(super) fn add(&mut self, name: &ImageName, image: Image) -> Image {
        if !self.held.iter().any(|held| held.id == image.id) {
            self.held.push(Image {
                tags: Vec::new(),
                ..image.clone()
            });
        }
        self.give(&image.id, &name.to_string());
        // Just put there.
        self.by_id(&image.id).cloned().unwrap_or(image)
    }

    pub(super) fn publish(&mut self, name: &ImageName, image: Image, auth: Option<RegistryAuth>) {
        self.registry.insert(name.to_string(), Published { image, auth });
    }

    pub(super) fn set_registry_down(&mut self, down: bool) {
        self.registry_down = down;
    }

    pub(super) fn all(&self) -> Vec<Image> {
        self.held.clone()
    }

    /// By whole or shortened id, or by name.
    pub(super) fn find(&self, attempt: &str, name: &str) -> Result<&Image> {
        let key = lookup_key(name).map_err(|bad| Error::Refused {
            attempt: attempt.to_owned(),
            reason: bad.to_string(),
        })?;
        let hex = key.strip_prefix("sha256:").unwrap_or(&key);
        let named = self.held.iter().find(|held| {
            held.tags
                .iter()
                .any(|tag| *tag == key || tag.strip_suffix(":latest") == Some(&key))
                || held.digests.contains(&key)
        });
        named
            .or_else(|| {
                self.held
                    .iter()
                    .find(|held| held.id.0["sha256:".len()..].starts_with(hex))
            })
            .ok_or_else(|| Error::NotFound {
                what: format!("image {name}"),
            })
    }

    fn by_id(&self, id: &ImageId) -> Option<&Image> {
        self.held.iter().find(|held| held.id == *id)
    }

    /// Moves the name to this image.
    fn give(&mut self, id: &ImageId, name: &str) {
        for held in &mut self.held {
            held.tags.retain(|tag| tag != name);
            if held.id == *id {
                held.tags.push(name.to_owned());
            }
        }
    }

    pub(super) fn import(&mut self, name: Option<&ImageName>, size_bytes: u64, news: &News) -> Image {
        let made = Image {
            size_bytes,
            command: Vec::new(),
            ..image(&[])
        };
        let made = match name {
            Some(name) => self.add(name, made),
            None => {
                self.held.push(made.clone());
                made
            }
        };
        news.image(&made.id.0);
        made
    }

    pub(super) fn tag(&mut self, attempt: &str, image: &str, name: &ImageName, news: &News) -> Result<()> {
        let id = self.find(attempt, image)?.id.clone();
        self.give(&id, &name.to_string());
        news.image(&id.0);
        Ok(())
    }

    pub(super) fn pull(
        &mut self,
        attempt: &str,
        name: &ImageName,
        auth: Option<&RegistryAuth>,
        news: &News,
    ) -> Result<Image> {
        let attempt = attempt.to_owned();
        if self.registry_down {
            return Err(Error::RegistryUnavailable {
                attempt,
                reason: "connection refused".to_owned(),
            });
        }
        let found = match name.digest() {
            Some(digest) => self.registry.values().find(|published| published.image.id.0 == digest),
            None => self.registry.get(&name.to_string()),
        };
        let Some(Published { image, auth: needed }) = found else {
            return Err(Error::NotFound {
                what: format!("image {name} in its registry"),
            });
        };
        if needed.is_some() && needed.as_ref() != auth {
            return Err(Error::Refused {
                attempt,
                reason: "unauthorized".to_owned(),
            });
        }
        let mut pulled = image.clone();
        // The fake's images have one and the same id and digest.
        let digest = format!("{}@{}", name.repository(), pulled.id.0);
        if !self.held.iter().any(|held| held.id == pulled.id) {
            self.held.push(Image {
                tags: Vec::new(),
                digests: Vec::new(),
                ..pulled.clone()
            });
        }
        if name.tag().is_some() {
            self.give(&pulled.id, &name.to_string());
        }
        if let Some(held) = self.held.iter_mut().find(|held| held.id == pulled.id) {
            if !held.digests.contains(&digest) {
                held.digests.push(digest);
            }
            pulled = held.clone();
        }
        news.image(&name.to_string());
        Ok(pulled)
    }

    /// Puts an image into the registry, where the account there may.
    pub(super) fn push(&mut self, attempt: &str, name: &ImageName, auth: Option<&RegistryAuth>) -> Result<()> {
        let attempt = attempt.to_owned();
        let image = self.find(&attempt, &name.to_string())?.clone();
        if self.registry_down {
            return Err(Error::RegistryUnavailable {
                attempt,
                reason: "connection refused".to_owned(),
            });
        }
        let present = self.registry.get(&name.to_string());
        let needed = present.and_then(|published| published.auth.clone());
        if needed.is_some() && needed.as_ref() != auth {
            return Err(Error::Refused {
                attempt,
                reason: "unauthorized".to_owned(),
            });
        }
        self.publish(name, image, needed);
        Ok(())
    }

    /// Takes a name or an image away, unless a container needs it.
    pub(super) fn remove(
        &mut self,
        attempt: &str,
        name: &str,
        user: impl Fn(&ImageId) -> Option<String>,
        news: &News,
    ) -> Result<()> {
        let found = match self.find(attempt, name) {
            Err(error) if error.is_not_found() => return Ok(()),
            found => found?.clone(),
        };
        let by_name = name
            .parse::<ImageName>()
            .ok()
            .filter(|name| named(&found, &name.to_string()));
        let conflict = |reason: String| {
            Err(Error::Conflict {
                attempt: attempt.to_owned(),
                reason,
            })
        };
        if by_name.is_none() && found.tags.len() > 1 {
            return conflict(format!("it has {} names", found.tags.len()));
        }
        let left = match &by_name {
            Some(name) => without(&found, name),
            None => Image {
                tags: Vec::new(),
                digests: Vec::new(),
                ..found.clone()
            },
        };
        let unnamed = left.tags.is_empty() && left.digests.is_empty();
        if let Some(container) = user(&found.id).filter(|_| unnamed) {
            return conflict(format!("container {container} is using it"));
        }
        self.held.retain(|held| held.id != found.id);
        if !unnamed {
            self.held.push(left);
        }
        news.image(&found.id.0);
        Ok(())
    }
}

fn named(image: &Image, name: &str) -> bool {
    image.tags.iter().chain(&image.digests).any(|known| known == name)
}

/// The image without this name; the last tag of a repository takes the digest along.
fn without(image: &Image, name: &ImageName) -> Image {
    let mut left = image.clone();
    let shown = name.to_string();
    left.tags.retain(|tag| *tag != shown);
    left.digests.retain(|digest| *digest != shown);
    let in_repository = |known: &str| {
        known
            .parse::<ImageName>()
            .is_ok_and(|known| known.repository() == name.repository())
    };
    if !left.tags.iter().any(|tag| in_repository(tag)) {
        left.digests.retain(|digest| !in_repository(digest));
    }
    left
}
