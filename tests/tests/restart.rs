//! The daemon comes and goes; containers, processes, their output and exit codes stay.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::thread;

use anyhow::Context;
use tests::garden::{ContainerSpec, PortMapping, ProcessSpec};
use tests::harness::{ContainerOf, LIMIT, Node, command, docker, is_alive, kill_hard, until};

type Story = anyhow::Result<()>;

fn container(node: &Node) -> anyhow::Result<ContainerOf> {
    Ok(node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?)
}

fn job(script: &str) -> ProcessSpec {
    ProcessSpec {
        id: "job".into(),
        ..ProcessSpec::script(script)
    }
}

fn stop(node: &Node) {
    assert_eq!(node.stop_fence(), 0, "exit code of fence");
}

/// Both ways in which a daemon ends.
const ENDS: [(&str, End); 2] = [("a polite stop", stop), ("a kill", Node::kill_fence)];
type End = fn(&Node);

#[test]
fn a_process_goes_on_with_the_same_pid() -> Story {
    for (how, end) in ENDS {
        let node = Node::fence_only();
        let web = container(&node)?;
        let process = web.run(&job("echo ready; read word; echo got $word; exit 7"))?;
        process.stdout.wait_for("ready\n", LIMIT)?;
        let pids = node.pids_named("web", "sh");
        assert_eq!(pids.len(), 1);
        end(&node);
        assert!(is_alive(pids[0]), "while fence is away after {how}");
        node.start_fence();
        assert_eq!(node.pids_named("web", "sh"), pids, "after {how}");
        let again = web.garden.attach("web", "job")?;
        again.write("word\n")?;
        assert_eq!(again.wait()?, 7, "after {how}");
        assert!(again.stdout.text().ends_with("got word\n"), "{:?}", again.stdout.text());
    }
    Ok(())
}

#[test]
fn what_happened_while_the_daemon_was_away_is_told() -> Story {
    for (how, end) in ENDS {
        let node = Node::fence_only();
        let web = container(&node)?;
        let folder =
            "mkdir /tmp/go && echo ready; while [ -d /tmp/go ]; do sleep 0.02; done; seq 1 1000; echo last >&2; exit 9";
        let process = web.run(&job(folder))?;
        process.stdout.wait_for("ready\n", LIMIT)?;
        let pid = node.pids_named("web", "sh")[0];
        end(&node);
        std::fs::remove_dir(format!("/proc/{pid}/root/tmp/go"))?;
        until("the process ends while fence is away", LIMIT, || {
            (!is_alive(pid)).then_some(())
        });
        node.start_fence();
        let again = web.garden.attach("web", "job")?;
        assert_eq!(again.wait()?, 9, "after {how}");
        let all: String = (1..=1000).map(|number| format!("{number}\n")).collect();
        assert_eq!(again.stdout.text().trim_start_matches("ready\n"), all, "after {how}");
        assert_eq!(again.stderr.text(), "last\n", "after {how}");
    }
    Ok(())
}

#[test]
fn a_polite_stop_repeats_and_loses_no_output() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let script = "i=0; while [ $i -lt 400 ]; do echo $i; i=$((i+1)); usleep 5000; done; exit 3";
    let mut process = web.run(&job(script))?;
    process.stdout.wait_for("\n5\n", LIMIT)?;
    let mut all = String::new();
    for _ in 0..2 {
        stop(&node);
        process.stdout.wait_for_end(LIMIT)?;
        all.push_str(&process.stdout.text());
        node.start_fence();
        process = web.garden.attach("web", "job")?;
    }
    assert_eq!(process.wait()?, 3);
    all.push_str(&process.stdout.text());
    assert_eq!(all, (0..400).map(|number| format!("{number}\n")).collect::<String>());
    Ok(())
}

#[test]
fn a_kill_loses_no_output() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let script = "i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); usleep 5000; done; exit 3";
    let process = web.run(&job(script))?;
    process.stdout.wait_for("line 5\n", LIMIT)?;
    node.kill_fence();
    // The end that a kill makes may be an error too.
    let _ = process.stdout.wait_for_end(LIMIT);
    let before = process.stdout.text();
    node.start_fence();
    let again = web.garden.attach("web", "job")?;
    assert_eq!(again.wait()?, 3);
    let after = again.stdout.text();
    // What was on its way in that moment may come twice, as whole bytes from some point on; nothing may be missing.
    let expected: String = (0..200).map(|number| format!("line {number}\n")).collect();
    let overlap = (0..=before.len())
        .rev()
        .find(|at| format!("{}{after}", &before[..*at]) == expected);
    assert!(overlap.is_some(), "before:\n{before}\nafter:\n{after}");
    Ok(())
}

