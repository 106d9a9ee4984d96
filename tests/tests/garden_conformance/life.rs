//! How containers come, change and go: what is answered, and what is there afterwards.

use std::time::Duration;

use serde_json::json;
use tests::garden::{ContainerSpec, Limits, MemoryLimits, Outputs, PidLimits, PortMapping, ProcessSpec, Signal};
use tests::harness::{LIMIT, Node, until};

use super::{Checks, Story, said, told, web};

fn named(handle: &str) -> ContainerSpec {
    ContainerSpec {
        handle: handle.into(),
        ..ContainerSpec::default()
    }
}

#[test]
fn creates() -> Story {
    let node = Node::fence_only();
    let garden = node.garden();
    let mut checks = Checks::default();
    let smallest = json!({"image":{},"limits":{"bandwidth_limits":{},"cpu_limits":{},"disk_limits":{},"memory_limits":{},"pid_limits":{}}});
    let made = garden.call("POST", "/containers", Some(&smallest))?;
    let handle = made["Handle"].as_str().unwrap_or_default().to_owned();
    checks.same("a handle of the server's is a UUID", handle.len(), 36);
    checks.holds("it is listed at once", garden.lookup(&handle)?, || "not listed".into());
    garden.destroy(&handle)?;
    checks.holds("it is gone at once", !garden.lookup(&handle)?, || "still listed".into());

    garden.create(&named("web"))?;
    let again = told(garden.create(&named("web")));
    checks.same(
        "in use",
        again,
        (500, String::new(), "Handle 'web' already in use".into()),
    );
    let refused = |spec: &serde_json::Value| told(garden.call("POST", "/containers", Some(spec)));
    for (rule, spec, word) in [
        (
            "an unknown image",
            json!({"handle":"x","image":{"uri":"docker:///exampleco/nowhere#1"}}),
            "exampleco/nowhere",
        ),
        (
            "an image that is no image",
            json!({"handle":"x","image":{"uri":"ftp://a/b"}}),
            "cannot be used",
        ),
        (
            "a path that is not there",
            json!({"handle":"x","rootfs":"/not/there"}),
            "/not/there",
        ),
        (
            "a mount that is not there",
            json!({"handle":"x","bind_mounts":[{"src_path":"/not/there","dst_path":"/m"}]}),
            "/not/there",
        ),
        (
            "a mount to nowhere",
            json!({"handle":"x","bind_mounts":[{"src_path":"/tmp"}]}),
            "target",
        ),
        (
            "a mount's mode",
            json!({"handle":"x","bind_mounts":[{"src_path":"/tmp","dst_path":"/m","mode":2}]}),
            "mode",
        ),
        (
            "a mount's origin",
            json!({"handle":"x","bind_mounts":[{"src_path":"/tmp","dst_path":"/m","origin":2}]}),
            "origin",
        ),
        (
            "a mount from inside",
            json!({"handle":"x","bind_mounts":[{"src_path":"/tmp","dst_path":"/m","origin":1}]}),
            "inside the container",
        ),
        (
            "an environment without a name",
            json!({"handle":"x","env":["=x"]}),
            "NAME=VALUE",
        ),
        (
            "an environment without a value",
            json!({"handle":"x","env":["x"]}),
            "NAME=VALUE",
        ),
        (
            "too little memory",
            json!({"handle":"x","limits":{"memory_limits":{"limit_in_bytes":1}}}),
            "memory",
        ),
        (
            "too few pids",
            json!({"handle":"x","limits":{"pid_limits":{"max":1}}}),
            "pids",
        ),
        (
            "too few shares",
            json!({"handle":"x","limits":{"cpu_limits":{"limit_in_shares":1}}}),
            "shares",
        ),
        (
            "too large a port",
            json!({"handle":"x","netin":[{"host_port":70000,"container_port":1}]}),
            "70000",
        ),
        (
            "a grace time below nothing",
            json!({"handle":"x","grace_time":-1}),
            "negative",
        ),
        ("a handle with a slash", json!({"handle":"a/b"}), "a/b"),
        ("privileged", json!({"handle":"x","privileged":true}), "not allowed"),
    ] {
        let (status, _, message) = refused(&spec);
        checks.same(rule, status, 500);
        checks.has(rule, &message, word);
        checks.holds(rule, !garden.lookup("x")?, || "it is listed".into());
    }
    checks.same("nothing is left of them", node.containers_in_docker().len(), 1);
    let long = format!("{}{}", "x".repeat(20), "y".repeat(49));
    let long = node.container(&named(&long))?;
    checks.same(
        "the host name is the end of the handle",
        said(&long, &ProcessSpec::new("hostname", &[])),
        "y".repeat(49) + "\n",
    );
    let hosts = said(&long, &ProcessSpec::new("cat", &["/etc/hosts"]));
    checks.has("it knows itself", &hosts, &"y".repeat(49));
    checks.has("it knows localhost", &hosts, "127.0.0.1");
    checks.end(55);
    Ok(())
}

