//! What a registry says an image is: a manifest with its layers, or an index of several, each for a platform. Read and
//! written here; nothing is asked of anyone.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::platform::Platform;
use crate::{Error, Result};

/// The types that are understood, Docker's and those of the OCI.
pub const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The most layers of an image, and images of an index.
const MAX_PARTS: usize = 512;
/// How much of a digest that is none is shown, in characters.
const MAX_SHOWN: usize = 80;

/// A part of something: content by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub size: u64,
    pub digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// One image.
    Image {
        config: Descriptor,
        layers: Vec<Descriptor>,
    },
    /// Several, each for its platform.
    Index { manifests: Vec<Descriptor> },
}

/// A manifest as a registry holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub digest: String,
    pub media_type: String,
    pub bytes: Vec<u8>,
    pub manifest: Manifest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    media_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    manifests: Option<Vec<Descriptor>>,
}

/// What the configuration of an image says of its platform.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Config {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub variant: String,
    /// How it is run.
    #[serde(default)]
    pub config: Option<Run>,
}

/// How an image is run, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Run {
    /// How it is told whether it is well (Docker's `HEALTHCHECK`).
    #[serde(default, rename = "Healthcheck")]
    pub health: Option<Health>,
}

/// `["CMD", PROGRAM, ARGS…]`, `["CMD-SHELL", LINE]`, or `["NONE"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Health {
    #[serde(default, rename = "Test")]
    pub test: Vec<String>,
}

impl Config {
    /// The command by which the image says itself that it is well.
    pub fn check(&self) -> Option<Vec<String>> {
        let test = &self.config.as_ref()?.health.as_ref()?.test;
        match test.split_first().map(|(kind, rest)| (kind.as_str(), rest)) {
            Some(("CMD", command)) if !command.is_empty() => Some(command.to_vec()),
            Some(("CMD-SHELL", [line])) => Some(["/bin/sh", "-c", line].map(str::to_owned).to_vec()),
            _ => None,
        }
    }

    /// For what the image is made.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: if self.os.is_empty() {
                "linux".to_owned()
            } else {
                self.os.clone()
            },
            variant: self.variant.clone(),
        }
    }
}

/// `sha256:…` of this content.
pub fn digest(bytes: &[u8]) -> String {
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}")
}

/// Refuse content that is not what its digest says.
pub fn check(what: &str, expected: &str, bytes: &[u8]) -> Result<()> {
    check_digest(what, expected)?;
    match digest(bytes) {
        is if is == expected => Ok(()),
        is => Err(Error::Spoilt {
            what: what.to_owned(),
            is,
            expected: expected.to_owned(),
        }),
    }
}

/// Whether this is a digest by which content can be checked here.
pub fn is_digest(text: &str) -> bool {
    let is_hex = |hex: &str| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    text.strip_prefix("sha256:").is_some_and(is_hex)
}

/// Refuse one by which it cannot.
pub fn check_digest(what: &str, digest: &str) -> Result<()> {
    if is_digest(digest) {
        return Ok(());
    }
    let shown: String = digest.chars().take(MAX_SHOWN).collect();
    Err(Error::refused(
        format!("{what} is named by {shown:?}: of digests, only sha256 is supported"),
        "push the image again with a client that uses sha256",
    ))
}

impl Held {
    /// Read one; `media_type` is what its sender said it was, where it says nothing itself.
    pub fn read(what: &str, media_type: &str, bytes: Vec<u8>) -> Result<Held> {
        let odd = |reason: String| Error::failed(format!("read the manifest of {what}"), reason);
        let raw: Raw = serde_json::from_slice(&bytes).map_err(|error| odd(error.to_string()))?;
        let media_type = raw.media_type.unwrap_or_else(|| media_type.to_owned());
        let manifest = match (media_type.as_str(), raw.config, raw.manifests) {
            (DOCKER_IMAGE | OCI_IMAGE, Some(config), None) => Manifest::Image {
                config,
                layers: raw.layers,
            },
            (DOCKER_INDEX | OCI_INDEX, None, Some(manifests)) => Manifest::Index { manifests },
            _ => return Err(odd(format!("it is of the type {media_type}, which is not known"))),
        };
        let (parts, config) = match &manifest {
            Manifest::Image { layers, config } => (layers, Some(config)),
            Manifest::Index { manifests } => (manifests, None),
        };
        if parts.len() > MAX_PARTS {
            return Err(odd(format!("it has {} parts, more than {MAX_PARTS}", parts.len())));
        }
        for part in parts.iter().chain(config) {
            check_digest(&format!("a part of {what}"), &part.digest)?;
        }
        Ok(Held {
            digest: digest(&bytes),
            media_type,
            bytes,
            manifest,
        })
    }