#[test]
fn containers_stay_as_they_are() -> Story {
    for (how, end) in ENDS {
        let node = Node::fence_only();
        let spec = ContainerSpec {
            handle: "web".into(),
            env: vec!["A=b".into()],
            netin: vec![PortMapping {
                host_port: 0,
                container_port: 8080,
            }],
            ..ContainerSpec::default()
        };
        let web = node.container(&spec)?;
        web.garden.set_property("web", "owner", "ann")?;
        web.shell("echo kept > /tmp/file")?;
        let (before, inspected) = (web.garden.info("web")?, node.inspect("web"));
        end(&node);
        assert_eq!(node.containers_in_docker().len(), 1, "after {how}");
        assert_eq!(
            docker::inspect(&node.containers_in_docker()[0])["State"]["Status"],
            "running",
            "after {how}"
        );
        node.start_fence();
        let after = web.garden.info("web")?;
        assert_eq!(
            (after.state, after.container_ip),
            ("active".into(), before.container_ip),
            "after {how}"
        );
        assert_eq!(
            (after.properties, after.mapped_ports),
            (before.properties, before.mapped_ports),
            "after {how}"
        );
        assert_eq!(
            docker::pid(&node.inspect("web")),
            docker::pid(&inspected),
            "after {how}"
        );
        assert_eq!(web.shell("cat /tmp/file; echo $A")?, "kept\nb\n", "after {how}");
        web.garden.destroy("web")?;
        assert_eq!(node.containers_in_docker(), Vec::<String>::new(), "after {how}");
    }
    Ok(())
}

#[test]
fn what_was_acknowledged_is_there_and_nothing_else() -> Story {
    let node = Node::fence_only();
    let garden = node.garden();
    garden.create(&ContainerSpec {
        handle: "before".into(),
        ..ContainerSpec::default()
    })?;
    let acknowledged: BTreeSet<String> = thread::scope(|scope| {
        let create = |number: usize| {
            let garden = garden.clone();
            let handle = format!("new-{number}");
            scope.spawn(move || {
                garden
                    .create(&ContainerSpec {
                        handle,
                        ..ContainerSpec::default()
                    })
                    .ok()
            })
        };
        let threads: Vec<_> = (0..6).map(create).collect();
        let destroyed = scope.spawn(|| garden.destroy("before"));
        until("some are made in Docker", LIMIT, || {
            (node.containers_in_docker().len() > 2).then_some(())
        });
        node.kill_fence();
        // Whether the destroy was acknowledged does not matter: it is finished or can be repeated.
        let _ = destroyed.join();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().unwrap())
            .collect()
    });
    node.start_fence();
    let listed: BTreeSet<String> = garden
        .list(&[])?
        .into_iter()
        .filter(|handle| handle != "before")
        .collect();
    assert_eq!(listed, acknowledged);
    for handle in &acknowledged {
        assert_eq!(garden.output(handle, &ProcessSpec::new("echo", &["here"]))?.1, "here\n");
    }
    until("the destroy is finished or repeated", LIMIT, || {
        // The daemon may be finishing it by itself at this moment, and says so then.
        let _ = garden.destroy("before");
        garden.lookup("before").is_ok_and(|there| !there).then_some(())
    });
    until("Docker has no others", LIMIT, || {
        (node.containers_in_docker().len() == acknowledged.len()).then_some(())
    });
    Ok(())
}

#[test]
fn a_container_taken_away_behind_its_back_can_be_destroyed() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    node.remove_containers();
    until("fence has seen it", LIMIT, || {
        web.garden
            .output("web", &ProcessSpec::new("true", &[]))
            .is_err()
            .then_some(())
    });
    assert!(web.garden.lookup("web")?, "it stays listed until it is destroyed");
    web.garden.destroy("web")?;
    assert!(!web.garden.lookup("web")?);
    assert_eq!(container(&node)?.shell("echo new")?, "new\n");
    Ok(())
}

