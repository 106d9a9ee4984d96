//! Images in our words: what the engine says of one, and what a pull needs and tells.
//!
//! Plain types without behaviour or I/O; how an image is named is in [`crate::ImageName`].

use serde::{Deserialize, Serialize};

use crate::Labels;

/// An image's content id (`sha256:…`), which no tag can move.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub String);

/// An image the engine holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub id: ImageId,
    /// `name:tag` each.
    pub tags: Vec<String>,
    /// `registry/name@sha256:…` each.
    pub digests: Vec<String>,
    pub size_bytes: u64,
    /// RFC 3339, as the image says.
    pub created: String,
    pub os: String,
    pub architecture: String,
    /// What the image runs: entrypoint and command together. Only [`crate::Engine::image`] and the calls that make an image
    /// fill it and what follows.
    pub command: Vec<String>,
    pub env: Vec<String>,
    pub user: String,
    pub working_dir: String,
    pub exposed_ports: Vec<u16>,
    pub volumes: Vec<String>,
    pub labels: Labels,
}

/// An account at an image registry.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryAuth {
    pub username: String,
    pub password: String,
}

impl std::fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RegistryAuth({}, …)", self.username)
    }
}

/// How an image is to be made of a context, the archive that comes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildSpec {
    /// What it is called; empty = nothing, it is known by its id alone.
    pub name: String,
    /// The recipe, by its path in the context.
    pub dockerfile: String,
    /// The stage to stop at; empty = the last.
    pub target: String,
    /// Arguments of the recipe.
    pub args: Vec<(String, String)>,
    /// For which platform, e.g. `linux/arm/v7`; empty = the engine's own.
    pub platform: String,
    /// Nothing of an earlier build is used.
    pub anew: bool,
}

/// One step of a pull or a push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The layer, or empty for the whole.
    pub layer: String,
    /// e.g. `Downloading`.
    pub status: String,
    pub current: u64,
    /// 0 = not known.
    pub total: u64,
}
