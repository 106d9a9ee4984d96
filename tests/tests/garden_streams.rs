//! Garden: the connections that are taken over, their heads, their order, what each attachment gets.

use serde_json::{Value, json};
use tests::garden::{ContainerSpec, MainConnection, ProcessSpec, Signal};
use tests::harness::{ContainerOf, LIMIT, Node};

type Story = anyhow::Result<()>;

fn container(node: &Node) -> anyhow::Result<ContainerOf> {
    Ok(node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?)
}

/// The ids in the first object of a main connection.
fn ids(main: &mut MainConnection) -> anyhow::Result<(String, String)> {
    let first = main.next_object()?.unwrap_or_default();
    let text = |key: &str| first[key].as_str().unwrap_or_default().to_owned();
    Ok((text("process_id"), text("stream_id")))
}

/// The exit status that the main connection tells before it ends.
fn exit(mut main: MainConnection) -> anyhow::Result<Value> {
    let mut last = Value::Null;
    while let Some(object) = main.next_object()? {
        last = object;
    }
    Ok(last["exit_status"].clone())
}

#[test]
fn heads_are_such_that_the_client_keeps_the_connection() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    // The client refuses a head with which the Go one would lose the connection.
    let mut main = web.garden.open_run("web", &ProcessSpec::new("sleep", &["1000"]))?;
    assert_eq!(main.head.status, 201);
    let (process, stream) = ids(&mut main)?;
    let mut second = web.garden.open_attach("web", &process)?;
    assert_eq!(second.head.status, 200);
    assert_ne!(
        ids(&mut second)?.1,
        stream,
        "each attachment has a stream id of its own"
    );
    for side in ["stdout", "stderr"] {
        assert_eq!(web.garden.open_side("web", &process, &stream, side)?.head.status, 200);
    }
    main.send(&json!({ "process_id": process, "signal": 1 }))?;
    assert_eq!(exit(main)?, 137);
    assert_eq!(exit(second)?, 137);
    Ok(())
}

#[test]
fn the_exit_of_zero_is_said_explicitly_and_ends_the_connection() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let mut main = web.garden.open_run("web", &ProcessSpec::new("true", &[]))?;
    let (process, _) = ids(&mut main)?;
    assert_eq!(
        main.next_object()?,
        Some(json!({ "process_id": process, "exit_status": 0 }))
    );
    assert_eq!(main.next_object()?, None);
    Ok(())
}

#[test]
fn side_connections_that_come_late_get_everything() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let mut main = web
        .garden
        .open_run("web", &ProcessSpec::script("seq 1 20000; echo to stderr >&2"))?;
    let (process, stream) = ids(&mut main)?;
    assert_eq!(exit(main)?, 0);
    let stdout = web
        .garden
        .open_side("web", &process, &stream, "stdout")?
        .read_to_end()?;
    assert_eq!(stdout, sequence(20_000).into_bytes());
    assert_eq!(
        web.garden
            .open_side("web", &process, &stream, "stderr")?
            .read_to_end()?,
        b"to stderr\n"
    );
    Ok(())
}

#[test]
fn a_stream_that_is_not_there_is_empty() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let process = web.run(&ProcessSpec::script("echo here; exec sleep 1000"))?;
    process.stdout.wait_for("here\n", LIMIT)?;
    for (id, stream) in [
        (process.id.as_str(), "no-such-stream"),
        (&process.id, &process.stream_id),
        ("ghost", "1"),
    ] {
        for side in ["stdout", "stderr"] {
            let connection = web.garden.open_side("web", id, stream, side)?;
            assert_eq!(connection.head.status, 200);
            assert_eq!(
                connection.read_to_end()?,
                b"",
                "{side} of {id} {stream}, which was taken or never was"
            );
        }
    }
    process.signal(Signal::Kill)?;
    assert_eq!(process.wait()?, 137);
    Ok(())
}