    /// It, as a part of an index.
    pub fn descriptor(&self, platform: Platform) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone(),
            size: self.bytes.len() as u64,
            digest: self.digest.clone(),
            platform: Some(platform),
        }
    }
}

/// An index of these images: Docker's kind where all of them are, else the OCI's.
pub fn index(manifests: &[Descriptor]) -> Result<Held> {
    let all_dockers = manifests.iter().all(|one| one.media_type == DOCKER_IMAGE);
    let media_type = if all_dockers { DOCKER_INDEX } else { OCI_INDEX };
    let value = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests });
    let bytes = serde_json::to_vec_pretty(&value).map_err(|error| Error::failed("write an index", error))?;
    Held::read("the new index", media_type, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(n: u8) -> String {
        format!(r#"{{"mediaType": "x", "size": {n}, "digest": "{}"}}"#, digest(&[n]))
    }

    #[test]
    fn an_image_and_an_index_are_told_apart() {
        let image = format!(
            r#"{{"schemaVersion": 2, "config": {}, "layers": [{}]}}"#,
            part(1),
            part(2)
        );
        let held = Held::read("x", OCI_IMAGE, image.clone().into_bytes()).unwrap();
        assert!(matches!(&held.manifest, Manifest::Image { layers, .. } if layers.len() == 1));
        assert_eq!(held.digest, digest(image.as_bytes()));
        let made = index(&[held.descriptor(Platform::linux("arm", "v7"))]).unwrap();
        assert_eq!(made.media_type, OCI_INDEX);
        let again = Held::read("x", "", made.bytes.clone()).unwrap();
        let Manifest::Index { manifests } = again.manifest else {
            panic!("{again:?}")
        };
        assert_eq!(manifests[0].platform.as_ref().unwrap().to_string(), "linux/arm/v7");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (kind, text) in [
            (OCI_IMAGE, "nonsense".to_owned()),
            (OCI_IMAGE, "{}".to_owned()),
            (OCI_INDEX, format!(r#"{{"config": {}}}"#, part(1))),
            ("application/vnd.docker.distribution.manifest.v1+json", "{}".to_owned()),
            (
                OCI_INDEX,
                format!(r#"{{"manifests": [{}]}}"#, vec![part(1); MAX_PARTS + 1].join(",")),
            ),
        ] {
            assert!(Held::read("x", kind, text.into_bytes()).is_err(), "{kind}");
        }
    }

    #[test]
    fn an_image_may_say_how_it_is_well() {
        let check = |test: &str| {
            let text = format!(r#"{{"config": {{"Cmd": ["x"], "Healthcheck": {{"Test": {test}}}}}}}"#);
            serde_json::from_str::<Config>(&text).unwrap().check()
        };
        assert_eq!(check(r#"["CMD", "a", "b"]"#).unwrap(), ["a", "b"]);
        assert_eq!(
            check(r#"["CMD-SHELL", "a || b"]"#).unwrap(),
            ["/bin/sh", "-c", "a || b"]
        );
        for none in [r#"["NONE"]"#, r#"["CMD"]"#, "[]"] {
            assert_eq!(check(none), None, "{none}");
        }
        assert_eq!(serde_json::from_str::<Config>("{}").unwrap().check(), None);
    }

    #[test]
    fn content_is_what_its_digest_says() {
        assert!(check("a layer", &digest(b"x"), b"x").is_ok());
        let error = check("a layer", &digest(b"x"), b"y").unwrap_err();
        assert_eq!(error.kind(), crate::Kind::Refused);
    }

    #[test]
    fn of_digests_only_sha256_is_taken_and_said_so() {
        let sha512 = format!("sha512:{}", "0a".repeat(64));
        let upper = digest(b"x").to_uppercase();
        for bad in [sha512.as_str(), &upper, "sha256:12", "sha256:../../x", "latest", ""] {
            let part = format!(r#"{{"mediaType": "x", "size": 1, "digest": "{bad}"}}"#);
            let image = format!(r#"{{"config": {part}, "layers": []}}"#);
            let index = format!(r#"{{"manifests": [{part}]}}"#);
            let read = [(OCI_IMAGE, image), (OCI_INDEX, index)].map(|(kind, text)| Held::read("x", kind, text.into()));
            let checked = check("a layer", bad, b"x");
            for error in read.map(Result::unwrap_err).into_iter().chain(checked.err()) {
                assert_eq!(error.kind(), crate::Kind::Refused, "{bad}");
                assert!(error.to_string().contains("only sha256 is supported"), "{error}");
            }
        }
    }
}
