//! The config store saved and restored, with Debian's etcd.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use cluster::store::etcd::EndpointsFile;

use crate::harness::{Node, until};

fn image(core: &Node) -> String {
    core.done(&["config", "get", "fence", "docker/image"])
}

#[test]
fn a_core_goes_back_to_what_a_snapshot_has() {
    let core = Node::core();
    core.done(&["config", "set", "fence", "docker/image", "before:1"]);
    core.done(&["config", "set", "fence", "registry/password", "hunter2"]);
    let file = core.root().join("fence.snapshot");
    let path = file.display().to_string();
    core.done(&["data", "snapshot", &path]);
    assert_eq!(
        fs::metadata(&file).expect("a snapshot").permissions().mode() & 0o777,
        0o600
    );
    assert!(core.refused(3, &["data", "snapshot", &path]).contains("--force"));
    core.done(&["config", "set", "fence", "docker/image", "after:1"]);
    assert!(
        core.refused(3, &["data", "restore", &path])
            .contains("kato process stop config")
    );
    core.done(&["process", "stop", "config"]);

    // What is not whole is refused before anything is touched.
    let mut spoilt = fs::read(&file).expect("a snapshot");
    spoilt[4096] ^= 1;
    let other = core.root().join("spoilt.snapshot");
    fs::write(&other, spoilt).expect("a file");
    let refused = core.refused(3, &["data", "restore", &other.display().to_string()]);
    assert!(refused.contains("its hash is not the one it says"), "{refused}");
    assert!(core.refused(4, &["data", "restore", "/nowhere"]).contains("/nowhere"));

    // Another member would go on with what it has.
    let endpoints = core.paths().endpoints_file();
    let alone = EndpointsFile::read(&endpoints).expect("endpoints");
    let mut two = alone.clone();
    two.endpoints.push("https://192.0.2.1:2379".to_owned());
    two.write(&endpoints).expect("endpoints");
    let refused = core.refused(3, &["data", "restore", &path]);
    assert!(
        refused.contains("https://192.0.2.1:2379") && refused.contains("role remove config"),
        "{refused}"
    );

    core.done(&["data", "restore", "--others-are-stopped", &path]);
    assert_eq!(
        EndpointsFile::read(&endpoints).expect("endpoints").endpoints,
        alone.endpoints
    );
    until("the store answers", || {
        core.kato(&["config", "get", "fence"]).status.success()
    });
    assert_eq!(image(&core), "before:1");
    let revealed = core.done(&["config", "get", "--reveal", "fence", "registry/password"]);
    assert_eq!(revealed, "hunter2");
    let kept = fs::read_dir(core.paths().etcd()).expect("a directory").flatten();
    let kept = kept.filter(|entry| entry.file_name().to_string_lossy().starts_with("data.before-"));
    assert_eq!(kept.count(), 1);
    // It is a store like any other, and can be changed.
    core.done(&["config", "set", "fence", "docker/image", "again:1"]);
    assert_eq!(image(&core), "again:1");
}

#[test]
fn a_snapshot_is_the_cores_matter() {
    let core = Node::core();
    let node = Node::attached("edge", &core);
    for verb in ["snapshot", "restore"] {
        let refused = node.refused(3, &["data", verb, "/nowhere/x"]);
        assert!(refused.contains("is not the core"), "{refused}");
    }
}
