//! The images that stories make containers of: the base image and the node's by their recipes, and further ones on top of the
//! base image.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use uuid::Uuid;

use super::command::run;
use super::docker::docker;
use super::programs::{fence_init, lock, program, target_dir, workspace};

/// The configured image of a new cluster, built by its recipe once per test run.
pub fn base_image() -> String {
    static BUILT: OnceLock<String> = OnceLock::new();
    let name = || format!("fence/base:{}", env!("CARGO_PKG_VERSION"));
    BUILT.get_or_init(|| built("base-image", &name(), &[])).clone()
}

/// The image of a node, of the programs under test, built by its recipe once per test run.
pub fn node_image() -> String {
    static BUILT: OnceLock<String> = OnceLock::new();
    let build = || {
        let programs = ["kato", "fence", "registry-bootstrap"].map(program);
        let place = programs[0].parent().unwrap_or(Path::new("/")).display().to_string();
        fence_init();
        built("node-image", "fence/node:story", &["--programs", &place])
    };
    BUILT.get_or_init(build).clone()
}

/// Build an image by its recipe in `packaging`, unless this test run has.
fn built(recipe: &str, name: &str, arguments: &[&str]) -> String {
    let _lock = lock(recipe);
    let stamp = stamp(recipe);
    if !stamp.as_ref().is_some_and(|stamp| stamp.exists()) {
        let build = workspace().join("packaging").join(recipe).join("build");
        let said = run(Command::new(build).args(["--tag", name]).args(arguments)).ok();
        assert_eq!(said.trim(), name, "what packaging/{recipe}/build prints");
        if let Some(stamp) = stamp {
            fs::write(&stamp, "").unwrap_or_else(|error| panic!("could not write {}: {error}", stamp.display()));
        }
    }
    name.to_owned()
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
fn stamp(recipe: &str) -> Option<PathBuf> {
    let run = std::env::var("NEXTEST_RUN_ID").ok()?;
    Some(target_dir().join("story-locks").join(format!("{recipe}-{run}")))
}
