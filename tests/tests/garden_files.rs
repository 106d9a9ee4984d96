//! Garden: files into a container and out of it, whatever is in the archives, whoever asks, whenever somebody leaves.

use std::io::Read;
use std::path::Path;

use tests::garden::{ContainerSpec, Error};
use tests::harness::tar::{Member, Tar, content, details, names};
use tests::harness::{ContainerOf, Node};

type Story = anyhow::Result<()>;

/// The name of the process that copies.
const COPIER: &str = "fence-init";
const MIB: usize = 1024 * 1024;

fn container(node: &Node) -> anyhow::Result<ContainerOf> {
    Ok(node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?)
}

/// The call was refused with these words.
#[track_caller]
fn refused(answer: tests::garden::Result<()>, words: &[&str]) {
    let error = answer.expect_err("it was to be refused");
    assert_eq!((error.status(), error.kind()), (Some(500), Some("")), "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
    }
}

fn copiers(node: &Node) -> usize {
    node.pids_named("web", COPIER).len()
}

#[test]
fn root_puts_files_with_their_owners_modes_and_times() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let binary: Vec<u8> = (0..=255u8).cycle().take(3 * MIB + 1).collect();
    let archive = Tar::default()
        .add(Member::new('5', "app/").mode(0o750).owner(7, 8), b"")
        .add(Member::new('0', "app/binary").mode(0o640).owner(1234, 1235), &binary)
        .add(Member::new('1', "app/again").link("app/binary"), b"")
        .add(Member::new('2', "app/link").link("binary"), b"")
        .add(Member::new('0', "app/run").mode(0o4755), b"#!/bin/sh\n")
        .add(Member::new('5', "app/empty/").mode(0o700), b"")
        .add(Member::new('6', "app/pipe").mode(0o600), b"")
        .file("app/nothing", b"")
        .end();
    web.put("", "/srv", &archive)?;
    let stat = |path: &str| web.shell(&format!("stat -c '%a %u %g %F %Y' {path}"));
    assert_eq!(stat("/srv/app")?, "750 7 8 directory 1000000000\n");
    assert_eq!(stat("/srv/app/binary")?, "640 1234 1235 regular file 1000000000\n");
    assert_eq!(stat("/srv/app/link")?, "777 0 0 symbolic link 1000000000\n");
    assert_eq!(stat("/srv/app/run")?, "4755 0 0 regular file 1000000000\n");
    assert_eq!(stat("/srv/app/empty")?, "700 0 0 directory 1000000000\n");
    assert_eq!(stat("/srv/app/pipe")?, "600 0 0 fifo 1000000000\n");
    assert_eq!(
        web.shell("stat -c %h /srv/app/binary; cat /srv/app/link | wc -c")?,
        format!("2\n{}\n", binary.len())
    );
    assert_eq!(web.shell("ls -A /srv/app/empty; wc -c < /srv/app/nothing")?, "0\n");
    // The same bytes come out again.
    let back = web.get("", "/srv/app/binary")?;
    let from = back.windows(4).position(|four| four == [0, 1, 2, 3]).unwrap_or(0);
    assert!(back[from..].starts_with(&binary), "the content is another");
    // Again over itself.
    web.put("root", "/srv", &archive)?;
    Ok(())
}