#[test]
fn a_second_attachment_gets_what_comes_from_then_on() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let script = "echo one; echo err one >&2; read word; echo two; echo err two >&2; exit 6";
    let first = web.run(&ProcessSpec::script(script))?;
    first.stdout.wait_for("one\n", LIMIT)?;
    first.stderr.wait_for("err one\n", LIMIT)?;
    let second = web.garden.attach("web", &first.id)?;
    second.write("go\n")?;
    assert_eq!((first.wait()?, second.wait()?), (6, 6));
    assert_eq!(
        (first.stdout.text(), first.stderr.text()),
        ("one\ntwo\n".into(), "err one\nerr two\n".into())
    );
    assert_eq!(
        (second.stdout.text(), second.stderr.text()),
        ("two\n".into(), "err two\n".into())
    );
    Ok(())
}

#[test]
fn input_from_several_attachments_is_one() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let first = web.run(&ProcessSpec::new("cat", &[]))?;
    let second = web.garden.attach("web", &first.id)?;
    first.write("a\n")?;
    first.stdout.wait_for("a\n", LIMIT)?;
    second.write("b\n")?;
    first.stdout.wait_for("b\n", LIMIT)?;
    second.stdout.wait_for("b\n", LIMIT)?;
    first.close_stdin()?;
    assert_eq!((first.wait()?, second.wait()?), (0, 0));
    assert_eq!(first.stdout.text(), "a\nb\n");
    Ok(())
}

#[test]
fn much_output_arrives_whole_and_in_order() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    // Nearly 20 MB on each stream: twice what is kept for a reader that does not come.
    let process = web.run(&ProcessSpec::script("seq 1 2600000 & seq 1 2600000 >&2; wait"))?;
    assert_eq!(process.wait()?, 0);
    let expected = sequence(2_600_000);
    assert!(
        process.stdout.so_far() == expected.as_bytes(),
        "stdout is another, of {} bytes",
        process.stdout.so_far().len()
    );
    assert!(
        process.stderr.so_far() == expected.as_bytes(),
        "stderr is another, of {} bytes",
        process.stderr.so_far().len()
    );
    Ok(())
}

#[test]
fn bytes_that_are_no_text_arrive_as_they_are() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let script = "i=0; while [ $i -lt 256 ]; do printf \"\\\\$(printf %03o $i)\"; i=$((i+1)); done";
    let process = web.run(&ProcessSpec::script(script))?;
    assert_eq!(process.wait()?, 0);
    assert_eq!(process.stdout.so_far(), (0..=255).collect::<Vec<u8>>());
    Ok(())
}

#[test]
fn a_reader_that_stops_reading_holds_the_process_back_until_it_hangs_up() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let mut idle = web
        .garden
        .open_run("web", &ProcessSpec::script("read word; seq 1 2600000; exit 2"))?;
    let (process, stream) = ids(&mut idle)?;
    // Opened, and never read from.
    let unread = web.garden.open_side("web", &process, &stream, "stdout")?;
    let reader = web.garden.attach("web", &process)?;
    reader.write("go\n")?;
    reader.stdout.wait_for("\n1000\n", LIMIT)?;
    drop(unread);
    idle.hang_up();
    assert_eq!(reader.wait()?, 2);
    let expected = sequence(2_600_000);
    assert!(
        reader.stdout.so_far() == expected.as_bytes(),
        "{} bytes",
        reader.stdout.so_far().len()
    );
    Ok(())
}

#[test]
fn a_child_left_behind_does_not_hold_the_exit_back() -> Story {
    let node = Node::fence_only();
    let web = container(&node)?;
    let process = web.run(&ProcessSpec::script("sleep 1000 & echo started; exit 0"))?;
    assert_eq!(process.wait()?, 0);
    assert_eq!(process.stdout.text(), "started\n");
    Ok(())
}

fn sequence(last: u32) -> String {
    let mut all = String::new();
    for number in 1..=last {
        all.push_str(&number.to_string());
        all.push('\n');
    }
    all
}
