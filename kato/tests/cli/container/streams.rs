//! `run` and `attach`: streams byte for byte, signals, and exit codes.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};
use std::sync::mpsc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::fence::{Fence, error, json as answer, process, process_that, without_query};
use crate::harness::Machine;

/// Bytes of all values, more than fit one frame.
fn blob() -> Vec<u8> {
    (0..300_000_u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// Kato with all its streams in the test's hands.
fn spawn(machine: &Machine, args: &[&str]) -> Child {
    let mut command = machine.command(args);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("kato starts")
}

fn line_of(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("stdout is piped"))
        .read_line(&mut line)
        .expect("a line");
    line
}

#[test]
fn run_asks_for_the_process_as_given() {
    let machine = Machine::new();
    let fence = Fence::start(&machine, vec![process(|stream| stream.exit(0))]);
    let ran = machine.kato([
        "container",
        "run",
        "-u",
        "stackato",
        "-w",
        "/tmp",
        "-e",
        "A=1",
        "--id",
        "job",
        "--rlimit",
        "nofile=64",
        "web",
        "--",
        "ls",
        "-l",
        "--",
        "/",
    ]);
    assert_eq!(ran.to_string(), "exit: 0\n");
    let asked = json!({"id": "job", "path": "ls", "args": ["-l", "--", "/"], "env": ["A=1"], "dir": "/tmp",
        "user": "stackato", "rlimits": {"nofile": 64}, "image": {}});
    let [(line, body)] = &fence.asked()[..] else {
        panic!("one request")
    };
    assert!(line.contains("?output_acks=true&stdin_source="), "{line}");
    assert_eq!(without_query(line), "POST /fence/v1/containers/web/processes");
    assert_eq!(*body, asked);
}

#[test]
fn output_and_errors_keep_their_streams_and_the_exit_code_is_the_processes() {
    let machine = Machine::new();
    let script = process(|stream| {
        stream.send(1, b"out\n");
        stream.send(2, b"err\n");
        stream.send(99, b"of a later fence");
        stream.exit(3);
    });
    let _fence = Fence::start(&machine, vec![script]);
    let ran = machine.kato(["container", "run", "web", "ls"]);
    assert_eq!(ran.to_string(), "exit: 3\n---- stdout\nout\n---- stderr\nerr\n");
}

#[test]
fn any_bytes_pass_unharmed_both_ways() {
    let machine = Machine::new();
    let script = process(|stream| {
        let input = stream.input();
        input.chunks(65_536).for_each(|chunk| stream.send(1, chunk));
        stream.exit(0);
    });
    let _fence = Fence::start(&machine, vec![script]);
    let mut child = spawn(&machine, &["container", "run", "web", "--", "cat"]);
    child
        .stdin
        .take()
        .expect("stdin is piped")
        .write_all(&blob())
        .expect("kato reads");
    let output = child.wait_with_output().expect("kato ends");
    assert!(output.stdout == blob());
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn no_more_input_is_on_its_way_than_fence_allows() {
    const WINDOW: usize = 100_000;
    let machine = Machine::new();
    let first = r#"{"process_id":"p1","stream_id":"1","tty":false,"stdin_window":100000}"#;
    let script = process_that(first, |stream| {
        stream.expect(20);
        let (mut input, mut acked) = (Vec::new(), 0);
        while input.len() < blob().len() {
            input.extend(stream.expect(16));
            // One piece beyond is fine: a window is closed when it is full, not before.
            assert!(input.len() - acked < WINDOW + 65_536);
            if input.len() - acked >= WINDOW {
                acked = input.len();
                stream.send(7, format!(r#"{{"stdin_ack":{acked}}}"#).as_bytes());
            }
        }
        stream.expect(17);
        assert!(input == blob());
        stream.exit(0);
    });
    let fence = Fence::start(&machine, vec![script]);
    assert_eq!(
        machine.kato_reading(&blob(), ["container", "run", "web", "cat"]).code(),
        0
    );
    fence.asked();
}

#[test]
fn a_process_without_input_reads_the_end_at_once() {
    let machine = Machine::new();
    let script = process(|stream| {
        assert_eq!(stream.input(), b"");
        stream.exit(0);
    });
    let fence = Fence::start(&machine, vec![script]);
    let mut child = spawn(&machine, &["container", "run", "-n", "web", "cat"]);
    assert_eq!(child.wait().expect("kato ends").code(), Some(0));
    fence.asked();
}

#[test]
fn attach_without_input_leaves_it_to_others() {
    let machine = Machine::new();
    let script = process(|stream| {
        stream.exit(0);
        assert_eq!(stream.next(), None);
    });
    let fence = Fence::start(&machine, vec![script]);
    assert_eq!(machine.kato(["container", "attach", "-n", "web"]).code(), 0);
    assert_eq!(
        without_query(&fence.asked()[0].0),
        "GET /fence/v1/containers/web/processes/main/attach"
    );
}

#[test]
fn signals_go_to_the_process() {
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
    ] {
        let machine = Machine::new();
        let script = process(move |stream| {
            stream.send(1, b"ready\n");
            let told = stream.expect(18);
            assert_eq!(
                String::from_utf8_lossy(&told),
                format!(r#"{{"signal":{}}}"#, signal as i32)
            );
            stream.exit(128 + signal as i32);
        });
        let fence = Fence::start(&machine, vec![script]);
        let mut child = spawn(&machine, &["container", "run", "web", "sleep"]);
        assert_eq!(line_of(&mut child), "ready\n");
        // Waiting for kato would close it.
        let _input = child.stdin.take();
        kill(Pid::from_raw(child.id().cast_signed()), signal).expect("kato lives");
        assert_eq!(child.wait().expect("kato ends").code(), Some(128 + signal as i32));
        fence.asked();
    }
}

#[test]
fn the_process_is_told_when_the_reader_of_its_output_leaves() {
    let machine = Machine::new();
    let (leave, left) = mpsc::channel();
    let script = process(move |stream| {
        stream.send(1, b"y\n");
        // The input is open still: what comes next is what came of the reader's leaving.
        left.recv().expect("the reader leaves");
        stream.send(1, b"y\n");
        assert_eq!(stream.expect(18), br#"{"signal":13}"#);
        stream.exit(141);
    });
    let fence = Fence::start(&machine, vec![script]);
    let mut child = spawn(&machine, &["container", "run", "web", "yes"]);
    line_of(&mut child);
    drop(child.stdout.take());
    leave.send(()).expect("fence waits");
    let mut said = String::new();
    child
        .stderr
        .take()
        .expect("stderr is piped")
        .read_to_string(&mut said)
        .expect("stderr is text");
    assert_eq!(
        (child.wait().expect("kato ends").code(), said.as_str()),
        (Some(141), "")
    );
    fence.asked();
}

#[test]
fn a_program_that_is_not_there_or_cannot_be_run_is_told_as_by_a_shell() {
    let machine = Machine::new();
    let missing = "exec \"nosuch\": executable file not found in $PATH";
    let denied = "exec \"/etc/hosts\": permission denied";
    let script = vec![
        error(400, "ExecutableNotFoundError", missing, ""),
        error(400, "NotExecutableError", denied, ""),
    ];
    let _fence = Fence::start(&machine, script);
    insta::assert_snapshot!(machine.kato(["container", "run", "web", "nosuch"]), @r#"
    exit: 127
    ---- stderr
    kato: exec "nosuch": executable file not found in $PATH
    "#);
    insta::assert_snapshot!(machine.kato(["container", "run", "web", "/etc/hosts"]), @r#"
    exit: 126
    ---- stderr
    kato: exec "/etc/hosts": permission denied
    "#);
}

#[test]
fn what_fence_refuses_has_katos_own_codes() {
    let machine = Machine::new();
    let script = vec![
        error(404, "ContainerNotFoundError", "unknown handle: web", "web"),
        answer(200, json!([])),
        answer(
            404,
            json!({"Type": "ProcessNotFoundError", "Message": "", "Handle": "web", "ProcessID": "p9"}),
        ),
        error(503, "ServiceUnavailableError", "fence is starting", ""),
        error(400, "InvalidError", "unable to find user nobodyx", ""),
        error(500, "", "it broke", ""),
    ];
    let _fence = Fence::start(&machine, script);
    let codes: Vec<i32> = [
        ["container", "run", "web", "ls"],
        ["container", "attach", "web", "p9"],
        ["container", "run", "web", "ls"],
        ["container", "run", "web", "ls"],
        ["container", "run", "web", "ls"],
    ]
    .map(|args| machine.kato(args).code())
    .to_vec();
    assert_eq!(codes, [4, 4, 5, 3, 1]);
}

#[test]
fn output_that_was_lost_is_told() {
    let machine = Machine::new();
    let script = process(|stream| {
        stream.send(6, br#"{"dropped":{"stream":"stdout","bytes":9}}"#);
        stream.exit(0);
    });
    let _fence = Fence::start(&machine, vec![script]);
    insta::assert_snapshot!(machine.kato(["container", "attach", "web"]), @"
    exit: 0
    ---- stderr
    WARNING: 9 bytes of stdout are lost: nobody read them in time
    ");
}

#[test]
fn a_stream_that_makes_no_sense_is_an_error() {
    let machine = Machine::new();
    let script = process(|stream| stream.send(4, b"nonsense"));
    let failed = process(|stream| stream.send(5, br#"{"error":"the container is gone"}"#));
    let _fence = Fence::start(&machine, vec![script, failed]);
    insta::assert_snapshot!(machine.kato(["container", "run", "web", "ls"]), @"
    exit: 1
    ---- stderr
    kato: fence sent what kato does not understand: a frame that cannot be read: expected ident at line 1 column 2
    ");
    insta::assert_snapshot!(machine.kato(["container", "run", "web", "ls"]), @"
    exit: 1
    ---- stderr
    kato: lost process 'p1': the container is gone
    ");
}

#[test]
fn a_process_that_is_left_alone_is_named_and_has_no_input() {
    let machine = Machine::new();
    let script = process(|stream| {
        assert_eq!(stream.input(), b"");
        assert_eq!(stream.next(), None);
    });
    let fence = Fence::start(&machine, vec![script]);
    let ran = machine.kato(["container", "run", "-d", "web", "--", "crond"]);
    assert_eq!(ran.to_string(), "exit: 0\n---- stdout\np1\n");
    fence.asked();
}

#[test]
fn input_of_a_process_that_is_left_alone_stays_open_where_that_is_asked_for() {
    let machine = Machine::new();
    let script = process(|stream| assert_eq!(stream.next(), None));
    let fence = Fence::start(&machine, vec![script]);
    assert_eq!(machine.kato(["container", "run", "-di", "web", "cat"]).code(), 0);
    fence.asked();
}