#[test]
fn a_user_owns_what_it_puts_and_cannot_put_where_it_may_not() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let archive = Tar::default()
        .add(Member::new('5', "./").owner(0, 0), b"")
        .add(Member::new('0', "mine").mode(0o600).owner(0, 0), b"mine")
        .add(Member::new('2', "link").link("/etc/passwd"), b"")
        .end();
    let stat = |path: &str| web.shell(&format!("stat -c '%u:%g %a' {path}"));
    // Below the home, made, and the user's own.
    web.put("stackato", "new/deep", &archive)?;
    assert_eq!(stat("/home/stackato/new/deep")?, "1000:1000 755\n");
    assert_eq!(stat("/home/stackato/new")?, "1000:1000 755\n");
    assert_eq!(stat("/home/stackato/new/deep/mine")?, "1000:1000 600\n");
    assert_eq!(stat("/home/stackato/new/deep/link")?, "1000:1000 777\n");
    web.put("stackato", "", &Tar::default().file("at-home", b"x").end())?;
    assert_eq!(stat("/home/stackato/at-home")?, "1000:1000 644\n");
    // Made with root's rights where the user has none, and given to it.
    web.put("stackato", "/opt/of/stackato", &archive)?;
    assert_eq!(stat("/opt/of/stackato/mine")?, "1000:1000 600\n");
    // A directory of everybody's keeps its mode.
    web.put("stackato", "/tmp", &archive)?;
    assert_eq!(stat("/tmp")?, "0:0 1777\n");
    // By number, without an entry among the users.
    web.put("4321:4322", "/tmp/numbers", &archive)?;
    assert_eq!(stat("/tmp/numbers/mine")?, "4321:4322 600\n");
    // Not in root's.
    refused(
        web.put("stackato", "/etc", &archive),
        &["error streaming in", "Permission denied", "mine"],
    );
    refused(
        web.put("stackato", "/root", &archive),
        &["error streaming in", "Permission denied"],
    );
    assert_eq!(web.shell("ls /etc/mine /root/mine 2>/dev/null | wc -l")?, "0\n");
    // Nor out of it.
    web.shell("echo secret > /root/secret; chmod 600 /root/secret; mkdir -p /tmp/mixed; echo a > /tmp/mixed/a; cp /root/secret /tmp/mixed; chmod 600 /tmp/mixed/secret")?;
    refused(
        web.get("stackato", "/root/secret").map(drop),
        &["error streaming out", "Permission denied"],
    );
    let part = web
        .garden
        .begin_stream_out("web", "stackato", "/tmp/mixed")
        .and_then(|mut part| {
            let mut archive = Vec::new();
            let read = part.read_to_end(&mut archive);
            read.map_err(|source| Error::Connection {
                attempt: "read",
                source,
            })
        });
    assert!(part.is_err(), "an archive without one of its files looks whole");
    assert_eq!(
        names(&web.get("", "/tmp/mixed")?),
        ["mixed/", "mixed/a", "mixed/secret"]
    );
    Ok(())
}

#[test]
fn what_is_no_archive_no_user_and_no_container_is_refused() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let good = Tar::default().file("good", &[7; 5000]).end();
    for (what, archive) in [
        ("cut in a file", &good[..3000]),
        ("cut in a header", &good[..100]),
        ("not tar", &[b'x'; 4096][..]),
    ] {
        refused(web.put("", "/tmp/broken", archive), &["error streaming in", "archive"]);
        assert_eq!(copiers(&node), 0, "after {what}");
    }
    refused(
        web.put("nobody-here", "/tmp", &good),
        &[
            "error streaming in",
            "unable to find user nobody-here: no matching entries in passwd file",
        ],
    );
    refused(
        web.get("nobody-here", "/tmp").map(drop),
        &["error streaming out", "unable to find user nobody-here"],
    );
    refused(
        web.put("", "/etc/passwd", &good),
        &["error streaming in", "Not a directory"],
    );
    refused(
        web.put("", "/etc/passwd/below", &good),
        &["error streaming in", "Not a directory"],
    );
    refused(
        web.put("", "/.fence/bin", &good),
        &["error streaming in", "Read-only file system"],
    );
    refused(web.put("", &"x/".repeat(3000), &good), &["error streaming in"]);
    refused(web.put("u\0", "/tmp", &good), &["error streaming in"]);
    for answer in [
        web.garden.stream_in("ghost", "", "/tmp", &good),
        web.garden.stream_out("ghost", "", "/tmp").map(drop),
    ] {
        let error = answer.expect_err("there is no ghost");
        assert_eq!(
            (error.status(), error.kind()),
            (Some(404), Some("ContainerNotFoundError"))
        );
        assert_eq!(error.to_string(), "unknown handle: ghost");
    }
    // Empty archives are archives.
    web.put("", "/tmp/empty", &Tar::default().end())?;
    web.put("", "/tmp/empty", b"")?;
    assert_eq!(web.shell("ls -A /tmp/empty | wc -l")?, "0\n");
    Ok(())
}

