//! Garden: processes on a terminal.

use tests::garden::{ContainerSpec, ProcessSpec, Signal};
use tests::harness::{ContainerOf, LIMIT, Node};

type Story = anyhow::Result<()>;

fn container(node: &Node) -> anyhow::Result<ContainerOf> {
    Ok(node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?)
}

#[test]
fn the_size_is_the_one_given_or_80_by_24() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    for (size, expected) in [(None, "24 80\r\n"), (Some((132, 43)), "43 132\r\n")] {
        let (status, stdout, _) = web.output(&ProcessSpec::new("stty", &["size"]).tty(size))?;
        assert_eq!((status, stdout.as_str()), (0, expected));
    }
    Ok(())
}

#[test]
fn the_size_can_be_changed_and_the_process_is_told() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done";
    let process = web.run(&ProcessSpec::script(script).tty(None))?;
    process.stdout.wait_for("ready\r\n", LIMIT)?;
    process.resize(100, 40)?;
    process.stdout.wait_for("40 100\r\n", LIMIT)?;
    process.resize(90, 30)?;
    process.stdout.wait_for("30 90\r\n", LIMIT)?;
    process.signal(Signal::Kill)?;
    assert_eq!(process.wait()?, 137);
    Ok(())
}

#[test]
fn all_output_is_one_stream_with_carriage_returns() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let output =
        web.output(&ProcessSpec::script("echo out; echo err >&2; tty >/dev/null || exit 9; exit 3").tty(None))?;
    assert_eq!(output, (3, "out\r\nerr\r\n".into(), String::new()));
    Ok(())
}

#[test]
fn what_is_typed_is_echoed_and_control_keys_work() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let process = web.run(&ProcessSpec::new("cat", &[]).tty(None))?;
    process.write("potato\n")?;
    process.stdout.wait_for("potato\r\npotato\r\n", LIMIT)?;
    process.close_stdin()?;
    assert_eq!(process.wait()?, 0);

    let process = web.run(
        &ProcessSpec::script("echo ready; exec sleep 1000")
            .tty(None)
            .user("stackato"),
    )?;
    process.stdout.wait_for("ready", LIMIT)?;
    process.write("\u{3}")?;
    assert_eq!(process.wait()?, 130);
    Ok(())
}

#[test]
fn a_shell_on_it_has_job_control() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let shell = web.run(&ProcessSpec::new("sh", &["-i"]).tty(None).user("stackato"))?;
    shell.write("tty; echo job control is $-\n")?;
    shell.stdout.wait_for("/dev/pts/", LIMIT)?;
    shell.stdout.wait_for("job control is ", LIMIT)?;
    shell.write("exit 4\n")?;
    assert_eq!(shell.wait()?, 4);
    assert!(
        !shell.stdout.text().contains("can't access tty"),
        "{}",
        shell.stdout.text()
    );
    Ok(())
}
