//! Garden: processes with an image of their own: what they have for themselves, what they share with their container, and
//! how they end.

use std::fs;

use tests::garden::{
    BindMount, ContainerSpec, CpuLimits, Error, MemoryLimits, Outputs, ProcessLimits, ProcessSpec, Signal,
};
use tests::harness::{ContainerOf, DerivedImage, LIMIT, Node, cgroup, derived_image, docker, poll, until};

type Story = anyhow::Result<()>;

/// An image with a user and a mark of its own.
fn other_image() -> DerivedImage {
    derived_image(
        "RUN echo 'guest:x:4711:4712::/home/guest:/bin/sh' >> /etc/passwd && echo pea > /mark\nENV COLOUR=green SHAPE=round",
    )
}

fn uri(image: &DerivedImage) -> String {
    let (name, tag) = image.name.rsplit_once(':').unwrap_or_default();
    format!("docker:///{name}#{tag}")
}

fn web(node: &Node) -> anyhow::Result<ContainerOf> {
    let mut spec = ContainerSpec {
        handle: "web".into(),
        env: vec!["COLOUR=container".into(), "FROM=container".into()],
        ..ContainerSpec::default()
    };
    spec.limits.memory_limits.limit_in_bytes = 128 << 20;
    Ok(node.container(&spec)?)
}

fn with_id(id: &str, spec: ProcessSpec) -> ProcessSpec {
    ProcessSpec { id: id.into(), ..spec }
}

/// The helpers that Docker has for the node's peas.
fn helpers(node: &Node) -> Vec<String> {
    let id = node.id().unwrap_or_default();
    docker::labelled_with("io.fence.node", &id, "io.fence.pea")
}

fn wait_until_gone(node: &Node) {
    until("no helper is left", LIMIT, || helpers(node).is_empty().then_some(()));
}

fn host_pid_of(node: &Node, name: &str) -> i32 {
    until(&format!("{name} runs"), LIMIT, || {
        node.pids_named("web", name).first().copied()
    })
}

#[test]
fn it_has_its_own_files_and_shares_the_rest() -> Story {
    let image = other_image();
    let node = Node::fence_only();
    let web = web(&node)?;
    web.shell("touch /of-the-container; echo 'guest:x:1:1::/:/bin/sh' >> /etc/passwd")?;
    let uri = uri(&image);
    let script = |script: &str| ProcessSpec::script(script).image(&uri);
    let said = |spec: &ProcessSpec| -> anyhow::Result<String> {
        let (status, stdout, stderr) = web.output(spec)?;
        assert_eq!((status, stderr.as_str()), (0, ""), "{spec:?}: {stdout}");
        Ok(stdout)
    };
    for (asked, expected) in [
        ("cat /mark; ls / | grep of-the-container || echo alone", "pea\nalone\n"),
        ("pwd; echo $(id -u):$(id -g) $USER $HOME", "/\n0:0 root /root\n"),
        ("echo $COLOUR $SHAPE ${FROM:-none}", "green round none\n"),
        ("echo written > /here; cat /here", "written\n"),
        ("cat /proc/1/comm", "fence-init\n"),
    ] {
        assert_eq!(said(&script(asked))?, expected, "{asked}");
    }
    for shared in [
        "hostname",
        "cat /etc/hosts",
        "cat /etc/resolv.conf",
        "ip addr | grep inet",
    ] {
        assert_eq!(said(&script(shared))?, web.shell(shared)?, "{shared}");
    }
    for (kind, is_shared) in [("net", true), ("pid", true), ("ipc", true), ("mnt", false)] {
        let look = format!("ls -l /proc/self/ns/{kind} | sed 's/.*-> //'");
        assert_eq!(said(&script(&look))? == web.shell(&look)?, is_shared, "{kind}");
    }
    for (user, expected) in [
        ("guest", "4711 4712 /home/guest\n"),
        ("4711", "4711 4712 /home/guest\n"),
        ("12:34", "12 34 /\n"),
        ("guest:nogroup", "4711 65534 /home/guest\n"),
    ] {
        assert_eq!(
            said(&script("echo $(id -u) $(id -g) $HOME").user(user))?,
            expected,
            "{user}"
        );
    }
    let placed = ProcessSpec {
        dir: "/srv/new/place".into(),
        env: vec!["SHAPE=square".into()],
        ..script("pwd; stat -c %U . ; echo $SHAPE")
    };
    assert_eq!(said(&placed.user("guest"))?, "/srv/new/place\nguest\nsquare\n");
    web.shell("test ! -e /here && test ! -e /srv/new")?;
    Ok(())
}