#[test]
fn nothing_gets_outside_however_names_and_links_are_made() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let mark = format!("escaped-{}", std::process::id());
    // Links that were there before: upwards, absolute, and to the whole.
    web.shell(
        "mkdir -p /srv/in /srv/out; cd /srv/in; ln -s ../out up; ln -s /srv/out abs; ln -s / all; ln -s up chain",
    )?;
    let evil = Tar::default()
        .file(&format!("../{mark}"), b"x")
        .file(&format!("a/../../{mark}"), b"x")
        .file(&format!("up/{mark}"), b"x")
        .file(&format!("abs/{mark}"), b"x")
        .file(&format!("all/{mark}"), b"x")
        .file(&format!("chain/{mark}"), b"x")
        .add(Member::new('2', "new-up").link("../../../../../.."), b"")
        .file(&format!("new-up/{mark}"), b"x")
        .add(Member::new('2', "new-abs").link("/tmp"), b"")
        .add(Member::new('5', &format!("new-abs/{mark}/")), b"")
        .add(Member::new('1', "hard").link("../../etc/passwd"), b"")
        .add(Member::new('1', "hard").link("all/etc/passwd"), b"")
        .add(Member::new('2', "passwd").link("/etc/passwd"), b"")
        .file("passwd", b"not the real one")
        .file("good", b"good")
        .end();
    let before = web.shell("cat /etc/passwd")?;
    refused(
        web.put("", "/srv/in", &evil),
        &["error streaming in", "out of the directory"],
    );
    let found = web.shell(&format!(
        "find / -xdev -name '{mark}' 2>/dev/null; cat /srv/in/good; ls /srv/out | wc -l"
    ))?;
    assert_eq!(found, "good0\n");
    assert_eq!(web.shell("cat /etc/passwd")?, before);
    assert_eq!(
        web.shell("cat /srv/in/passwd; test ! -e /srv/in/hard")?,
        "not the real one"
    );
    // An absolute name is one below, and one of the host's own files is only a name.
    web.put(
        "",
        "/srv/in",
        &Tar::default().file(&format!("/tmp/{mark}"), b"below").end(),
    )?;
    assert_eq!(web.shell(&format!("cat /srv/in/tmp/{mark}"))?, "below");
    // A destination that is a link leads to a place in the container.
    web.shell("ln -s /etc /srv/etc; ln -s /proc/self/root/tmp /srv/proc; ln -s /proc/1/root/tmp /srv/first")?;
    web.put("", "/srv/etc", &Tar::default().file(&mark, b"inside").end())?;
    web.put("", "/srv/proc", &Tar::default().file(&mark, b"inside").end())?;
    refused(
        web.put("", "/srv/first", &Tar::default().file(&mark, b"x").end()),
        &["Permission denied"],
    );
    web.put(
        "",
        "/srv/../../../../../../var",
        &Tar::default().file(&mark, b"inside").end(),
    )?;
    assert_eq!(
        web.shell(&format!("cat /etc/{mark} /tmp/{mark} /var/{mark}"))?,
        "insideinsideinside"
    );
    for folder in ["/", "/etc", "/tmp", "/srv", "/var"] {
        let outside = Path::new(folder).join(&mark);
        assert!(!outside.exists(), "{} is on the host", outside.display());
    }
    // What an image has as links stays: files come to where they lead.
    web.shell("mkdir -p /srv/usr/bin; ln -s usr/bin /srv/bin")?;
    web.put(
        "",
        "/srv",
        &Tar::default()
            .add(Member::new('5', "bin/"), b"")
            .file("bin/tool", b"tool")
            .end(),
    )?;
    assert_eq!(web.shell("cat /srv/usr/bin/tool; readlink /srv/bin")?, "toolusr/bin\n");
    Ok(())
}

#[test]
fn devices_are_made_only_where_the_container_may() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let archive = Tar::default()
        .add(Member::new('4', "disk").device(254, 0).mode(0o666), b"")
        .add(Member::new('3', "mem").device(1, 1).mode(0o666), b"")
        .file("good", b"good")
        .end();
    refused(
        web.put("", "/tmp", &archive),
        &[
            "error streaming in",
            "disk: cannot make the special file: Operation not permitted",
            "mem: ",
        ],
    );
    assert_eq!(
        web.shell("cd /tmp; ls disk mem 2>/dev/null | wc -l; cat good")?,
        "0\ngood"
    );
    Ok(())
}

