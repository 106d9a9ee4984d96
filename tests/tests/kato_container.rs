//! `kato container`: every verb on real containers, streams, signals, terminal and exit codes passed through.

use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::harness::{LIMIT, Node, OnTerminal, command, docker, until};

type Story = anyhow::Result<()>;

fn create(node: &Node, args: &[&str]) -> String {
    let all: Vec<&str> = ["container", "create"].iter().chain(args).copied().collect();
    node.kato(&all).ok().trim().to_owned()
}

#[test]
fn a_container_from_create_to_destroy() -> Story {
    let node = Node::fence_only();
    let created = node.kato(&["container", "create", "--handle", "web"]).expect_code(0);
    assert_eq!(created.out(), "web\n");
    let info = node.kato_json(&["container", "info", "-j", "web"]);
    assert_eq!((&info["state"], &info["started"]), (&"active".into(), &false.into()));

    assert_eq!(node.kato(&["container", "start", "web"]).ok(), "web\n");
    assert_eq!(node.kato_json(&["container", "info", "-j", "web"])["started"], true);
    node.kato(&["container", "start", "web"]).ok();
    assert!(node.kato(&["container", "list"]).ok().contains("web"));

    node.kato(&["container", "stop", "web"]).ok();
    assert_eq!(node.kato_json(&["container", "info", "-j", "web"])["state"], "stopped");
    node.kato(&["container", "start", "web"]).ok();
    assert_eq!(node.kato_json(&["container", "info", "-j", "web"])["state"], "active");

    node.kato(&["container", "destroy", "web"]).ok();
    let gone = node.kato(&["container", "info", "web"]).expect_code(4);
    assert_eq!(gone.out(), "");
    assert!(
        gone.err().starts_with("kato: ") && gone.err().contains("web") && gone.err().contains("hint:"),
        "{}",
        gone.err()
    );
    assert_eq!(node.containers_in_docker(), Vec::<String>::new());
    Ok(())
}

#[test]
fn streams_and_exit_code_are_the_processs_own() -> Story {
    let node = Node::fence_only();
    let web = create(&node, &[]);
    let ran = node
        .kato(&[
            "container",
            "run",
            &web,
            "--",
            "sh",
            "-c",
            "echo out; echo err >&2; exit 42",
        ])
        .expect_code(42);
    assert_eq!((ran.out(), ran.err()), ("out\n".into(), "err\n".into()));
    let ran = node
        .kato(&[
            "container",
            "run",
            &web,
            "--",
            "printf",
            "%s|",
            "a b",
            "-x",
            "--",
            "",
            "*",
        ])
        .expect_code(0);
    assert_eq!(ran.out(), "a b|-x|--||*|");
    node.kato(&["container", "run", &web, "--", "sh", "-c", "kill -9 $$"])
        .expect_code(137);
    let missing = node
        .kato(&["container", "run", &web, "--", "no-such-program"])
        .expect_code(127);
    assert!(missing.err().contains("no-such-program"), "{}", missing.err());
    for path in ["/etc/passwd", "/etc"] {
        let refused = node.kato(&["container", "run", &web, "--", path]).expect_code(126);
        assert!(refused.err().contains(path), "{}", refused.err());
    }
    node.kato(&["container", "run", "nobody", "--", "true"]).expect_code(4);
    Ok(())
}

#[test]
fn user_directory_and_environment_are_as_asked_for() -> Story {
    let node = Node::fence_only();
    let web = create(&node, &["-e", "A=container", "-e", "B=container"]);
    let script = "echo $(id -un) $(pwd) $A $B";
    let args = [
        "container",
        "run",
        "-u",
        "stackato",
        "-w",
        "/tmp",
        "-e",
        "B=process",
        &web,
        "--",
        "sh",
        "-c",
        script,
    ];
    assert_eq!(node.kato(&args).ok(), "stackato /tmp container process\n");
    Ok(())
}

