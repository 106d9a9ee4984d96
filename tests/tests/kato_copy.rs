//! `kato container copy` and `stats`, against a real fence.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use tests::garden::ContainerSpec;
use tests::harness::tar::{Member, Tar, names};
use tests::harness::{ContainerOf, Node};

type Story = anyhow::Result<()>;

fn container(node: &Node) -> anyhow::Result<ContainerOf> {
    Ok(node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?)
}

#[test]
fn files_go_there_and_back() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let here = tempfile::tempdir()?;
    let path = |name: &str| here.path().join(name).display().to_string();
    fs::create_dir_all(path("app/empty"))?;
    fs::write(path("app/run"), vec![7; 300_000])?;
    fs::set_permissions(path("app/run"), fs::Permissions::from_mode(0o750))?;
    symlink("run", path("app/link"))?;
    node.kato(&["container", "copy", &path("app"), "web:/srv"]).ok();
    assert_eq!(
        web.shell("cd /srv/app; ls; stat -c '%s %a %u' run; readlink link")?,
        "empty\nlink\nrun\n300000 750 0\nrun\n"
    );
    node.kato(&[
        "container",
        "copy",
        "-u",
        "stackato",
        &format!("{}/", path("app")),
        "web:mine",
    ])
    .ok();
    assert_eq!(web.shell("stat -c '%U %a' /home/stackato/mine/run")?, "stackato 750\n");
    node.kato(&["container", "copy", "web:/srv/app", &path("back")]).ok();
    assert_eq!(fs::read(path("back/app/run"))?, vec![7; 300_000]);
    assert_eq!(fs::metadata(path("back/app/run"))?.mode() & 0o7777, 0o750);
    node.kato(&["container", "copy", "web:/srv/app/", &path("flat")]).ok();
    assert!(fs::metadata(path("flat/empty"))?.is_dir());
    // Archives on kato's own streams.
    let packed = node
        .kato(&["container", "copy", "web:/srv/app/", "-"])
        .expect_code(0)
        .stdout;
    assert_eq!(names(&packed), ["./", "./empty/", "./link", "./run"]);
    node.kato_with_input(&["container", "copy", "-", "web:/opt"], &packed)
        .ok();
    assert_eq!(web.shell("stat -c %s /opt/run")?, "300000\n");
    Ok(())
}

#[test]
fn what_comes_out_of_a_container_gets_no_rights_here() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let here = tempfile::tempdir()?;
    let path = |name: &str| here.path().join(name).display().to_string();
    let evil = Tar::default()
        .add(
            Member::new('0', "set-id").mode(0o6755).owner(1234, 1234),
            b"#!/bin/sh\n",
        )
        .add(Member::new('2', "out").link(&path("outside")), b"")
        .end();
    web.garden.stream_in("web", "", "/srv", &evil)?;
    fs::create_dir(path("outside"))?;
    node.kato(&["container", "copy", "web:/srv", &path("in")]).ok();
    let copied = fs::metadata(path("in/srv/set-id"))?;
    assert_eq!(
        (copied.mode() & 0o7777, copied.uid()),
        (0o755, nix::unistd::geteuid().as_raw())
    );
    // A second copy meets the link of the first.
    web.shell("rm /srv/out; mkdir /srv/out; echo x > /srv/out/file")?;
    node.kato(&["container", "copy", "web:/srv", &path("in")]).ok();
    assert_eq!(fs::read_dir(path("outside"))?.count(), 0);
    assert_eq!(fs::read_to_string(path("in/srv/out/file"))?, "x\n");
    Ok(())
}

#[test]
fn what_cannot_be_copied_is_said_and_has_its_code() -> Story {
    let node = Node::fence_only();
    let _web = container(&node)?;
    let here = tempfile::tempdir()?;
    let path = |name: &str| here.path().join(name).display().to_string();
    fs::write(path("file"), "x")?;
    let copy = |from: &str, to: &str| node.kato(&["container", "copy", from, to]);
    copy(&path("file"), &path("other")).refused(2, "one of SRC and DST");
    copy("web:/a", "web:/b").refused(2, "one of SRC and DST");
    copy(&path("absent"), "web:/srv").refused(4, "cannot read");
    copy("web:/absent", &path("in")).refused(4, "there is no /absent in web");
    copy(&path("file"), "ghost:/srv").refused(4, "ghost");
    copy("ghost:/srv", &path("in")).refused(4, "ghost");
    copy(&path("file"), "web:/proc/sys").refused(3, "error streaming in");
    copy("web:/etc/passwd/", &path("in")).refused(3, "Not a directory");
    node.kato_with_input(&["container", "copy", "-", "web:/srv"], &[b'x'; 2000])
        .refused(3, "this is no tar archive");
    Ok(())
}

#[test]
fn stats_are_a_table_for_people_and_numbers_for_programs() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let table = node.kato(&["container", "stats"]).ok();
    let mut lines = table.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(head[..6], ["HANDLE", "CPU", "MEMORY", "LIMIT", "PIDS", "DISK"]);
    assert!(lines.next().unwrap_or_default().starts_with("web "), "{table}");
    let numbers = node.kato_json(&["container", "stats", "-j", "web"]);
    assert_eq!(numbers["web"]["pids"]["current"], 1);
    assert!(numbers["web"]["memory"]["stat"]["total_rss"].is_u64());
    node.kato(&["container", "stats", "ghost"]).refused(4, "ghost");
    web.garden.destroy("web")?;
    assert_eq!(node.kato(&["container", "stats"]).ok().lines().count(), 1);
    Ok(())
}