#[test]
fn files_come_out_under_the_names_that_clients_expect() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    web.shell(
        "mkdir -p /srv/dir/sub /srv/dir/empty; cd /srv/dir; echo a > a; echo b > sub/b; ln a hard; ln -s /etc/shadow soft; \
         ln -s dir ../link; mkfifo pipe; chown 77:78 sub/b; chmod 4711 sub/b; mkdir ~stackato/app/x; echo h > ~stackato/app/x/h",
    )?;
    let listed = |source: &str| -> anyhow::Result<Vec<String>> { Ok(names(&web.get("", source)?)) };
    let below = ["a", "empty/", "hard", "pipe", "soft", "sub/", "sub/b"];
    let with = |prefix: &str| -> Vec<String> {
        let below = below.iter().map(|name| format!("{prefix}{name}"));
        std::iter::once(prefix.to_owned()).chain(below).collect()
    };
    assert_eq!(listed("/srv/dir")?, with("dir/"));
    assert_eq!(listed("/srv/dir/")?, with("./"));
    assert_eq!(listed("/srv/dir/.")?, with("./"));
    assert_eq!(listed("/srv/dir/sub/b")?, ["b"]);
    assert_eq!(listed("/srv/dir/empty")?, ["empty/"]);
    // A link is a link, and what it leads to only with a slash behind it.
    assert_eq!(listed("/srv/link")?, ["link"]);
    assert_eq!(listed("/srv/link/")?, with("./"));
    // Upwards is no way out of the container.
    assert_eq!(content(&web.get("", "/../../../../../../srv/dir/a")?, "a"), "a\n");
    refused(web.get("", "/proc/1/root/srv/dir/a").map(drop), &["Permission denied"]);
    // Below the home where it is relative, and the home itself.
    let home = web.garden.stream_out("web", "stackato", "app/x")?;
    assert_eq!(names(&home), ["x/", "x/h"]);
    assert!(names(&web.garden.stream_out("web", "stackato", "")?).contains(&"./app/x/h".to_owned()));
    // What is not there is an empty archive.
    for missing in ["/srv/absent", "/srv/absent/", "/srv/absent/below", "absent"] {
        assert_eq!(listed(missing)?, Vec::<String>::new(), "{missing}");
    }
    refused(
        web.get("", "/srv/dir/a/").map(drop),
        &["error streaming out", "Not a directory"],
    );
    // Owners, modes, links.
    let long = details(&web.get("", "/srv/dir")?);
    let line = |name: &str| {
        long.iter()
            .find(|line| line.contains(name))
            .cloned()
            .unwrap_or_default()
    };
    assert!(line("dir/sub/b").starts_with("-rws--x--x 77/78 "), "{long:#?}");
    assert!(
        line("dir/hard").starts_with("hrw") && line("dir/hard").ends_with(" link to dir/a"),
        "{long:#?}"
    );
    assert!(line("dir/soft").ends_with(" -> /etc/shadow"), "{long:#?}");
    assert!(line("dir/pipe").starts_with('p'), "{long:#?}");
    // The kernel's own files are left alone.
    assert_eq!(listed("/proc")?, ["proc/"]);
    // Into another place as they came out.
    web.put("", "/srv/copy", &web.get("", "/srv/dir/")?)?;
    assert_eq!(names(&web.get("", "/srv/copy/")?), with("./"));
    Ok(())
}

#[test]
fn extended_attributes_go_in_and_come_out() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let archive = Tar::default().attribute("user.note", "hello").file("noted", b"x").end();
    for user in ["", "stackato"] {
        let place = format!("/tmp/of-{user}");
        web.put(user, &place, &archive)?;
        let back = web.get(user, &format!("{place}/noted"))?;
        let record = b"SCHILY.xattr.user.note=hello\n";
        assert!(back.windows(record.len()).any(|part| part == record), "of {user:?}");
    }
    Ok(())
}