#[test]
fn binary_input_and_output_arrive_unchanged() -> Story {
    let node = Node::fence_only();
    let web = create(&node, &[]);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let data: Vec<u8> = (0..5 * 1024 * 1024 / 8).flat_map(|_| next()).collect();
    let ran = node
        .kato_with_input(&["container", "run", &web, "--", "cat"], &data)
        .expect_code(0);
    assert!(
        ran.stdout == data,
        "{} bytes came back of {}, or others",
        ran.stdout.len(),
        data.len()
    );
    Ok(())
}

#[test]
fn signals_go_to_the_process() -> Story {
    let node = Node::fence_only();
    let web = create(&node, &[]);
    for (signal, name) in [
        (Signal::SIGTERM, "TERM"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGUSR1, "USR1"),
    ] {
        let script = format!("trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.05; done");
        let mut kato = node.kato_command(&["container", "run", &web, "--", "sh", "-c", &script]);
        let mut child = kato.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        assert_eq!(lines.next().transpose()?.as_deref(), Some("ready"));
        kill(Pid::from_raw(i32::try_from(child.id())?), signal)?;
        assert_eq!(lines.next().transpose()?, Some(format!("got {name}")));
        assert_eq!(command::wait(&mut child, LIMIT), Some(9), "{name}");
    }
    Ok(())
}

#[test]
fn a_killed_kato_ends_no_process() -> Story {
    let node = Node::fence_only();
    let web = create(&node, &[]);
    let mut kato = node.kato_command(&["container", "run", "--id", "job", &web, "--", "sleep", "1000"]);
    let mut child = kato.stdin(Stdio::null()).spawn()?;
    until("the process runs", LIMIT, || {
        (node.pids_named(&web, "sleep").len() == 1).then_some(())
    });
    child.kill()?;
    child.wait()?;
    assert_eq!(node.pids_named(&web, "sleep").len(), 1);
    node.kato(&["container", "stop", "--kill", &web]).ok();
    assert!(node.pids_named(&web, "sleep").is_empty());
    Ok(())
}

/// What fence sends of one output beyond what was acknowledged, and so the most that a killed client may have printed
/// which the next one prints again.
const UNACKNOWLEDGED: usize = 256 * 1024;

#[test]
fn what_a_killed_client_has_not_printed_is_for_the_next() -> Story {
    let node = Node::fence_only();
    let web = create(&node, &[]);
    let paced = "i=0; while [ $i -lt 5000 ]; do i=$((i+1)); echo $i; [ $((i % 20)) != 0 ] || usleep 5000; done; exit 4";
    for (id, script, last) in [("paced", paced, 5000), ("flood", "seq 1 300000; exit 4", 300_000)] {
        let all = (1..=last).map(|number| format!("{number}\n")).collect::<String>();
        let run = ["container", "run", "--id", id, &web, "--", "sh", "-c", script];
        let mut printed = printed_until_killed(&node, &run)?;
        assert!(all.as_bytes().starts_with(&printed), "{id}");
        let mut end = printed.len();
        let attach = ["container", "attach", "-n", &web, id];
        for _ in 0..5 {
            printed = printed_until_killed(&node, &attach)?;
            end = end_behind(all.as_bytes(), end, &printed).ok_or_else(|| anyhow::anyhow!("a gap at {end} of {id}"))?;
        }
        let rest = node.kato(&attach).expect_code(4);
        assert_eq!(end_behind(all.as_bytes(), end, &rest.stdout), Some(all.len()), "{id}");
    }
    Ok(())
}

/// What kato has printed when it is killed, soon after it has begun to print.
fn printed_until_killed(node: &Node, args: &[&str]) -> anyhow::Result<Vec<u8>> {
    let printed = tempfile::NamedTempFile::new()?;
    let mut kato = node.kato_command(args);
    let mut child = kato.stdin(Stdio::null()).stdout(printed.reopen()?).spawn()?;
    until("kato prints", LIMIT, || {
        let length = printed.as_file().metadata().map_or(0, |file| file.len());
        (length > 1000 || !matches!(child.try_wait(), Ok(None))).then_some(())
    });
    child.kill()?;
    child.wait()?;
    Ok(std::fs::read(printed.path())?)
}

