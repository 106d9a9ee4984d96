//! Garden: processes from Run to their exit: who they are, what they see, how they end.

use serde_json::json;
use tests::garden::{ContainerSpec, Error, Outputs, ProcessSpec, Signal};
use tests::harness::{ContainerOf, LIMIT, Node};

type Story = anyhow::Result<()>;

fn container(node: &Node) -> anyhow::Result<ContainerOf> {
    Ok(node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?)
}

fn with_id(id: &str, spec: ProcessSpec) -> ProcessSpec {
    ProcessSpec { id: id.into(), ..spec }
}

#[test]
fn exit_codes_arrive() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    for code in [0, 1, 7, 255] {
        assert_eq!(web.run(&ProcessSpec::script(&format!("exit {code}")))?.wait()?, code);
    }
    Ok(())
}

#[test]
fn both_outputs_are_kept_apart() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let output = web.output(&ProcessSpec::script("echo to stdout; echo to stderr >&2; exit 4"))?;
    assert_eq!(output, (4, "to stdout\n".into(), "to stderr\n".into()));
    Ok(())
}

#[test]
fn input_reaches_the_process_and_ends() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let process = web.run(&ProcessSpec::new("cat", &["/dev/stdin"]).user("stackato"))?;
    process.write("potato\n")?;
    process.stdout.wait_for("potato\n", LIMIT)?;
    process.write("and ☂\n")?;
    process.stdout.wait_for("and ☂\n", LIMIT)?;
    process.close_stdin()?;
    assert_eq!(process.wait()?, 0);
    assert_eq!(process.stdout.text(), "potato\nand ☂\n");
    Ok(())
}

#[test]
fn input_in_many_pieces_arrives_whole() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let process = web.run(&ProcessSpec::new("md5sum", &[]))?;
    let line = "0123456789abcdef".repeat(64);
    for _ in 0..2_000 {
        process.write(&line)?;
    }
    process.close_stdin()?;
    assert_eq!(process.wait()?, 0);
    let expected = web.shell("yes 0123456789abcdef | tr -d '\\n' | head -c 2048000 | md5sum")?;
    assert_eq!(process.stdout.text(), expected);
    Ok(())
}

#[test]
fn signals_end_processes_with_their_status() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    for (signal, status) in [(Signal::Terminate, 143), (Signal::Kill, 137)] {
        let process = web.run(&ProcessSpec::new("sleep", &["1000"]))?;
        process.signal(signal)?;
        assert_eq!(process.wait()?, status);
    }
    Ok(())
}

#[test]
fn a_process_may_handle_the_polite_signal() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let process = web.run(&ProcessSpec::script(script))?;
    process.stdout.wait_for("ready\n", LIMIT)?;
    process.signal(Signal::Terminate)?;
    assert_eq!(process.wait()?, 3);
    assert_eq!(process.stdout.text(), "ready\nbye\n");
    Ok(())
}

#[test]
fn signals_work_after_the_end_of_input() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let process = web.run(&ProcessSpec::script("cat; echo input ended; exec sleep 1000"))?;
    process.close_stdin()?;
    process.stdout.wait_for("input ended", LIMIT)?;
    process.signal(Signal::Kill)?;
    assert_eq!(process.wait()?, 137);
    Ok(())
}

#[test]
fn users_are_those_of_the_containers_own_files() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    web.shell("echo 'extra:x:2000:stackato' >> /etc/group; echo 'web:x:1005:1000::/srv/web:/bin/sh' >> /etc/passwd")?;
    for (user, expected) in [
        ("", "0 0 0 root /root"),
        ("root", "0 0 0 root /root"),
        ("stackato", "1000 1000 1000 2000 stackato /home/stackato"),
        ("stackato:nogroup", "1000 65534 65534 stackato /home/stackato"),
        ("web", "1005 1000 1000 web /srv/web"),
        ("1234:4321", "1234 4321 4321 1234 /"),
    ] {
        let script = "echo $(id -u) $(id -g) $(id -G) $USER $HOME";
        let (status, stdout, stderr) = web.output(&ProcessSpec::script(script).user(user))?;
        assert_eq!((status, stdout.trim()), (0, expected), "as {user:?}: {stderr}");
    }
    Ok(())
}

