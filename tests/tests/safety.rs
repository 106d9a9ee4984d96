//! What a process in a container may not do: to the node, to other containers, to its own first process.

use std::fs;

use tests::garden::{ContainerSpec, Error, Limits, MemoryLimits, PidLimits, ProcessSpec};
use tests::harness::{LIMIT, Node, is_alive, of_container, until};

type Story = anyhow::Result<()>;

/// What a container's root may have; everything else is dropped. Names and numbers as in capabilities(7).
const KEPT: &[(&str, u32)] = &[
    ("CHOWN", 0),
    ("DAC_OVERRIDE", 1),
    ("FOWNER", 3),
    ("FSETID", 4),
    ("KILL", 5),
    ("SETGID", 6),
    ("SETUID", 7),
    ("NET_BIND_SERVICE", 10),
    ("SYS_CHROOT", 18),
];

fn with_limits(handle: &str, memory: u64, pids: u64) -> ContainerSpec {
    let limits = Limits {
        memory_limits: MemoryLimits { limit_in_bytes: memory },
        pid_limits: PidLimits { max: pids },
        ..Limits::default()
    };
    ContainerSpec {
        handle: handle.into(),
        limits,
        ..ContainerSpec::default()
    }
}

/// The value of a line of /proc/PID/status.
fn value<'a>(status: &'a str, key: &str) -> &'a str {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.map(str::trim).unwrap_or_else(|| panic!("no {key} in\n{status}"))
}

fn capabilities(status: &str, key: &str) -> u64 {
    u64::from_str_radix(value(status, key), 16).unwrap_or_else(|error| panic!("{key}: {error}"))
}

#[test]
fn capabilities_are_few_and_privileges_cannot_be_gained() -> Story {
    let node = Node::fence_only();
    let web = node.container(&ContainerSpec::default())?;
    let allowed: u64 = KEPT.iter().map(|(_, number)| 1 << number).sum();
    let root = web.shell("cat /proc/self/status")?;
    for key in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let extra = capabilities(&root, key) & !allowed;
        assert_eq!(
            extra, 0,
            "{key} of a container's root has {extra:#x} beyond what is kept"
        );
    }
    let (_, user, _) = web.output(&ProcessSpec::new("cat", &["/proc/self/status"]).user("stackato"))?;
    for key in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(capabilities(&user, key), 0, "{key} of a plain user");
    }
    assert_eq!(capabilities(&user, "CapBnd") & !allowed, 0, "CapBnd of a plain user");
    for status in [&root, &user] {
        assert_eq!(value(status, "NoNewPrivs"), "1");
        assert_eq!(value(status, "Seccomp"), "2");
    }
    Ok(())
}

#[test]
fn the_first_process_is_held_to_the_same() -> Story {
    let node = Node::fence_only();
    let web = node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?;
    let allowed: u64 = KEPT.iter().map(|(_, number)| 1 << number).sum();
    let first = web.shell("cat /proc/1/status")?;
    assert_eq!(capabilities(&first, "CapBnd") & !allowed, 0);
    assert_eq!((value(&first, "NoNewPrivs"), value(&first, "Seccomp")), ("1", "2"));
    Ok(())
}

#[test]
fn the_kernel_is_out_of_reach() -> Story {
    let node = Node::fence_only();
    let web = node.container(&ContainerSpec::default())?;
    for attempt in [
        "mkdir /tmp/m && mount -t tmpfs none /tmp/m",
        "cd /sys/fs/cgroup && { ! test -d memory || cd memory; } && mkdir story",
        "echo 1 > /proc/sys/kernel/panic",
        "echo b > /proc/sysrq-trigger",
        "mknod /tmp/sda b 8 0 && head -c 1 /tmp/sda",
        "unshare -m true",
        "ip link add story type dummy",
        "hostname story",
        "chroot /proc/1/root/../../.. ls /work",
        "swapoff -a && swapon /tmp/x",
    ] {
        let (status, stdout, _) = web.output(&ProcessSpec::script(attempt))?;
        assert_ne!(status, 0, "`{attempt}` worked: {stdout}");
    }
    assert_eq!(web.shell("head -c 1 /proc/kcore 2>/dev/null | wc -c")?.trim(), "0");
    Ok(())
}

#[test]
fn other_processes_of_the_node_are_not_seen() -> Story {
    let node = Node::fence_only();
    let web = node.container(&ContainerSpec::default())?;
    let seen = web.shell("ls /proc | grep -c '^[0-9]'")?;
    assert!(seen.trim().parse::<u32>()? < 10, "{seen} processes");
    Ok(())
}