/// Where in the whole a part ends that begins at an offset, or before it within what may come again.
fn end_behind(all: &[u8], offset: usize, part: &[u8]) -> Option<usize> {
    let mut begins = offset.saturating_sub(UNACKNOWLEDGED)..=offset;
    let begin = begins.rfind(|begin| all[*begin..].starts_with(part))?;
    Some(begin + part.len())
}

#[test]
fn a_reader_that_leaves_early_is_no_trouble() -> Story {
    let node = Node::fence_only();
    let web = create(&node, &[]);
    let mut kato = node.kato_command(&["container", "run", &web, "--", "yes"]);
    let mut child = kato.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut first = [0; 4];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first)?;
    drop(child.stdout.take());
    assert!(
        command::wait(&mut child, LIMIT).is_some(),
        "kato ends when nobody reads its output any more"
    );
    Ok(())
}

#[test]
fn a_detached_process_can_be_attached_to() -> Story {
    let node = Node::fence_only();
    let web = create(&node, &[]);
    let script = "echo started; read word; echo got $word; exit 6";
    let ran = node
        .kato(&[
            "container",
            "run",
            "-d",
            "-i",
            "--id",
            "job",
            &web,
            "--",
            "sh",
            "-c",
            script,
        ])
        .expect_code(0);
    assert_eq!(ran.out(), "job\n");
    let attached = node
        .kato_with_input(&["container", "attach", &web, "job"], b"word\n")
        .expect_code(6);
    assert_eq!(attached.out(), "started\ngot word\n");
    node.kato(&["container", "attach", &web, "ghost"]).expect_code(4);
    Ok(())
}

#[test]
fn what_a_command_said_that_ended_at_once_is_there_for_who_attaches() -> Story {
    let node = Node::fence_only();
    // Whether it ends before or after its start was acknowledged is chance.
    for _ in 0..8 {
        let web = create(&node, &["--", "sh", "-c", "echo no config found; exit 7"]);
        let attached = node.kato(&["container", "attach", &web, "main"]).expect_code(7);
        assert_eq!(attached.out(), "no config found\n");
    }
    Ok(())
}

#[test]
fn the_main_process_is_the_images_command_or_another() -> Story {
    let node = Node::fence_only();
    let web = create(&node, &["--", "sh", "-c", "echo main says hello; exec sleep 1000"]);
    let info = node.kato_json(&["container", "info", "-j", &web]);
    assert_eq!(info["started"], true, "{info}");
    until("the process runs", LIMIT, || {
        (node.pids_named(&web, "sleep").len() == 1).then_some(())
    });
    let brief = create(&node, &["--", "sh", "-c", "exit 3"]);
    until("the end of the main process stops the container", LIMIT, || {
        let info = node.kato_json(&["container", "info", "-j", &brief]);
        (info["state"] == "stopped" && info["main"]["exit_status"] == 3).then_some(())
    });
    let refused = node.kato(&["container", "create", "--handle", "bad", "--", "no-such-program"]);
    assert_ne!(refused.code, 0);
    assert!(refused.err().contains("no-such-program"), "{}", refused.err());
    node.kato(&["container", "info", "bad"]).expect_code(4);
    Ok(())
}

#[test]
fn a_shell_on_a_terminal_behaves_like_one() -> Story {
    let node = Node::fence_only();
    let web = create(&node, &[]);
    let mut shell = OnTerminal::start(&node.kato_command(&["container", "shell", &web]), 100, 30);
    shell.type_in("stty size\n");
    shell.wait_for("30 100");
    shell.resize(77, 22);
    shell.type_in("echo $((1000+7)); until [ \"$(stty size)\" = '22 77' ]; do sleep 0.05; done; echo size is new\n");
    shell.wait_for("\nsize is new");
    shell.type_in("id -un; sleep 1000\n");
    shell.wait_for("\nstackato");
    until("sleep runs", LIMIT, || {
        (node.pids_named(&web, "sleep").len() == 1).then_some(())
    });
    shell.type_in("\u{3}");
    until("control-c has ended it", LIMIT, || {
        node.pids_named(&web, "sleep").is_empty().then_some(())
    });
    shell.type_in("exit 12\n");
    let (code, screen) = shell.wait(LIMIT);
    assert_eq!(code, 12, "{screen}");
    Ok(())
}

