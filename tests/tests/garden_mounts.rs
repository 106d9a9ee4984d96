//! Garden: folders and files of the node inside containers.

use std::fs;
use std::path::Path;

use tests::garden::{BindMount, ContainerSpec, ProcessSpec};
use tests::harness::Node;

type Story = anyhow::Result<()>;

fn mount(source: &Path, target: &str, mode: u8) -> BindMount {
    BindMount {
        src_path: source.display().to_string(),
        dst_path: target.into(),
        mode,
    }
}

#[test]
fn a_mount_is_read_only_unless_asked_for() -> Story {
    let node = Node::fence_only();
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("note"), "from the node\n")?;
    let bind_mounts = vec![mount(folder.path(), "/mnt/ro", 0), mount(folder.path(), "/mnt/rw", 1)];
    let web = node.container(&ContainerSpec {
        bind_mounts,
        ..ContainerSpec::default()
    })?;
    assert_eq!(
        web.shell("cat /mnt/ro/note /mnt/rw/note")?,
        "from the node\nfrom the node\n"
    );
    let (status, _, stderr) = web.output(&ProcessSpec::script("echo x > /mnt/ro/new"))?;
    assert!(status != 0 && stderr.contains("Read-only"), "{status}: {stderr}");
    web.shell("echo from the container > /mnt/rw/new")?;
    assert_eq!(fs::read_to_string(folder.path().join("new"))?, "from the container\n");
    Ok(())
}

#[test]
fn a_file_can_be_mounted_and_outlives_the_container() -> Story {
    let node = Node::fence_only();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("settings");
    fs::write(&file, "a = 1\n")?;
    let bind_mounts = vec![mount(&file, "/etc/app/settings", 1)];
    let web = node.container(&ContainerSpec {
        handle: "web".into(),
        bind_mounts,
        ..ContainerSpec::default()
    })?;
    web.shell("echo b = 2 >> /etc/app/settings")?;
    web.garden.destroy("web")?;
    assert_eq!(fs::read_to_string(&file)?, "a = 1\nb = 2\n");
    Ok(())
}

#[test]
fn a_mount_that_cannot_be_fails_the_create_and_leaves_nothing() -> Story {
    let node = Node::fence_only();
    let missing = node.root().join("not/there");
    for bind_mounts in [
        vec![mount(&missing, "/mnt/a", 0)],
        vec![mount(Path::new("relative"), "/mnt/a", 0)],
        vec![mount(Path::new("/etc"), "/mnt/../../a", 0)],
        vec![mount(Path::new("/etc"), "/.fence/run", 1)],
        vec![mount(Path::new("/etc"), "/", 1)],
    ] {
        let shown = format!("{bind_mounts:?}");
        assert!(
            node.garden()
                .create(&ContainerSpec {
                    bind_mounts,
                    ..ContainerSpec::default()
                })
                .is_err(),
            "{shown}"
        );
    }
    assert!(!missing.exists(), "a source that is missing is not made");
    assert_eq!(node.containers_in_docker(), Vec::<String>::new());
    assert_eq!(node.garden().list(&[])?, Vec::<String>::new());
    Ok(())
}
