//! From a directory to every node: images built, published, put under one name for several architectures, and checked.

use std::time::Duration;

use serde_json::Value;
use tests::harness::{Cluster, LIMIT, Machine, base_image, until};

type Story = anyhow::Result<()>;

const NAME: &str = "core:5000/exampleco/multi";

/// A cluster with the registry, and on its core a directory with two recipes: one has stages, one is for another machine.
fn with_directory() -> Cluster {
    let cluster = Cluster::paired();
    let core = &cluster.core;
    core.run(&["systemctl", "start", "docker"]).ok();
    core.load_image(&base_image());
    core.kato(&["registry", "setup"]).ok();
    let x64 = format!(
        "FROM {0} AS build\nARG WORD=none\nLABEL stage=build\nCOPY hello /made\n\
         FROM {0}\nLABEL io.fence.story=x64\nCOPY --from=build /made /hello\nCMD [\"start.sh\"]\n",
        base_image()
    );
    write(core, "Dockerfile.x64", &x64);
    write(
        core,
        "Dockerfile.arm64",
        "FROM scratch\nCOPY hello /hello\nENTRYPOINT [\"/hello\"]\n",
    );
    write(core, "hello", "hello\n");
    write(core, "secret", "not for an image\n");
    write(core, ".dockerignore", "secret\n");
    cluster
}

fn write(machine: &Machine, file: &str, text: &str) {
    machine.run(&["mkdir", "-p", "/ctx"]).ok();
    machine
        .run(&["sh", "-c", "printf %s \"$2\" >\"/ctx/$1\"", "sh", file, text])
        .ok();
}

/// Both images are built, named by their scheme and published.
fn publish_both(core: &Machine) {
    let built = core.kato(&[
        "image",
        "build",
        "-f",
        "Dockerfile.x64",
        "-t",
        "exampleco/multi:cpy-amd64",
        "/ctx",
    ]);
    assert_eq!(built.ok().trim(), format!("{NAME}:cpy-amd64"));
    let arm = [
        "-f",
        "Dockerfile.arm64",
        "--platform",
        "linux/arm64",
        "-t",
        "arm64v8/multi",
        "/ctx",
    ];
    core.kato(&[&["image", "build"], arm.as_slice()].concat()).ok();
    core.kato(&["image", "tag", "arm64v8/multi", "exampleco/multi:cpy-slim-arm64"])
        .ok();
    let pushed = core
        .kato(&[
            "image",
            "push",
            "exampleco/multi:cpy-amd64",
            "exampleco/multi:cpy-slim-arm64",
        ])
        .ok();
    assert_eq!(pushed.lines().count(), 2, "{pushed}");
    assert!(pushed.lines().all(|line| line.contains(" sha256:")), "{pushed}");
}