#[test]
fn it_is_a_process_like_any_other() -> Story {
    let image = other_image();
    let node = Node::fence_only();
    let web = web(&node)?;
    let uri = uri(&image);
    let script = |script: &str| ProcessSpec::script(script).image(&uri);

    for code in [0, 7, 255] {
        assert_eq!(web.run(&script(&format!("exit {code}")))?.wait()?, code);
    }
    let apart = web.output(&script("echo out; echo err >&2; exit 4"))?;
    assert_eq!(apart, (4, "out\n".into(), "err\n".into()));
    let tty = web.output(&script("stty size; echo err >&2").tty(Some((132, 43))))?;
    assert_eq!(tty, (0, "43 132\r\nerr\r\n".into(), String::new()));

    let cat = web.run(&with_id("cat", ProcessSpec::new("cat", &[]).image(&uri)))?;
    cat.write("potato\n")?;
    cat.stdout.wait_for("potato\n", LIMIT)?;
    let second = web.garden.attach("web", "cat")?;
    second.write("from another\n")?;
    cat.stdout.wait_for("from another\n", LIMIT)?;
    let info = web.garden.info("web")?;
    assert!(info.process_ids.unwrap_or_default().contains(&"cat".to_owned()));
    for taken in [ProcessSpec::new("true", &[]), ProcessSpec::new("true", &[]).image(&uri)] {
        let error = web.run(&with_id("cat", taken)).unwrap_err();
        assert!(error.to_string().contains("already in use"), "{error}");
    }
    cat.close_stdin()?;
    assert_eq!((cat.wait()?, second.wait()?), (0, 0));
    assert_eq!(
        web.garden.attach("web", "cat")?.wait()?,
        0,
        "its end is told for a while"
    );

    for (signal, status) in [(Signal::Terminate, 143), (Signal::Kill, 137)] {
        let process = web.run(&ProcessSpec::new("sleep", &["1000"]).image(&uri))?;
        process.signal(signal)?;
        assert_eq!(process.wait()?, status);
    }
    let none = web.garden.run_with("web", &script("exit 3"), Outputs::None)?;
    assert_eq!(none.wait()?, 3);
    Ok(())
}

#[test]
fn what_cannot_be_is_refused_and_leaves_nothing() -> Story {
    let image = other_image();
    let node = Node::fence_only();
    let web = web(&node)?;
    let uri = uri(&image);
    let mounted = |source: &str| ProcessSpec {
        bind_mounts: vec![BindMount {
            src_path: source.into(),
            dst_path: "/mnt".into(),
            mode: 0,
        }],
        ..ProcessSpec::new("true", &[])
    };
    let cases = [
        (
            ProcessSpec::new("not-there", &[]).image(&uri),
            "executable file not found in $PATH",
        ),
        (
            ProcessSpec::new("/not/there", &[]).image(&uri),
            "no such file or directory",
        ),
        (
            ProcessSpec::new("true", &[]).image(&uri).user("nosuch"),
            "unable to find user nosuch: no matching entries in passwd file",
        ),
        (
            ProcessSpec::new("true", &[]).image("docker:///exampleco/not-there#1"),
            "not-there",
        ),
        (ProcessSpec::new("true", &[]).image("ftp://x/y"), "cannot be used"),
        (mounted("/tmp"), "only with an image of its own"),
        (mounted("/not/there").image(&uri), "/not/there"),
        (with_id("main", ProcessSpec::new("true", &[]).image(&uri)), "main is"),
    ];
    for (spec, expected) in cases {
        let error = web.run(&spec).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        let is_typed = error.kind() != Some("") && !expected.contains("not-there");
        assert!(matches!(error, Error::Garden { .. }) && !is_typed, "{error:?}");
    }
    wait_until_gone(&node);
    assert_eq!(node.containers_in_docker().len(), 1);
    Ok(())
}

#[test]
fn mounts_and_limits_are_its_own_where_asked_for() -> Story {
    let image = other_image();
    let node = Node::fence_only();
    let web = web(&node)?;
    let uri = uri(&image);
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("file"), "of the host")?;
    let mount = |target: &str, mode: u8| BindMount {
        src_path: folder.path().display().to_string(),
        dst_path: target.into(),
        mode,
    };
    let reads_and_writes = ProcessSpec {
        bind_mounts: vec![mount("/ro", 0), mount("/rw", 1)],
        ..ProcessSpec::script("cat /ro/file; touch /ro/x 2>/dev/null && exit 1; echo back > /rw/back").image(&uri)
    };
    assert_eq!(web.output(&reads_and_writes)?, (0, "of the host".into(), String::new()));
    assert_eq!(fs::read_to_string(folder.path().join("back"))?, "back\n");
    web.shell("test ! -e /rw")?;

    let own = |memory: u64, shares: u64| {
        Some(ProcessLimits {
            cpu_limits: CpuLimits {
                limit_in_shares: shares,
                ..CpuLimits::default()
            },
            memory_limits: MemoryLimits { limit_in_bytes: memory },
        })
    };
    for (number, limits, memory, shares) in [
        (1, own(32 << 20, 512), Some(32 << 20), Some(512)),
        (2, own(0, 0), None, Some(1024)),
    ] {
        let spec = ProcessSpec {
            limits,
            ..ProcessSpec::new("sleep", &["1000"]).image(&uri)
        };
        let process = web.run(&with_id(&number.to_string(), spec))?;
        let in_force = cgroup::limits_of(host_pid_of(&node, "sleep"));
        assert_eq!(
            (in_force.memory_bytes, in_force.cpu_shares),
            (memory, shares),
            "{number}"
        );
        process.signal(Signal::Kill)?;
        assert_eq!(process.wait()?, 137);
    }
    // Without limits of its own it cannot have more than its container.
    let shares = web.run(&ProcessSpec::new("sleep", &["1000"]).image(&uri))?;
    let pid = host_pid_of(&node, "sleep");
    let (own, containers) = (cgroup_of(pid)?, cgroup_of(node.first_pid("web"))?);
    let is_below = own.starts_with(&format!("{containers}/"));
    assert!(
        is_below || cgroup::limits_of(pid).memory_bytes == Some(128 << 20),
        "{own} {containers}"
    );
    shares.signal(Signal::Kill)?;
    Ok(())
}