#[test]
fn information() -> Story {
    let node = Node::fence_only();
    let garden = node.garden();
    let mut checks = Checks::default();
    let mut spec = ContainerSpec {
        properties: [("owner".to_owned(), "ann".to_owned())].into(),
        netin: vec![PortMapping {
            host_port: 0,
            container_port: 8080,
        }],
        limits: Limits {
            memory_limits: MemoryLimits {
                limit_in_bytes: 64 << 20,
            },
            pid_limits: PidLimits { max: 50 },
            ..Limits::default()
        },
        ..named("web")
    };
    spec.limits.cpu_limits.weight = 300;
    garden.create(&spec)?;
    let get = |path: &str| garden.call("GET", &format!("/containers/web{path}"), None);
    checks.same(
        "memory is read back",
        get("/limits/memory")?,
        json!({ "limit_in_bytes": 64 << 20 }),
    );
    checks.same(
        "weight is read back as shares",
        get("/limits/cpu")?,
        json!({ "limit_in_shares": 300 }),
    );
    let info = get("/info")?;
    for member in [
        "State",
        "Events",
        "HostIP",
        "ContainerIP",
        "ContainerIPv6",
        "ExternalIP",
        "ContainerPath",
        "ProcessIDs",
        "Properties",
        "MappedPorts",
    ] {
        checks.holds(member, info.get(member).is_some(), || info.to_string());
    }
    checks.same("state", info["State"].as_str(), Some("active"));
    let external = info["ExternalIP"].clone();
    checks.same(
        "clients read it as a property",
        info["Properties"]["garden.network.external-ip"].clone(),
        external,
    );
    checks.same("its own property", info["Properties"]["owner"].as_str(), Some("ann"));
    checks.same(
        "the port inside",
        info["MappedPorts"][0]["ContainerPort"].as_u64(),
        Some(8080),
    );
    checks.same(
        "all properties are those of the info",
        get("/properties")?,
        info["Properties"].clone(),
    );
    let alike = garden.net_in("web", 0, 0)?;
    checks.same("0 is the host's port", alike.host_port, alike.container_port);
    for (body, path) in [
        (json!({}), "/net/out"),
        (
            json!({"protocol":1,"networks":[{"start":"10.0.0.1","end":"10.0.0.9"}],"ports":[{"start":1,"end":2}]}),
            "/net/out",
        ),
        (json!({"protocol":3,"icmps":{"type":8,"code":0}}), "/net/out"),
        (json!({"log":true}), "/net/out"),
        (json!([]), "/net/out/bulk"),
        (json!(null), "/net/out/bulk"),
        (json!([{"protocol":2},{}]), "/net/out/bulk"),
    ] {
        let done = garden.call("POST", &format!("/containers/web{path}"), Some(&body));
        checks.holds(&format!("{body} to {path}"), done.is_ok(), || format!("{done:?}"));
    }
    for time in [json!(0), json!(3_600_000_000_000_i64), json!(0)] {
        checks.same(
            "grace time",
            garden.call("PUT", "/containers/web/grace_time", Some(&time))?,
            json!({}),
        );
    }
    let capacity = garden.capacity()?;
    let all = [
        capacity.memory_in_bytes,
        capacity.disk_in_bytes,
        capacity.schedulable_disk_in_bytes,
        capacity.max_containers,
    ];
    checks.holds("there is room", all.iter().all(|number| *number > 0), || {
        format!("{all:?}")
    });
    checks.end(27);
    Ok(())
}

