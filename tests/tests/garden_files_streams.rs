//! Garden: archives on their way: long ones, side by side, and left by either end.

use std::fs;
use std::io::Read;

use tests::garden::{ContainerSpec, ProcessSpec};
use tests::harness::tar::{Tar, content, names};
use tests::harness::{ContainerOf, LIMIT, Node, until};

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

fn copiers(node: &Node) -> usize {
    node.pids_named("web", COPIER).len()
}

/// The daemon's memory, in bytes.
fn memory_of(pid: i32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kib.expect("the daemon's memory") * 1024
}

#[test]
fn archives_may_be_long_and_fence_stays_small() -> Story {
    const PIECES: usize = 300;
    let node = Node::fence_only();
    let web = container(&node)?;
    let fence = node.fence_pid();
    let before = memory_of(fence);
    let piece: Vec<u8> = (0..MIB).map(|at| (at / 7) as u8).collect();
    let mut upload = web.garden.begin_stream_in("web", "", "/srv")?;
    upload.send(&Tar::head_of_file("long", PIECES * MIB));
    let mut most = 0;
    for number in 0..PIECES {
        upload.send(&piece);
        if number % 20 == 0 {
            most = most.max(memory_of(fence));
        }
    }
    upload.finish()?;
    assert_eq!(web.shell("stat -c %s /srv/long")?, format!("{}\n", PIECES * MIB));
    let mut download = web.garden.begin_stream_out("web", "", "/srv/long")?;
    let mut buffer = vec![0; MIB];
    download.read_exact(&mut buffer[..512])?;
    for number in 0..PIECES {
        download.read_exact(&mut buffer)?;
        assert!(buffer == piece, "piece {number} is another");
        if number % 20 == 0 {
            most = most.max(memory_of(fence));
        }
    }
    let mut rest = Vec::new();
    download.read_to_end(&mut rest)?;
    assert_eq!(rest.len(), 1024, "what is behind the file");
    let grown = most.saturating_sub(before);
    println!("{PIECES} MiB in and out: fence grew by {} KiB", grown / 1024);
    assert!(grown < 48 * MIB, "fence grew by {grown} bytes");
    Ok(())
}

#[test]
fn a_client_that_leaves_takes_its_stream_along() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let mut upload = web.garden.begin_stream_in("web", "", "/srv")?;
    upload.send(&Tar::head_of_file("half", 64 * MIB));
    upload.send(&vec![1; MIB]);
    until("the files are on their way", LIMIT, || {
        (copiers(&node) == 1).then_some(())
    });
    // Nobody sees the process that does it.
    assert_eq!(web.garden.info("web")?.process_ids, Some(vec![]));
    assert_eq!(node.shown("web")?["processes"], serde_json::json!([]));
    drop(upload);
    until("the process is gone", LIMIT, || (copiers(&node) == 0).then_some(()));

    web.shell("dd if=/dev/zero of=/srv/zeros bs=1M count=64 2>/dev/null")?;
    let mut download = web.garden.begin_stream_out("web", "", "/srv/zeros")?;
    download.read_exact(&mut [0; 4096])?;
    assert_eq!(copiers(&node), 1, "it waits for its client");
    drop(download);
    until("the process is gone", LIMIT, || (copiers(&node) == 0).then_some(()));
    // Many times over, and nothing is left.
    for _ in 0..50 {
        web.garden
            .begin_stream_out("web", "", "/srv/zeros")?
            .read_exact(&mut [0; 512])?;
    }
    until("all of them are gone", LIMIT, || (copiers(&node) == 0).then_some(()));
    web.put("", "/srv", &Tar::default().file("after", b"after").end())?;
    assert_eq!(web.shell("cat /srv/after")?, "after");
    Ok(())
}

#[test]
fn a_fence_that_dies_leaves_no_stream_behind() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    web.shell("mkdir -p /srv; dd if=/dev/zero of=/srv/zeros bs=1M count=64 2>/dev/null")?;
    let mut upload = web.garden.begin_stream_in("web", "", "/srv")?;
    upload.send(&Tar::head_of_file("half", MIB));
    let mut download = web.garden.begin_stream_out("web", "", "/srv/zeros")?;
    download.read_exact(&mut [0; 4096])?;
    until("both are on their way", LIMIT, || (copiers(&node) == 2).then_some(()));
    node.kill_fence();
    assert!(upload.finish().is_err());
    assert!(
        download.read_to_end(&mut Vec::new()).is_err(),
        "an archive that broke off looks whole"
    );
    node.start_fence();
    until("both are gone", LIMIT, || (copiers(&node) == 0).then_some(()));
    let listed = node.shown("web")?["processes"].to_string();
    assert!(!listed.contains(".fence-"), "{listed}");
    assert_eq!(names(&web.get("", "/srv/zeros")?), ["zeros"]);
    Ok(())
}

#[test]
fn fences_own_processes_cannot_be_had_by_clients() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let spec = ProcessSpec {
        id: ".fence-mine".into(),
        ..ProcessSpec::new("true", &[])
    };
    let refused = web
        .garden
        .run("web", &spec)
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(refused.contains("fence's own"), "{refused}");
    let unknown = web
        .garden
        .open_attach("web", ".fence-mine")
        .err()
        .and_then(|error| error.status());
    assert_eq!(unknown, Some(404));
    Ok(())
}

#[test]
fn a_stopped_container_still_gives_and_takes_files() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    web.put("", "/srv", &Tar::default().file("before", b"x").end())?;
    web.garden.stop("web", true)?;
    assert_eq!(web.garden.info("web")?.state, "stopped");
    web.put("stackato", "after", &Tar::default().file("file", b"content").end())?;
    assert_eq!(content(&web.get("", "/home/stackato/after/file")?, "file"), "content");
    assert_eq!(names(&web.get("", "/srv/before")?), ["before"]);
    Ok(())
}

#[test]
fn streams_side_by_side_do_not_mix() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    std::thread::scope(|scope| {
        let copy = |number: u8| {
            let web = &web;
            move || -> anyhow::Result<()> {
                let content = vec![number; 2 * MIB + usize::from(number)];
                let place = format!("/srv/{number}");
                web.put("", &place, &Tar::default().file("file", &content).end())?;
                let back = web.get("", &format!("{place}/file"))?;
                anyhow::ensure!(back[512..512 + content.len()] == content[..], "{number} is mixed");
                Ok(())
            }
        };
        let copies: Vec<_> = (0..6).map(|number| scope.spawn(copy(number))).collect();
        copies.into_iter().try_for_each(|copy| copy.join().expect("a copy"))
    })
}