#[test]
fn an_unknown_user_is_refused_in_gardens_words() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let error = web.run(&ProcessSpec::new("true", &[]).user("nosuch")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("unable to find user nosuch: no matching entries in passwd file"),
        "{error}"
    );
    assert_eq!((error.status(), error.kind()), (Some(500), Some("")));
    Ok(())
}

#[test]
fn the_environment_is_the_images_then_the_containers_then_the_processs() -> Story {
    let node = Node::fence_only();
    let strings = |all: &[&str]| all.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>();
    let env = strings(&["A=container", "B=container", "PATH=/bin:/usr/bin:/from/container"]);
    let web = node.container(&ContainerSpec {
        env,
        ..ContainerSpec::default()
    })?;
    let env = strings(&["B=process", "C=first", "C=second", "EMPTY=", "SPACES= a  b "]);
    let (status, stdout, _) = web.output(
        &ProcessSpec {
            env,
            ..ProcessSpec::new("env", &[])
        }
        .user("stackato"),
    )?;
    assert_eq!(status, 0);
    let lines: Vec<&str> = stdout.lines().collect();
    for expected in [
        "A=container",
        "B=process",
        "C=second",
        "EMPTY=",
        "SPACES= a  b ",
        "PATH=/bin:/usr/bin:/from/container",
        "USER=stackato",
        "HOME=/home/stackato",
    ] {
        assert!(lines.contains(&expected), "{expected} in\n{stdout}");
    }
    assert!(!stdout.contains("HOSTNAME=") && !stdout.contains("C=first"), "{stdout}");
    Ok(())
}

#[test]
fn the_working_directory_is_the_one_given_or_the_users_home() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    for (user, dir, expected) in [
        ("", "", "/root"),
        ("stackato", "", "/home/stackato"),
        ("", "/usr/bin", "/usr/bin"),
        ("7:7", "", "/"),
    ] {
        let spec = ProcessSpec {
            dir: dir.into(),
            ..ProcessSpec::new("pwd", &[]).user(user)
        };
        assert_eq!(web.output(&spec)?.1.trim(), expected, "as {user:?} in {dir:?}");
    }
    Ok(())
}

#[test]
fn a_missing_working_directory_is_made_for_the_user() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let spec = ProcessSpec {
        dir: "/opt/deep/down".into(),
        ..ProcessSpec::script("pwd; stat -c '%U %a' .")
    };
    assert_eq!(
        web.output(&spec.user("stackato"))?,
        (0, "/opt/deep/down\nstackato 755\n".into(), String::new())
    );
    Ok(())
}

#[test]
fn a_program_that_is_not_there_is_a_typed_error() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let error = web.run(&ProcessSpec::new("no-such-program", &[])).unwrap_err();
    assert_eq!(
        (error.status(), error.kind()),
        (Some(500), Some("ExecutableNotFoundError")),
        "{error}"
    );
    assert!(
        error.to_string().contains("executable file not found in $PATH"),
        "{error}"
    );
    let error = web.run(&ProcessSpec::new("/no/such/program", &[])).unwrap_err();
    assert_eq!(error.kind(), Some("ExecutableNotFoundError"), "{error}");
    assert!(error.to_string().contains("no such file or directory"), "{error}");
    for path in ["/etc/passwd", "/etc"] {
        let error = web.run(&ProcessSpec::new(path, &[])).unwrap_err();
        assert!(matches!(error, Error::Garden { .. }), "{path}: {error}");
    }
    Ok(())
}

#[test]
fn a_request_that_makes_no_sense_is_refused() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    for spec in [
        json!({}),
        json!({ "path": "" }),
        json!({ "path": "ls", "id": "a/b" }),
        json!({ "path": "ls", "env": ["=x"] }),
        json!({ "path": "ls", "args": ["a\u{0}b"] }),
        json!({ "path": "ls", "bind_mounts": [{ "src_path": "/", "dst_path": "/host" }] }),
    ] {
        let error = web.garden.open_run("web", &spec).unwrap_err();
        assert!(matches!(error, Error::Garden { .. }), "{spec}: {error}");
    }
    Ok(())
}