fn cgroup_of(pid: i32) -> anyhow::Result<String> {
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let line = table
        .lines()
        .find(|line| line.contains(":memory:") || line.starts_with("0::"));
    Ok(line
        .and_then(|line| line.rsplit(':').next())
        .unwrap_or_default()
        .to_owned())
}

#[test]
fn stop_reaches_it_and_destroy_kills_it() -> Story {
    let image = other_image();
    let node = Node::fence_only();
    let web = web(&node)?;
    let uri = uri(&image);
    let ready = |script: &str| -> anyhow::Result<_> {
        let process = web.run(&ProcessSpec::script(script).image(&uri))?;
        process.stdout.wait_for("ready\n", LIMIT)?;
        Ok(process)
    };
    let polite = ready("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")?;
    let orphan = ready("(sleep 1000 > /dev/null 2>&1 &) ; echo ready; exit 0")?;
    assert_eq!(orphan.wait()?, 0);
    web.garden.stop("web", false)?;
    assert_eq!(polite.wait()?, 5);
    assert_eq!(node.pids_named("web", "sleep"), Vec::<i32>::new());
    assert_eq!(web.garden.info("web")?.state, "stopped");

    let deaf = ready("trap '' TERM; echo ready; while :; do sleep 0.05; done")?;
    web.garden.stop("web", true)?;
    assert_eq!(deaf.wait()?, 137);

    let last = ready("echo ready; exec sleep 1000")?;
    web.garden.destroy("web")?;
    assert_eq!(last.wait()?, 137);
    assert_eq!(node.containers_in_docker(), Vec::<String>::new());
    Ok(())
}

#[test]
fn it_lives_through_a_kill_of_the_daemon() -> Story {
    let image = other_image();
    let node = Node::fence_only();
    let web = web(&node)?;
    let uri = uri(&image);
    let script = "echo before; while read line; do echo got $line; done; exit 6";
    let process = web.run(&with_id("lasting", ProcessSpec::script(script).image(&uri)))?;
    process.stdout.wait_for("before\n", LIMIT)?;
    node.kill_fence();
    node.start_fence();
    let again = web.garden.attach("web", "lasting")?;
    again.write("it\n")?;
    again.stdout.wait_for("got it\n", LIMIT)?;
    again.close_stdin()?;
    assert_eq!(again.wait()?, 6);

    // Its helper is ended by somebody else.
    let ended = web.run(&with_id("ended", ProcessSpec::new("sleep", &["1000"]).image(&uri)))?;
    let helper = helpers(&node)
        .into_iter()
        .find(|id| docker::docker(&["top", id]).ok().contains("sleep"));
    docker::docker(&["kill", &helper.unwrap_or_default()]).ok();
    assert_eq!(ended.wait()?, 137);
    web.shell("true")?;
    let gone = poll(LIMIT, || web.garden.attach("web", "ended").is_err().then_some(()));
    assert!(gone.is_some(), "what was ended from outside is forgotten");
    Ok(())
}

#[test]
fn a_kill_of_the_daemon_while_one_is_made_leaves_nothing_of_it() -> Story {
    let image = other_image();
    let node = Node::fence_only();
    let web = web(&node)?;
    let uri = uri(&image);
    // Before the engine was asked, while it makes the helper, and once that runs.
    for (round, helpers_seen) in [0, 1, 1].into_iter().enumerate() {
        let id = format!("round-{round}");
        let spec = with_id(&id, ProcessSpec::new("sleep", &["1000"]).image(&uri));
        let told = std::thread::scope(|scope| {
            let run = scope.spawn(|| web.garden.run_with("web", &spec, Outputs::None).is_ok());
            until("it is being made", LIMIT, || {
                (helpers(&node).len() >= helpers_seen).then_some(())
            });
            if round == 2 {
                // The client has been told, or is about to be.
                poll(LIMIT, || (!node.pids_named("web", "sleep").is_empty()).then_some(()));
            }
            node.kill_fence();
            run.join().unwrap_or_default()
        });
        node.start_fence();
        if told {
            let kept = web.garden.attach("web", &id)?;
            kept.signal(Signal::Kill)?;
            assert_eq!(kept.wait()?, 137);
        }
        web.garden.stop("web", true)?;
        wait_until_gone(&node);
        assert!(
            web.garden.attach("web", &id).is_err() || told,
            "{id} is there, and nobody was told"
        );
    }
    web.shell("true")?;
    Ok(())
}
