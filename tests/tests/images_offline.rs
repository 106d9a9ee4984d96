//! Images in files: out of the registry with all their architectures, back into an empty one, and to and from Docker's own files.

use serde_json::Value;
use tests::harness::{Cluster, LIMIT, Machine, base_image, until};

type Story = anyhow::Result<()>;

const NAME: &str = "core:5000/exampleco/multi";

/// A cluster whose registry has one name for two architectures.
fn with_images() -> Cluster {
    let cluster = Cluster::paired();
    let core = &cluster.core;
    core.run(&["systemctl", "start", "docker"]).ok();
    core.load_image(&base_image());
    core.kato(&["registry", "setup"]).ok();
    let recipes = "mkdir -p /ctx; cd /ctx; echo hello >hello; printf 'FROM %s\\nCOPY hello /\\n' \"$1\" >Dockerfile.amd64; \
                   printf 'FROM scratch\\nCOPY hello /\\n' >Dockerfile.arm64";
    core.run(&["sh", "-c", recipes, "sh", &base_image()]).ok();
    for architecture in ["amd64", "arm64"] {
        let (file, name) = (
            format!("Dockerfile.{architecture}"),
            format!("exampleco/multi:{architecture}"),
        );
        let platform = format!("linux/{architecture}");
        core.kato(&[
            "image",
            "build",
            "-f",
            &file,
            "--platform",
            &platform,
            "-t",
            &name,
            "/ctx",
        ])
        .ok();
        core.kato(&["image", "push", &name]).ok();
    }
    let from = ["--from", "exampleco/multi:amd64", "--from", "exampleco/multi:arm64"];
    core.kato(&[&["image", "index", "create", "exampleco/multi:1"], from.as_slice()].concat())
        .ok();
    cluster
}

/// The digest and the architectures under a name.
fn shown(core: &Machine, name: &str) -> (Value, Vec<Value>) {
    let shown = core.kato_json(&["image", "inspect", name]);
    let images = shown["images"].as_array().cloned().unwrap_or_default();
    let architectures = images.iter().map(|image| image["platform"]["architecture"].clone());
    (shown["digest"].clone(), architectures.collect())
}

fn forget_all(core: &Machine) {
    core.kato(&["registry", "down", "--purge"]).ok();
    core.kato(&["registry", "setup"]).ok();
}

#[test]
fn images_go_through_a_file_with_all_their_architectures() -> Story {
    let cluster = with_images();
    let Cluster { core, one, .. } = &cluster;
    let before = shown(core, "exampleco/multi:1");
    assert_eq!(before.1, ["amd64", "arm64"]);
    core.run(&[
        "sh",
        "-c",
        "kato image save exampleco/multi:1 exampleco/multi:arm64 >/images.tar",
    ])
    .ok();

    // Docker takes the file as it is.
    let id = core
        .run(&["docker", "image", "inspect", "-f", "{{.Id}}", &format!("{NAME}:amd64")])
        .ok();
    core.run(&["docker", "load", "-i", "/images.tar"]).ok();
    let loaded = core
        .run(&["docker", "image", "inspect", "-f", "{{.Id}}", &format!("{NAME}:1")])
        .ok();
    assert_eq!(loaded, id);

    // An empty registry has all of it again, under the same digests, and nodes pull.
    forget_all(core);
    core.kato(&["image", "inspect", "exampleco/multi:1"])
        .refused(4, "does not exist");
    let said = core.kato(&["image", "load", "/images.tar"]).ok();
    assert_eq!(said.lines().count(), 2, "{said}");
    assert_eq!(shown(core, "exampleco/multi:1"), before);
    until("a node pulls what was loaded", LIMIT, || {
        (one.run(&["docker", "pull", &format!("{NAME}:1")]).code == 0).then_some(())
    });
    core.kato(&["image", "load", "/images.tar"]).ok();

    // What Docker saved goes in as well.
    core.run(&[
        "sh",
        "-c",
        &format!("docker save {NAME}:amd64 {} >/docker.tar", base_image()),
    ])
    .ok();
    forget_all(core);
    core.kato(&["image", "load", "/docker.tar"]).ok();
    one.run(&["docker", "rmi", "-f", &format!("{NAME}:1")]);
    until("a node pulls what Docker saved", LIMIT, || {
        (one.run(&["docker", "pull", &format!("{NAME}:amd64")]).code == 0).then_some(())
    });
    let pulled = one
        .run(&["docker", "image", "inspect", "-f", "{{.Id}}", &format!("{NAME}:amd64")])
        .ok();
    assert_eq!(pulled, id);
    Ok(())
}

#[test]
fn a_file_that_is_not_whole_gives_nothing_a_name() -> Story {
    let cluster = with_images();
    let Cluster { core, .. } = &cluster;
    core.kato(&["image", "save", "exampleco/multi:1", "-o", "/images.tar"])
        .ok();
    forget_all(core);
    // In the middle is a layer, near the end of the file are the names.
    core.run(&[
        "sh",
        "-c",
        "cp /images.tar /spoilt.tar; printf spoilt | dd of=/spoilt.tar bs=1 seek=200000 conv=notrunc; \
         head -c 300000 /images.tar >/short.tar; head -c 4000 /dev/urandom >/none.tar",
    ])
    .ok();
    core.kato(&["image", "load", "/spoilt.tar"])
        .refused(3, "not what its digest says");
    for bad in ["/short.tar", "/none.tar"] {
        let said = core.kato(&["image", "load", bad]);
        assert!(matches!(said.code, 1 | 3), "{bad}: {} {}", said.code, said.err());
    }
    core.kato(&["image", "load", "/nothing.tar"])
        .refused(4, "there is no file");
    let all = core.kato(&["image", "list"]).ok();
    assert!(!all.contains("multi"), "{all}");
    // Nor is a file written whole of what the registry has wrongly.
    core.kato(&["image", "load", "/images.tar"]).ok();
    let layer = core.kato_json(&["image", "inspect", "exampleco/multi:1"])["images"][0]["layers"][0].clone();
    let hex = layer.as_str().unwrap_or_default().replace("sha256:", "");
    let file = format!(
        "/var/lib/kato/registry/data/docker/registry/v2/blobs/sha256/{}/{hex}/data",
        &hex[..2]
    );
    core.run(&[
        "sh",
        "-c",
        "printf x | dd of=\"$1\" bs=1 seek=40 conv=notrunc",
        "sh",
        &file,
    ])
    .ok();
    core.kato(&["image", "save", "exampleco/multi:1", "-o", "/again.tar"])
        .refused(3, "not what its digest says");
    core.kato(&["image", "save", "exampleco/nothing:1", "-o", "/again.tar"])
        .refused(4, "does not exist");
    let left = core.run(&["sh", "-c", "ls / | grep again"]).out();
    assert_eq!(left, "", "no file is there that is not whole");
    let said = core.kato(&["image", "save", "exampleco/nothing:1"]).expect_code(4);
    assert_eq!(said.out(), "");
    Ok(())
}