#[test]
fn a_process_id_in_use_is_refused() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let first = web.run(&with_id("job", ProcessSpec::new("sleep", &["1000"])))?;
    assert_eq!(first.id, "job");
    let error = web.run(&with_id("job", ProcessSpec::new("true", &[]))).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("already in use") || text.contains("already exists"),
        "{text}"
    );
    first.signal(Signal::Kill)?;
    assert_eq!(first.wait()?, 137);
    Ok(())
}

#[test]
fn what_is_not_there_is_a_typed_error() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let error = web.garden.attach("web", "ghost").unwrap_err();
    let Error::Garden { status, body } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (*status, body.kind.as_str(), body.process_id.as_str()),
        (404, "ProcessNotFoundError", "ghost")
    );
    for error in [
        web.garden.run("nobody", &ProcessSpec::new("true", &[])).unwrap_err(),
        web.garden.attach("nobody", "ghost").unwrap_err(),
    ] {
        let Error::Garden { status, body } = &error else {
            panic!("{error}")
        };
        assert_eq!(
            (*status, body.kind.as_str(), body.handle.as_str()),
            (404, "ContainerNotFoundError", "nobody")
        );
    }
    Ok(())
}

#[test]
fn resource_limits_are_set() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let mut spec = ProcessSpec::script("ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hf");
    spec.rlimits
        .extend([("nofile".into(), 123), ("core".into(), 0), ("fsize".into(), 1 << 20)]);
    let (_, stdout, stderr) = web.output(&spec)?;
    assert_eq!(stdout, "123\n123\n0\n2048\n", "{stderr}");
    Ok(())
}

#[test]
fn a_client_that_goes_away_ends_no_process() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let process = web.run(&with_id(
        "job",
        ProcessSpec::script("echo ready; read word; echo got $word; exit 5"),
    ))?;
    process.stdout.wait_for("ready\n", LIMIT)?;
    drop(process);
    let again = web.garden.attach("web", "job")?;
    again.write("more\n")?;
    assert_eq!(again.wait()?, 5);
    assert!(again.stdout.text().ends_with("got more\n"), "{:?}", again.stdout.text());
    Ok(())
}

#[test]
fn nonsense_from_a_client_ends_neither_the_process_nor_the_server() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let process = web.run(&with_id("job", ProcessSpec::script("read word; echo got $word")))?;
    for nonsense in [
        "}{",
        "[1, 2]\n",
        "\u{0}\u{0}\u{0}",
        "{\"process_id\":\"job\",\"signal\":77}\n",
        "{\"tty\":{\"window_size\":{\"columns\":-1}}}\n",
    ] {
        web.garden.open_attach("web", "job")?.send_raw(nonsense.as_bytes())?;
    }
    let endless = "x".repeat(8 << 20);
    // The server may hang up before it has read all of it.
    let _ = web
        .garden
        .open_attach("web", "job")?
        .send_raw(format!("{{\"data\":\"{endless}\"").as_bytes());
    process.write("sense\n")?;
    assert_eq!(process.wait()?, 0);
    assert_eq!(process.stdout.text(), "got sense\n");
    Ok(())
}

#[test]
fn many_processes_run_at_once() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let processes: Vec<_> = (0..30)
        .map(|number| web.run(&ProcessSpec::script(&format!("echo {number}; exit {number}"))))
        .collect::<Result<_, _>>()?;
    for (number, process) in processes.into_iter().enumerate() {
        assert_eq!(process.wait()?, i32::try_from(number)?);
        assert_eq!(process.stdout.text(), format!("{number}\n"));
    }
    Ok(())
}

#[test]
fn short_processes_lose_nothing() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    for number in 0..100 {
        let spec = ProcessSpec::new("echo", &[&number.to_string()]);
        assert_eq!(web.output(&spec)?, (0, format!("{number}\n"), String::new()));
    }
    Ok(())
}

#[test]
fn a_process_without_readers_still_ends() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let process = web.garden.run_with(
        "web",
        &ProcessSpec::new("head", &["-c", "50000000", "/dev/zero"]),
        Outputs::None,
    )?;
    assert_eq!(process.wait()?, 0);
    Ok(())
}