#[test]
fn what_fence_keeps_in_a_container_cannot_be_changed_there() -> Story {
    let node = Node::fence_only();
    let web = node.container(&ContainerSpec::default())?;
    for attempt in [
        "echo x > /.fence/bin/fence-init",
        "rm /.fence/run/init.sock",
        "touch /.fence/run/new",
        "mv /.fence/bin /.fence/other",
        "umount /.fence/run",
        "kill -9 1 && sleep 0.2 && ! kill -0 1",
    ] {
        let (status, stdout, _) = web.output(&ProcessSpec::script(attempt))?;
        assert_ne!(status, 0, "`{attempt}` worked: {stdout}");
    }
    assert_eq!(web.shell("echo still here")?, "still here\n");
    Ok(())
}

#[test]
fn a_container_full_of_processes_harms_nobody_else() -> Story {
    let node = Node::fence_only();
    let bomb = node.container(&with_limits("bomb", 128 << 20, 30))?;
    let other = node.container(&with_limits("other", 128 << 20, 30))?;
    let process = bomb.run(&ProcessSpec::script("while :; do sleep 1000 & done"))?;
    assert_ne!(
        process.exit_within(LIMIT)?,
        0,
        "at the limit the shell cannot fork any more"
    );
    let first = node.first_pid("bomb");
    until("the container is as full as it may be", LIMIT, || {
        (of_container(first).len() >= 25).then_some(())
    });
    assert!(of_container(first).len() <= 30);
    assert_eq!(other.shell("echo calm")?, "calm\n");
    // A process more is refused or comes to nothing, in bounded time; both are fine.
    let _ = bomb.output(&ProcessSpec::new("true", &[]));
    bomb.garden.stop("bomb", true)?;
    assert_eq!(of_container(first), []);
    assert!(is_alive(first), "the first process of the container");
    bomb.garden.destroy("bomb")?;
    Ok(())
}

#[test]
fn a_container_short_of_memory_loses_the_process_that_wants_it() -> Story {
    let node = Node::fence_only();
    let web = node.container(&with_limits("web", 32 << 20, 30))?;
    let modest = web.run(&ProcessSpec::new("cat", &[]))?;
    let first = node.first_pid("web");
    let (status, _, _) = web.output(&ProcessSpec::new(
        "dd",
        &["if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"],
    ))?;
    assert_eq!(status, 137);
    assert!(is_alive(first), "the first process of the container");
    assert_eq!(web.shell("echo still here")?, "still here\n");
    modest.close_stdin()?;
    assert_eq!(modest.wait()?, 0);
    until("the container's events say so", LIMIT, || {
        let events = web.garden.info("web").ok()?.events.unwrap_or_default();
        events.iter().any(|event| event == "Out of memory").then_some(())
    });
    Ok(())
}

#[test]
fn children_are_more_likely_than_the_first_process_to_be_killed_for_memory() -> Story {
    let node = Node::fence_only();
    let web = node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?;
    let own: i32 = web.shell("cat /proc/self/oom_score_adj")?.trim().parse()?;
    let first: i32 = fs::read_to_string(format!("/proc/{}/oom_score_adj", node.first_pid("web")))?
        .trim()
        .parse()?;
    assert!(own > first, "{own} against {first}");
    Ok(())
}

#[test]
fn the_dead_do_not_stay() -> Story {
    let node = Node::fence_only();
    let web = node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?;
    web.shell("i=0; while [ $i -lt 40 ]; do (sleep 0.05 & sleep 0.01 &); i=$((i+1)); done")?;
    let first = node.first_pid("web");
    until("all children of dead parents are gone", LIMIT, || {
        of_container(first).is_empty().then_some(())
    });
    Ok(())
}

#[test]
fn output_that_nobody_reads_stays_within_the_containers_means() -> Story {
    let node = Node::fence_only();
    let web = node.container(&with_limits("web", 32 << 20, 30))?;
    let flood = web.garden.open_run("web", &ProcessSpec::new("yes", &[]))?;
    let quiet = web.output(&ProcessSpec::script("sleep 1; echo quiet"))?;
    assert_eq!(quiet, (0, "quiet\n".into(), String::new()));
    assert_eq!(web.garden.info("web")?.events.unwrap_or_default(), Vec::<String>::new());
    flood.hang_up();
    Ok(())
}

#[test]
fn a_privileged_container_needs_a_node_that_allows_it() -> Story {
    let node = Node::with_config(&[("docker/privileged", "true")]);
    match node.garden().create(&ContainerSpec {
        privileged: true,
        ..ContainerSpec::default()
    }) {
        Ok(handle) => assert_eq!(node.shown(&handle)?["privileged"], true),
        // A host that lacks a capability itself can give none; then the reason is said.
        Err(error) => assert!(
            matches!(&error, Error::Garden { .. }) && error.to_string().contains("cap"),
            "{error}"
        ),
    }
    Ok(())
}