#[test]
fn one_name_has_an_image_for_each_architecture() -> Story {
    let cluster = with_directory();
    let Cluster { core, one, two, .. } = &cluster;
    // Without a name it is known by its id; and what the patterns leave out is not in it.
    write(core, ".dockerignore", "# none of these\nse[a-d]ret\n");
    write(core, "Dockerfile.all", "FROM scratch\nCOPY . /\n");
    let id = core.kato(&["image", "build", "-f", "./Dockerfile.all", "/ctx"]).ok();
    assert!(id.starts_with("sha256:") && id.lines().count() == 1, "{id}");
    let within = "docker create --name all \"$1\" x >/dev/null && docker export all | tar -t";
    let files = core.run(&["sh", "-c", within, "sh", id.trim()]).ok();
    let has = |file: &str| files.lines().any(|line| line == file);
    assert!(has("hello") && has("Dockerfile.x64") && !has("secret"), "{files}");
    publish_both(core);
    let made = core
        .kato(&[
            "image",
            "index",
            "create",
            "exampleco/multi:latest",
            "--from",
            "exampleco/multi:cpy-amd64",
            "--from",
            "exampleco/multi:cpy-slim-arm64",
        ])
        .ok();
    assert!(made.starts_with(&format!("{NAME}:latest sha256:")), "{made}");
    assert_eq!(core.platforms_of("exampleco/multi:latest"), ["amd64", "arm64"]);
    let spec = "image: exampleco/multi:spec\ntags: ['1']\nmanifests:\n  - image: exampleco/multi:cpy-amd64\n    platform: \
                {architecture: amd64, os: linux}\n  - image: exampleco/multi:cpy-slim-arm64\n    platform: \
                {architecture: arm64, os: linux}\n";
    write(core, "multi.yml", spec);
    core.kato(&["image", "index", "create", "--spec", "/ctx/multi.yml"])
        .ok();
    assert_eq!(core.platforms_of("exampleco/multi:1"), ["amd64", "arm64"]);

    // Each node takes its own from the one name.
    let logged_in = || one.run(&["docker", "pull", &format!("{NAME}:latest")]).code == 0;
    until("dea1 has pulled the name", LIMIT, || logged_in().then_some(()));
    assert_eq!(one.architecture_of(&format!("{NAME}:latest")), "amd64");
    core.kato(&["config", "set", "fence", "docker/image", &format!("{NAME}:latest")])
        .ok();
    until("dea2 has pulled it as configured", LIMIT, || {
        (two.architecture_of(&format!("{NAME}:latest")) == "amd64").then_some(())
    });
    until("a container can be made of it", LIMIT, || {
        (two.kato(&["container", "create"]).code == 0).then_some(())
    });

    // A name without theirs is refused before anything changes, with whom it concerns.
    core.kato(&[
        "image",
        "index",
        "create",
        "armonly:1",
        "--from",
        "exampleco/multi:cpy-slim-arm64",
    ])
    .ok();
    let set = core.kato(&["config", "set", "fence", "docker/image", "core:5000/armonly:1"]);
    set.refused(3, "nothing for the architecture of dea1, dea2");
    for word in ["pull", "rollout"] {
        let refusal = core.kato(&["image", word, "armonly:1"]);
        refusal.refused(3, "nothing for the architecture of dea1, dea2");
    }
    let configured = core.kato(&["config", "get", "fence", "docker/image"]).ok();
    assert_eq!(configured.trim(), format!("{NAME}:latest"));
    let inspected = core.kato_json(&["image", "inspect", "armonly:1"]);
    assert_eq!(inspected["lacking"], serde_json::json!(["dea1", "dea2"]));

    // What is a mistake is one before anything is published.
    core.kato(&["image", "tag", "exampleco/multi:cpy-amd64", "exampleco/multi:cpy-arm32"])
        .ok();
    core.kato(&["image", "push", "exampleco/multi:cpy-arm32"]).ok();
    let create = |froms: &[&str]| {
        let froms: Vec<&str> = froms.iter().flat_map(|from| ["--from", from]).collect();
        core.kato(&[&["image", "index", "create", "mistake:1"], froms.as_slice()].concat())
    };
    create(&["exampleco/multi:cpy-arm32"]).refused(3, "by its name for linux/arm/v7");
    create(&["exampleco/multi:cpy-amd64", "exampleco/multi:latest"]).refused(3, "two of the images");
    create(&["nothing:1"]).refused(4, "does not exist");
    core.kato(&["image", "inspect", "mistake:1"])
        .refused(4, "does not exist");
    let all = core.kato(&["image", "list"]).ok();
    assert!(all.contains("cpy-slim-arm64") && !all.contains("mistake"), "{all}");
    // A node sees, and does not publish.
    one.kato(&["image", "inspect", "exampleco/multi"]).ok();
    one.kato(&["image", "push", "exampleco/multi:latest"])
        .refused(3, "denied");
    Ok(())
}

#[test]
fn what_is_not_what_its_digest_says_is_refused() -> Story {
    let cluster = with_directory();
    let Cluster { core, one, .. } = &cluster;
    publish_both(core);
    let shown = core.kato_json(&["image", "inspect", "exampleco/multi:cpy-amd64"]);
    let spoil = |digest: &Value| {
        let hex = digest.as_str().unwrap_or_default().replace("sha256:", "");
        let blobs = "/var/lib/kato/registry/data/docker/registry/v2/blobs/sha256";
        let file = format!("{blobs}/{}/{hex}/data", &hex[..2]);
        core.run(&[
            "sh",
            "-c",
            "byte=$(od -An -tu1 -j40 -N1 \"$1\"); printf \"\\\\$(printf %03o $((255 - byte)))\" | dd of=\"$1\" bs=1 seek=40 conv=notrunc",
            "sh",
            &file,
        ])
        .ok();
    };
    let layers = shown["images"][0]["layers"].as_array().cloned().unwrap_or_default();
    spoil(&layers[layers.len() - 1]);
    // A node that is not logged in yet is refused as well, and each store of Docker has its own words for what came.
    let pull = || one.run(&["docker", "pull", &format!("{NAME}:cpy-amd64")]);
    until("the pull is refused for what came", Duration::from_secs(60), || {
        let said = pull();
        assert_ne!(said.code, 0);
        let words = said.err().to_lowercase();
        let other = [
            "unauthorized",
            "denied",
            "certificate",
            "connection",
            "not found",
            "timeout",
            "no such host",
        ];
        (!other.iter().any(|other| words.contains(other))).then_some(())
    });
    let there = one.run(&["docker", "image", "inspect", &format!("{NAME}:cpy-amd64")]);
    assert_ne!(there.code, 0, "nothing of it is kept");
    spoil(&shown["digest"]);
    let said = core.kato(&["image", "inspect", "exampleco/multi:cpy-amd64"]);
    assert_ne!(said.code, 0, "{}", said.out());
    Ok(())
}
