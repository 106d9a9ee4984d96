//! The administrator changes the image that containers are made of.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tests::garden::ContainerSpec;
use tests::harness::{LIMIT, Node, base_image, derived_image, docker, is_alive, run, until};

type Story = anyhow::Result<()>;

/// What `kato container create` makes its container of.
fn image_of_next(node: &Node) -> anyhow::Result<Value> {
    let handle = node.kato(&["container", "create"]).ok();
    Ok(node.shown(handle.trim())?["image"].clone())
}

fn image_status(node: &Node) -> anyhow::Result<Value> {
    Ok(node.status()?["image"].clone())
}

#[test]
fn the_next_container_uses_it_and_old_ones_stay() -> Story {
    let image = derived_image("RUN echo new > /mark");
    let node = Node::fence_only();
    let old = node.container(&ContainerSpec::default())?;
    let first = node.first_pid(&old.handle);
    let set = node
        .kato(&["config", "set", "fence", "docker/image", &image.name])
        .expect_code(0);
    assert_eq!(
        (set.out(), set.err()),
        (format!("{}\n", image.name), "WARNING: Assumed type string\n".into())
    );

    let handle = node.kato(&["container", "create"]).ok();
    assert_eq!(node.shown(handle.trim())?["image"], image.name);
    assert_eq!(
        node.kato(&["container", "run", handle.trim(), "--", "cat", "/mark"])
            .ok(),
        "new\n"
    );

    assert!(
        is_alive(first) && node.first_pid(&old.handle) == first,
        "the old container goes on"
    );
    assert_eq!(node.shown(&old.handle)?["image"], base_image());
    assert_eq!(old.shell("test ! -e /mark && echo old")?, "old\n");
    drop(node);
    Ok(())
}

#[test]
fn of_a_list_the_first_that_is_there_is_used() -> Story {
    let image = derived_image("ENV A=b");
    let node = Node::fence_only();
    let list = format!("[\"exampleco/not-there:1\", \"{}\"]", image.name);
    let set = node
        .kato(&["config", "set", "fence", "docker/images", &list])
        .expect_code(0);
    assert_eq!(set.out(), format!("- exampleco/not-there:1\n- {}\n", image.name));
    assert_eq!(set.err(), "WARNING: Assumed type struct\n");
    node.wait_for_image(&image.name);
    assert_eq!(image_of_next(&node)?, image.name);
    drop(node);
    Ok(())
}

#[test]
fn a_missing_image_leaves_the_previous_one_in_use_and_is_told() -> Story {
    let node = Node::fence_only();
    node.kato(&["config", "set", "fence", "docker/image", "exampleco/not-there:1"])
        .ok();
    let image = until("fence tells that the image is missing", LIMIT, || {
        image_status(&node).ok().filter(|image| image["state"] == "missing")
    });
    assert_eq!(image["in_use"], base_image());
    assert_eq!(image["configured"], serde_json::json!(["exampleco/not-there:1"]));
    assert!(
        image["problem"]
            .as_str()
            .is_some_and(|text| text.contains("exampleco/not-there:1")),
        "{image}"
    );
    assert_eq!(image_of_next(&node)?, base_image());

    docker::docker(&["tag", &base_image(), "exampleco/not-there:1"]).ok();
    let used = until("it is used as soon as it is there", LIMIT, || {
        image_status(&node)
            .ok()
            .filter(|image| image["in_use"] == "exampleco/not-there:1")
    });
    docker::docker(&["rmi", "exampleco/not-there:1"]).ok();
    assert_eq!(
        (used["state"].as_str(), used["problem"].as_str()),
        (Some("ok"), Some(""))
    );
    Ok(())
}

#[test]
fn a_value_that_is_no_image_changes_nothing() -> Story {
    let node = Node::fence_only();
    for value in ["", "Upper/Case", "a b", "[]", "[1]", "{\"a\": 1}", "-x"] {
        let refused = node.kato(&["config", "set", "fence", "docker/image", "--", value]);
        assert_eq!(
            (refused.code, refused.out().as_str()),
            (3, ""),
            "{value:?}: {}",
            refused.err()
        );
        assert!(refused.err().contains("docker/image"), "{value:?}: {}", refused.err());
    }
    assert_eq!(
        node.kato(&["config", "get", "fence", "docker/image"]).ok(),
        format!("{}\n", base_image())
    );
    Ok(())
}

/// Word for word but for what cannot be here: a build context that Docker insists on, a RUN line without a network.
#[test]
fn the_documented_procedure_works_word_for_word() -> Story {
    let node = Node::micro();
    let newimg = tempfile::tempdir()?;
    let _removed = Removed("exampleco/newimg:1.0.0");

    let current = node.kato(&["config", "get", "fence", "docker/image"]).ok();
    assert_eq!(current, format!("{}\n", base_image()));
    let dockerfile = format!(
        "FROM {}RUN mkdir -p /usr/lib && touch /usr/lib/libgraphite2.so\nCMD [\"start.sh\"]\n",
        current
    );
    fs::write(newimg.path().join("Dockerfile"), dockerfile)?;
    run(Command::new("docker")
        .args(["build", "-t", "exampleco/newimg:1.0.0", "."])
        .current_dir(newimg.path()))
    .ok();
    let set = node
        .kato(&["config", "set", "fence", "docker/image", "exampleco/newimg:1.0.0"])
        .expect_code(0);
    assert_eq!(set.err(), "WARNING: Assumed type string\n");
    assert_eq!(set.out(), "exampleco/newimg:1.0.0\n");
    node.kato(&["process", "restart", "fence"]).ok();

    let handle = node.kato(&["container", "create", "--start"]).ok();
    assert_eq!(node.shown(handle.trim())?["image"], "exampleco/newimg:1.0.0");
    node.kato(&[
        "container",
        "run",
        handle.trim(),
        "--",
        "test",
        "-e",
        "/usr/lib/libgraphite2.so",
    ])
    .ok();
    assert_eq!(
        node.kato(&["config", "get", "fence", "docker/image"]).ok(),
        "exampleco/newimg:1.0.0\n"
    );
    drop(node);
    Ok(())
}

/// An image that goes when the story is over.
struct Removed(&'static str);

impl Drop for Removed {
    fn drop(&mut self) {
        docker::docker(&["rmi", "-f", self.0]);
    }
}
