//! The images that stories make containers of: the base image by its recipe, and further ones on top of it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use uuid::Uuid;

use super::command::run;
use super::docker::docker;
use super::programs::{lock, target_dir, workspace};

/// The configured image of a new cluster, built by its recipe once per test run.
pub fn base_image() -> String {
    static BUILT: OnceLock<String> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let name = format!("fence/base:{}", env!("CARGO_PKG_VERSION"));
            let _lock = lock("base-image");
            let stamp = stamp();
            if !stamp.as_ref().is_some_and(|stamp| stamp.exists()) {
                let built =
                    run(Command::new(workspace().join("packaging/base-image/build")).args(["--tag", &name])).ok();
                assert_eq!(built.trim(), name, "what packaging/base-image/build prints");
                if let Some(stamp) = stamp {
                    fs::write(&stamp, "")
                        .unwrap_or_else(|error| panic!("could not write {}: {error}", stamp.display()));
                }
            }
            name
        })
        .clone()
}

/// A new image on top of the base image, removed when dropped.
pub struct DerivedImage {
    pub name: String,
}

/// Make an image of the base image and these lines of a Dockerfile.
pub fn derived_image(lines: &str) -> DerivedImage {
    let name = format!("exampleco/story-{}:1.0.0", Uuid::new_v4().simple());
    let context = tempfile::tempdir().unwrap_or_else(|error| panic!("could not make a folder: {error}"));
    let dockerfile = format!("FROM {}\n{lines}\n", base_image());
    fs::write(context.path().join("Dockerfile"), dockerfile).unwrap_or_else(|error| panic!("could not write: {error}"));
    run(Command::new("docker")
        .args(["build", "-q", "-t", &name, "."])
        .current_dir(context.path()))
    .ok();
    DerivedImage { name }
}

impl Drop for DerivedImage {
    fn drop(&mut self) {
        // A container may still use it where the story failed; the node's own drop comes first where it did not.
        docker(&["rmi", "-f", &self.name]);
    }
}

/// Says that this test run has built the image; without a run's id each process builds it.
fn stamp() -> Option<PathBuf> {
    let run = std::env::var("NEXTEST_RUN_ID").ok()?;
    Some(target_dir().join("story-locks").join(format!("base-image-{run}")))
}
