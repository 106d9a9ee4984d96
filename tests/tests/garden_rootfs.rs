//! Garden: where a container's files come from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tests::garden::{ContainerSpec, Error, ImageRef, ProcessSpec};
use tests::harness::{Node, base_image, derived_image, docker, run};

type Story = anyhow::Result<()>;

/// The files of the base image with a mark of their own, as a folder `root` and as `root.tar`, neither with any settings of an image.
fn files(mark: &str) -> anyhow::Result<(TempDir, PathBuf, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let (root, tar) = (folder.path().join("root"), folder.path().join("root.tar"));
    fs::create_dir(&root)?;
    let made = docker::docker(&["create", &base_image()]).ok();
    docker::docker(&["export", "-o", &tar.display().to_string(), made.trim()]).ok();
    docker::docker(&["rm", made.trim()]).ok();
    run(Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(&root)).ok();
    fs::write(root.join("mark"), mark)?;
    run(Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&root).arg(".")).ok();
    Ok((folder, root, tar))
}

fn of(uri: &str) -> ContainerSpec {
    ContainerSpec {
        image: ImageRef::of(uri),
        ..ContainerSpec::default()
    }
}

fn uri(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn an_empty_image_is_the_configured_one() -> Story {
    let node = Node::fence_only();
    let web = node.container(&ContainerSpec::default())?;
    assert_eq!(node.shown(&web.handle)?["image"], base_image());
    web.shell("test -x /usr/bin/start.sh")?;
    Ok(())
}

#[test]
fn a_docker_uri_is_an_image_of_the_nodes_docker() -> Story {
    let image = derived_image("RUN echo derived > /mark\nENV COLOUR=green");
    let (name, tag) = image.name.rsplit_once(':').unwrap_or_default();
    let node = Node::fence_only();
    for spec in [
        of(&format!("docker:///{name}#{tag}")),
        ContainerSpec {
            rootfs: format!("docker:///{name}#{tag}"),
            ..ContainerSpec::default()
        },
    ] {
        let web = node.container(&spec)?;
        assert_eq!(web.shell("cat /mark; echo $COLOUR")?, "derived\ngreen\n");
    }
    drop(node);
    Ok(())
}

#[test]
fn a_tar_file_is_one_too_and_has_the_default_path() -> Story {
    let (_folder, _, tar) = files("from a tar file")?;
    let node = Node::fence_only();
    let web = node.container(&of(&uri(&tar)))?;
    assert_eq!(
        web.shell("cat /mark; echo; echo $PATH")?,
        "from a tar file\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
    );
    let (_, stdout, _) = web.output(&ProcessSpec::script("echo $PATH").user("stackato"))?;
    assert_eq!(stdout, "/usr/local/bin:/usr/bin:/bin\n");
    Ok(())
}

#[test]
fn a_folder_is_one_too_and_stays_as_it_is() -> Story {
    let (_folder, root, _) = files("from a folder")?;
    let node = Node::fence_only();
    let (a, b) = (node.container(&of(&uri(&root)))?, node.container(&of(&uri(&root)))?);
    a.shell("echo changed > /mark; touch /new")?;
    assert_eq!(b.shell("cat /mark")?, "from a folder");
    assert_eq!(fs::read_to_string(root.join("mark"))?, "from a folder");
    assert!(!root.join("new").exists() && !b.shell("ls /")?.contains("new"));
    Ok(())
}

#[test]
fn a_changed_tar_file_is_read_again() -> Story {
    let (_folder, root, tar) = files("first")?;
    let node = Node::fence_only();
    assert_eq!(node.container(&of(&uri(&tar)))?.shell("cat /mark")?, "first");
    fs::write(root.join("mark"), "second")?;
    run(Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&root).arg(".")).ok();
    assert_eq!(node.container(&of(&uri(&tar)))?.shell("cat /mark")?, "second");
    Ok(())
}

#[test]
fn what_is_no_image_fails_the_create_and_leaves_nothing() -> Story {
    let folder = tempfile::tempdir()?;
    let (junk, cut) = (folder.path().join("junk.tar"), folder.path().join("cut.tar"));
    fs::write(&junk, "this is no archive".repeat(1000))?;
    let (_kept, _, tar) = files("whole")?;
    fs::write(&cut, &fs::read(&tar)?[..1_000_000])?;
    let node = Node::fence_only();
    for image in [
        uri(&junk),
        uri(&cut),
        uri(&node.root().join("not-there")),
        "docker:///".into(),
        "docker:///A B#c".into(),
        "docker:///exampleco/not-there#1".into(),
        "ftp://example/x".into(),
        "../relative".into(),
    ] {
        let error = node.garden().create(&of(&image)).unwrap_err();
        assert!(matches!(error, Error::Garden { .. }), "{image}: {error}");
        assert!(!error.to_string().is_empty(), "{image}");
    }
    assert_eq!(node.containers_in_docker(), Vec::<String>::new());
    assert_eq!(node.garden().list(&[])?, Vec::<String>::new());
    Ok(())
}