#[test]
fn the_terminal_is_as_before_when_kato_has_ended() -> Story {
    let node = Node::fence_only();
    let web = create(&node, &[]);
    let kato = node.kato_command(&["container", "run", "-t", &web, "--", "true"]);
    let script =
        "before=$(stty -g); \"$@\"; code=$?; test \"$before\" = \"$(stty -g)\" && echo terminal is the same $code";
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script, "sh"])
        .arg(kato.get_program())
        .args(kato.get_args());
    shell.envs(kato.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let shown = OnTerminal::start(&shell, 80, 24);
    shown.wait_for("terminal is the same 0");
    Ok(())
}

#[test]
fn detaching_leaves_the_process() -> Story {
    let node = Node::fence_only();
    let web = create(&node, &[]);
    let run = node.kato_command(&[
        "container",
        "run",
        "-t",
        "--id",
        "job",
        &web,
        "--",
        "sh",
        "-c",
        "echo here; exec sleep 1000",
    ]);
    let mut terminal = OnTerminal::start(&run, 80, 24);
    terminal.wait_for("here");
    terminal.type_in("\u{10}\u{11}");
    terminal.wait(LIMIT);
    until("the process runs", LIMIT, || {
        (node.pids_named(&web, "sleep").len() == 1).then_some(())
    });
    Ok(())
}

#[test]
fn many_are_destroyed_at_once_and_failures_are_counted() -> Story {
    let node = Node::fence_only();
    create(&node, &["--handle", "a"]);
    create(&node, &["--handle", "b"]);
    let partly = node.kato(&["container", "destroy", "a", "ghost"]).expect_code(6);
    assert_eq!(partly.out(), "a\n");
    assert!(partly.err().contains("ghost"), "{}", partly.err());
    node.kato(&["container", "destroy", "--all", "--yes"]).ok();
    assert_eq!(node.containers_in_docker(), Vec::<String>::new());
    Ok(())
}

#[test]
fn without_fence_every_verb_says_what_to_do() -> Story {
    let node = Node::fence_only();
    assert_eq!(node.stop_fence(), 0);
    for args in [
        &["container", "list"][..],
        &["container", "create"],
        &["container", "run", "web", "--", "true"],
    ] {
        let said = node.kato(args).expect_code(5);
        assert!(said.err().contains("hint:"), "kato {args:?}: {}", said.err());
    }
    Ok(())
}

#[test]
fn mounts_and_ports_are_as_asked_for() -> Story {
    let node = Node::fence_only();
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("note"), "from the node\n")?;
    let port = format!("{}:8080", node.first_port + 5);
    let mount = format!("{}:/srv/data:rw", folder.path().display());
    let web = create(&node, &["--mount", &mount, "-p", &port, "--property", "app=web"]);
    assert_eq!(
        node.kato(&["container", "run", &web, "--", "cat", "/srv/data/note"])
            .ok(),
        "from the node\n"
    );
    let info = node.kato_json(&["container", "info", "-j", &web]);
    assert_eq!(
        info["ports"],
        serde_json::json!([{ "host_port": node.first_port + 5, "container_port": 8080 }])
    );
    assert_eq!(
        node.kato(&["container", "list", "-q", "--property", "app=web"]).ok(),
        format!("{web}\n")
    );
    assert_eq!(
        docker::labels(&node.inspect(&web)).get("app"),
        None,
        "properties are ours, not Docker's"
    );
    Ok(())
}

#[test]
fn an_open_run_survives_a_slow_reader() -> Story {
    let node = Node::fence_only();
    let web = create(&node, &[]);
    let mut kato = node.kato_command(&["container", "run", &web, "--", "seq", "1", "400000"]);
    let mut child = kato.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut reader = Command::new("sh");
    let out = child.stdout.take().unwrap();
    let counted = reader
        .args(["-c", "dd bs=64k count=1 status=none | wc -c; sleep 1; wc -l"])
        .stdin(out)
        .output()?;
    assert_eq!(command::wait(&mut child, Duration::from_secs(60)), Some(0));
    assert!(counted.status.success());
    Ok(())
}
