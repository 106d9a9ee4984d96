//! Finds the programs under test: beside the test's own executable, where cargo puts what it builds.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The checkout.
pub fn workspace() -> PathBuf {
    // CARGO_MANIFEST_DIR is the folder `tests` in it.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// One of the workspace's programs. Builds them where they are missing; whoever changed them builds them before.
pub fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let path = target_dir().join(name);
    BUILT.get_or_init(|| {
        if !path.exists() {
            build();
        }
    });
    assert!(
        path.exists(),
        "there is no {}: cargo build -p fence -p kato -p registry-bootstrap",
        path.display()
    );
    path
}

/// The daemon with fault points, which has a place of its own; `./test faults` builds it.
pub fn program_with_faults() -> PathBuf {
    let path = target_dir().with_file_name("faults").join("fence");
    assert!(path.exists(), "there is no {}: tests/faults/build", path.display());
    path
}

/// The static fence-init; `./test` builds it and says where.
pub fn fence_init() -> PathBuf {
    let build = "cargo rustc -p fence-init --bin fence-init --profile init -- -C target-feature=+crt-static \
                 && export FENCE_INIT=$PWD/target/init/fence-init";
    let path = std::env::var_os("FENCE_INIT").map(PathBuf::from);
    let path = path.unwrap_or_else(|| panic!("FENCE_INIT does not say where fence-init is: {build}"));
    assert!(path.is_file(), "FENCE_INIT={} is not there: {build}", path.display());
    path
}

/// Debian's registry, which a test machine without another gets from this one.
pub fn debians_registry() -> PathBuf {
    let path = PathBuf::from("/usr/bin/docker-registry");
    assert!(
        path.is_file(),
        "there is no {}: apt-get install docker-registry && systemctl disable --now docker-registry",
        path.display()
    );
    path
}

/// A file below the target folder on which processes of one test run lock each other out.
pub fn lock(name: &str) -> File {
    let folder = target_dir().join("story-locks");
    let file = fs::create_dir_all(&folder).and_then(|()| File::create(folder.join(name)));
    let file = file.unwrap_or_else(|error| panic!("could not make {}/{name}: {error}", folder.display()));
    file.lock()
        .unwrap_or_else(|error| panic!("could not lock {}/{name}: {error}", folder.display()));
    file
}

/// `target/debug` or `target/release`: tests lie in `deps` below it, programs in it.
pub fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_else(|error| panic!("could not tell this program's place: {error}"));
    let folder = exe.parent().unwrap_or(Path::new("/"));
    let folder = if folder.ends_with("deps") {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    };
    folder.to_path_buf()
}

fn build() {
    let _lock = lock("build");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "-p", "fence", "-p", "kato", "-p", "registry-bootstrap"])
        .current_dir(workspace());
    if target_dir().ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo
        .status()
        .unwrap_or_else(|error| panic!("could not run cargo: {error}"));
    assert!(
        status.success(),
        "cargo build -p fence -p kato -p registry-bootstrap failed: {status}"
    );
}
