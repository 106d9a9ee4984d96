//! Names of images: those without a registry are the cluster's, and some say for what they are made. Pure.
//!
//! Understood are `NAME:<flavour>[-slim]-<arch>`, `NAME:<arch>` and `<arch>/NAME`.

use engine::ImageName;

use crate::platform::Platform;
use crate::{Error, Result};

/// The name with its registry, the cluster's at `location` where it names none.
pub fn full(name: &str, location: &str) -> Result<ImageName> {
    let parsed = parse(name)?;
    // Docker's own registry is left out of a parsed name, as Docker does; here it was meant.
    let is_dockers = name.starts_with("docker.io/") || name.starts_with("index.docker.io/");
    if parsed.registry().is_some() || is_dockers || location.is_empty() {
        return Ok(parsed);
    }
    parse(&format!("{location}/{name}"))
}

/// A name that must be one.
pub fn parse(name: &str) -> Result<ImageName> {
    name.parse()
        .map_err(|bad: engine::BadName| Error::failed(format!("use the image name {name:?}"), bad))
}

/// The name below its registry.
pub fn repository(name: &ImageName) -> &str {
    let whole = name.repository();
    let path = name.registry().and_then(|registry| whole.strip_prefix(registry));
    path.map_or(whole, |path| path.trim_start_matches('/'))
}

/// By what the registry finds it: its digest, or its tag.
pub fn reference(name: &ImageName) -> &str {
    name.digest().or(name.tag()).unwrap_or("latest")
}

/// For what an image is made, as far as its name says so.
pub fn platform(name: &ImageName) -> Option<Platform> {
    let by_tag = name.tag().and_then(|tag| {
        let last = tag.rsplit('-').next()?;
        Platform::of_word(last)
    });
    by_tag.or_else(|| {
        let (first, _) = repository(name).split_once('/')?;
        Platform::of_word(first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full_of(name: &str) -> String {
        full(name, "core:5000").unwrap().to_string()
    }

    #[test]
    fn a_name_without_a_registry_is_the_clusters() {
        assert_eq!(full_of("team/app:1"), "core:5000/team/app:1");
        assert_eq!(full_of("app"), "core:5000/app:latest");
        assert_eq!(full_of("other:5000/app:1"), "other:5000/app:1");
        assert!(!full_of("docker.io/library/busybox").starts_with("core:5000/"));
        assert_eq!(full("app", "").unwrap().to_string(), "app:latest");
        assert!(full("Not A Name", "core:5000").is_err());
        assert_eq!(repository(&full("team/app:1", "core:5000").unwrap()), "team/app");
        assert_eq!(repository(&full("app", "").unwrap()), "app");
    }

    #[test]
    fn a_name_may_say_for_what_it_is_made() {
        let of = |name: &str| platform(&full(name, "core:5000").unwrap()).map(|platform| platform.to_string());
        for (name, expected) in [
            ("crossbario/crossbarfx:pypy-amd64", Some("linux/amd64")),
            ("crossbario/crossbarfx:pypy-i386", Some("linux/386")),
            ("crossbario/crossbarfx:cpy-slim-arm64", Some("linux/arm64")),
            ("crossbario/crossbarfx:cpy-slim-arm32", Some("linux/arm/v7")),
            ("arm32v7/dockercat", Some("linux/arm/v7")),
            ("landswellsong/dockercat:arm32v7", Some("linux/arm/v7")),
            ("landswellsong/dockercat:latest", None),
            ("amd64", None),
        ] {
            assert_eq!(of(name).as_deref(), expected, "{name}");
        }
    }
}