#[test]
fn a_second_restart_is_like_the_first() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let process = web.run(&job("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"))?;
    process.stdout.wait_for("ready", LIMIT)?;
    for _ in 0..3 {
        node.kill_fence();
        node.start_fence();
    }
    let again = web.garden.attach("web", "job")?;
    again.signal(tests::garden::Signal::Terminate)?;
    assert_eq!(again.wait()?, 5);
    Ok(())
}

/// How many lines it is to get.
const LINES: u32 = 5000;

/// The lines that a command got that was open across two restarts; its process stays, and its exit code arrives.
fn numbered_run_across(node: &Node, restart: impl Fn()) -> anyhow::Result<Vec<u32>> {
    let handle = node.kato(&["container", "create"]).ok();
    let pace = "[ $((i % 5)) != 0 ] || usleep 5000";
    let script = format!("i=0; while [ $i -lt {LINES} ]; do echo $i; i=$((i+1)); {pace}; done; exit 11");
    let mut kato = node.kato_command(&["container", "run", handle.trim(), "--", "sh", "-c", &script]);
    let mut child = kato
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("kato has no stdout")?).lines();
    let mut got: Vec<String> = lines.by_ref().take(5).collect::<Result<_, _>>()?;
    // The shell; one that it forked to run a program has its name for a moment.
    let shells = || node.pids_named(handle.trim(), "sh");
    let shell = *shells().first().context("no shell runs")?;
    for _ in 0..2 {
        restart();
        got.extend(lines.by_ref().take(20).collect::<Result<Vec<_>, _>>()?);
    }
    assert!(shells().contains(&shell), "the process is the same");
    got.extend(lines.collect::<Result<Vec<_>, _>>()?);
    let code = command::wait(&mut child, LIMIT);
    let mut said = String::new();
    child
        .stderr
        .take()
        .context("kato has no stderr")?
        .read_to_string(&mut said)?;
    assert_eq!(code, Some(11), "kato said: {said}");
    got.iter()
        .map(|line| line.parse().with_context(|| format!("the line {line:?}")))
        .collect()
}

#[test]
fn an_open_command_goes_on_through_an_administrators_restart() -> Story {
    let node = Node::micro();
    let before = node.fence_pid();
    let lines = numbered_run_across(&node, || drop(node.kato(&["process", "restart", "fence"]).ok()))?;
    assert_eq!(lines, (0..LINES).collect::<Vec<_>>());
    assert_ne!(node.fence_pid(), before);
    Ok(())
}

#[test]
fn input_of_an_open_command_arrives_once_through_kills() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let slowly = "while dd bs=64k count=1 status=none of=/tmp/piece && [ -s /tmp/piece ]; do cat /tmp/piece; usleep 20000; done; exit 6";
    let mut kato = node.kato_command(&["container", "run", &web.handle, "--", "sh", "-c", slowly]);
    let mut child = kato.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let all: Vec<u8> = (0..700_000)
        .flat_map(|number| format!("{number}\n").into_bytes())
        .collect();
    let mut stdin = child.stdin.take().context("kato has no stdin")?;
    let mut stdout = child.stdout.take().context("kato has no stdout")?;
    let got = thread::scope(|scope| {
        let feeding = scope.spawn(|| stdin.write_all(&all).map(|()| drop(stdin)));
        let mut got = vec![0; 200_000];
        for _ in 0..4 {
            let end = got.len();
            stdout.read_exact(&mut got[end - 200_000..])?;
            node.kill_fence();
            node.start_fence();
            got.resize(end + 200_000, 0);
        }
        got.truncate(got.len() - 200_000);
        stdout.read_to_end(&mut got)?;
        feeding.join().expect("the feeder does not panic")?;
        anyhow::Ok(got)
    })?;
    assert_eq!(command::wait(&mut child, LIMIT), Some(6));
    let differs = got.iter().zip(&all).position(|(got, sent)| got != sent);
    assert!(
        got == all,
        "{} bytes of {} came back, the first other one at {differs:?}",
        got.len(),
        all.len()
    );
    Ok(())
}

#[test]
fn an_open_command_goes_on_through_a_kill() -> Story {
    let node = Node::micro();
    let lines = numbered_run_across(&node, || {
        let fence = node.fence_pid();
        kill_hard(fence);
        until("another fence is ready", LIMIT, || {
            node.status()
                .ok()
                .filter(|status| status["ready"] == true && status["pid"] != fence)
        });
    })?;
    assert_eq!(lines, (0..LINES).collect::<Vec<_>>());
    Ok(())
}
