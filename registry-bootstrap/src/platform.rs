//! For what an image is made: system, architecture and its variant, and how these are written. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A platform in the words of images.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    pub architecture: String,
    pub os: String,
    /// e.g. `v7`; "" where the architecture alone says it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// This is no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no platform such as linux/amd64 or linux/arm/v7")]
pub struct NoPlatform(pub String);

impl Platform {
    /// Linux on this architecture.
    pub fn linux(architecture: &str, variant: &str) -> Self {
        Platform {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: variant.to_owned(),
        }
    }

    /// What a word stands for that names, tags and machines have for an architecture, e.g. `x64`, `arm32v7`, `aarch64`.
    pub fn of_word(word: &str) -> Option<Platform> {
        let (architecture, variant) = match word {
            "amd64" | "x64" | "x86_64" => ("amd64", ""),
            "i386" | "386" | "x86" => ("386", ""),
            "arm64" | "arm64v8" | "aarch64" => ("arm64", ""),
            "arm32" | "arm32v7" | "armv7" | "armhf" => ("arm", "v7"),
            "arm32v6" | "armv6" => ("arm", "v6"),
            "arm32v5" | "armv5" | "armel" => ("arm", "v5"),
            "arm" => ("arm", ""),
            "ppc64le" | "s390x" | "riscv64" => (word, ""),
            _ => return None,
        };
        Some(Platform::linux(architecture, variant))
    }

    /// Whether an image for this runs on `node`.
    pub fn suits(&self, node: &Platform) -> bool {
        let variant = |platform: &Platform| match (platform.architecture.as_str(), platform.variant.as_str()) {
            // That of which there is no other.
            ("arm64", "v8") => String::new(),
            (_, variant) => variant.to_owned(),
        };
        let (own, nodes) = (variant(self), variant(node));
        // A later variant of an architecture runs what was made for an earlier one.
        let is_early_enough = own.is_empty() || nodes.is_empty() || own <= nodes;
        self.os == node.os && self.architecture == node.architecture && is_early_enough
    }
}

/// Of these nodes, those on which nothing made for these platforms runs.
pub fn lacking<'a, T>(platforms: &[Platform], nodes: impl Iterator<Item = (T, &'a Platform)>) -> Vec<T> {
    let lacks = |node: &Platform| !platforms.iter().any(|platform| platform.suits(node));
    nodes.filter(|(_, node)| lacks(node)).map(|(name, _)| name).collect()
}

impl FromStr for Platform {
    type Err = NoPlatform;

    fn from_str(text: &str) -> Result<Self, NoPlatform> {
        let none = || NoPlatform(text.chars().take(80).collect());
        let good =
            |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(good) {
            return Err(none());
        }
        match parts.as_slice() {
            [word] => Platform::of_word(word).ok_or_else(none),
            [os, architecture] => Ok(Platform {
                os: (*os).to_owned(),
                ..Platform::of_word(architecture).unwrap_or_else(|| Platform::linux(architecture, ""))
            }),
            [os, architecture, variant] => Ok(Platform {
                os: (*os).to_owned(),
                ..Platform::linux(architecture, variant)
            }),
            _ => Err(none()),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn a_platform_is_read_as_it_is_written() {
        for text in ["linux/amd64", "linux/arm/v7", "windows/amd64", "linux/mips64le"] {
            assert_eq!(platform(text).to_string(), text);
        }
        assert_eq!(platform("arm32v7").to_string(), "linux/arm/v7");
        assert_eq!(platform("linux/x86_64").to_string(), "linux/amd64");
        for bad in ["", "/", "linux/", "linux/a b", "a/b/c/d", "nonsense"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_node_runs_what_was_made_for_it_and_for_those_before_it() {
        let suits = |image: &str, node: &str| platform(image).suits(&platform(node));
        assert!(suits("linux/arm/v6", "linux/arm/v7"));
        assert!(!suits("linux/arm/v7", "linux/arm/v6"));
        assert!(suits("linux/arm", "linux/arm/v6"));
        assert!(suits("linux/arm64/v8", "linux/arm64"));
        assert!(!suits("linux/amd64", "linux/arm64"));
        assert!(!suits("windows/amd64", "linux/amd64"));
    }

    #[test]
    fn nodes_that_lack_theirs_are_named() {
        let (amd, arm) = (platform("linux/amd64"), platform("linux/arm64"));
        let nodes = [("a", &amd), ("b", &arm)];
        assert_eq!(lacking(std::slice::from_ref(&arm), nodes.into_iter()), ["a"]);
        assert_eq!(
            lacking(&[amd.clone(), arm.clone()], nodes.into_iter()),
            Vec::<&str>::new()
        );
        assert_eq!(lacking(&[], nodes.into_iter()), ["a", "b"]);
    }
}