#[test]
fn ends() -> Story {
    let node = Node::fence_only();
    let web = web(&node)?;
    let garden = &web.garden;
    let mut checks = Checks::default();

    // Asked again each second.
    let counting =
        "n=0; trap 'n=$((n+1)); echo asked $n; [ $n = 3 ] && exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let counts = web.run(&ProcessSpec::script(counting))?;
    counts.stdout.wait_for("ready", LIMIT)?;
    garden.stop("web", false)?;
    checks.same("asked until it ends", counts.wait()?, 9);
    checks.has(
        "asked three times",
        &counts.stdout.text(),
        "asked 1\nasked 2\nasked 3\n",
    );
    checks.same("stopped", garden.info("web")?.state, "stopped".to_owned());
    let left = said(&web, &ProcessSpec::script("ls /proc | grep -c '^[0-9]'"));
    checks.holds("its files are in reach", left.trim().parse::<u32>().is_ok(), || {
        left.clone()
    });

    // Destroyed while processes run, with and without readers.
    let running = web.run(&ProcessSpec::new("sleep", &["1000"]))?;
    let unread = garden.run_with("web", &ProcessSpec::script("while :; do echo x; done"), Outputs::None)?;
    let both = std::thread::scope(|scope| -> anyhow::Result<_> {
        let one = scope.spawn(|| told(node.garden().destroy("web")));
        let other = scope.spawn(|| told(node.garden().destroy("web")));
        Ok([one.join(), other.join()].map(|told| told.unwrap_or_default()))
    })?;
    checks.holds(
        "one of two destroys succeeds",
        both.iter().any(|(status, ..)| *status == 200),
        || format!("{both:?}"),
    );
    let second_is_told = both.iter().all(|(status, kind, message)| match status {
        200 => true,
        500 => message == "container already being destroyed",
        _ => kind == "ContainerNotFoundError",
    });
    checks.holds("the other is told why not", second_is_told, || format!("{both:?}"));
    checks.same("waiters are told", running.wait()?, 137);
    checks.same("waiters without output are told", unread.wait()?, 137);
    checks.same("gone", garden.list(&[])?, Vec::<String>::new());
    checks.same("gone from the engine", node.containers_in_docker(), Vec::new());
    let gone = told(garden.attach("web", "x"));
    checks.same(
        "nothing to attach to",
        (gone.0, gone.1.as_str()),
        (404, "ContainerNotFoundError"),
    );
    checks.end(11);
    Ok(())
}

#[test]
fn processes_that_have_ended() -> Story {
    let node = Node::fence_only();
    let web = web(&node)?;
    let garden = &web.garden;
    let mut checks = Checks::default();
    let with_id = |id: &str, spec: ProcessSpec| ProcessSpec { id: id.into(), ..spec };
    web.run(&with_id("done", ProcessSpec::script("echo out; exit 7")))?
        .wait()?;
    for _ in 0..3 {
        checks.same("its end is told again", garden.attach("web", "done")?.wait()?, 7);
    }
    let twice = told(web.run(&with_id("done", ProcessSpec::new("true", &[]))));
    checks.has("its name is taken for a while", &twice.2, "already in use");
    let unknown = told(garden.attach("web", "nosuch"));
    checks.same(
        "unknown",
        (unknown.0, unknown.1.as_str()),
        (404, "ProcessNotFoundError"),
    );

    let lasting = web.run(&with_id("lasting", ProcessSpec::script("echo first; cat; exit 3")))?;
    lasting.stdout.wait_for("first\n", LIMIT)?;
    let second = garden.attach("web", "lasting")?;
    checks.holds("a stream of its own", second.stream_id != lasting.stream_id, || {
        second.stream_id.clone()
    });
    for (sender, data) in [(&lasting, "a\n"), (&second, "b\n")] {
        sender.write(data)?;
        second.stdout.wait_for(data, LIMIT)?;
    }
    drop(lasting);
    second.write("c\n")?;
    second.stdout.wait_for("c\n", LIMIT)?;
    second.close_stdin()?;
    checks.same("who stays is told the end", second.wait()?, 3);
    checks.same(
        "and has all since it came",
        second.stdout.text(),
        "a\nb\nc\n".to_owned(),
    );

    // Nobody reads, and it ends all the same.
    let silent = garden.run_with(
        "web",
        &ProcessSpec::script("yes | head -c 20000000; exit 2"),
        Outputs::None,
    )?;
    checks.same(
        "output that nobody reads is in nobody's way",
        silent.wait_within(Duration::from_secs(60))?,
        2,
    );
    let killed = web.run(&ProcessSpec::new("sleep", &["1000"]))?;
    killed.signal(Signal::Kill)?;
    killed.signal(Signal::Terminate)?;
    checks.same("a signal too many is none", killed.wait()?, 137);
    until("all processes are gone", LIMIT, || {
        let running = garden.info("web").ok()?.process_ids.unwrap_or_default();
        running.is_empty().then_some(())
    });
    checks.end(10);
    Ok(())
}
