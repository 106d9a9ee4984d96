//! `run` over a restart of fence: the conversation goes on where it was.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::fence::{Fence, error, json as answer, listen, process, process_that, request, socket, without_query};
use crate::harness::Machine;

const WITH_WINDOW: &str = r#"{"process_id":"p1","stream_id":"1","tty":false,"stdin_window":1000000}"#;

fn spawn(machine: &Machine, args: &[&str]) -> Child {
    let mut command = machine.command(args);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("kato starts")
}

/// Wait until kato says so on stderr.
fn hear(child: &mut Child, words: &str) {
    let stderr = BufReader::new(child.stderr.as_mut().expect("stderr is piped"));
    let mut lines = stderr.lines().map(|line| line.expect("stderr is text"));
    assert!(lines.any(|line| line.contains(words)), "kato does not say: {words}");
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).expect("kato lives");
}

#[test]
fn unread_output_and_the_exit_code_arrive_from_the_next_fence() {
    let machine = Machine::new();
    let script = vec![
        process(|stream| stream.send(1, b"one\n")),
        process(|stream| {
            stream.send(1, b"two\n");
            stream.send(5, br#"{"error":"fence is stopping","again":true}"#);
        }),
        error(503, "ServiceUnavailableError", "fence is starting", ""),
        process(|stream| {
            stream.send(1, b"three\n");
            stream.exit(9);
        }),
    ];
    let fence = Fence::start(&machine, script);
    let ran = machine.kato(["container", "run", "-n", "web", "job"]);
    assert_eq!(ran.to_string(), "exit: 9\n---- stdout\none\ntwo\nthree\n");
    let asked = fence.asked();
    assert_eq!(
        without_query(&asked[3].0),
        "GET /fence/v1/containers/web/processes/p1/attach"
    );
}

#[test]
fn output_is_acknowledged_once_it_is_printed_and_never_printed_twice() {
    const FROM_0: &str = r#"{"process_id":"p1","stream_id":"1","stdout_from":0,"stderr_from":0}"#;
    const FROM_6: &str = r#"{"process_id":"p1","stream_id":"1","stdout_from":6,"stderr_from":0}"#;
    let machine = Machine::new();
    let script = vec![
        process_that(FROM_0, |stream| {
            stream.send(1, b"one\n");
            stream.acknowledged(r#"{"stdout_ack":4,"stderr_ack":0}"#);
            stream.send(1, b"two\n");
            stream.send(2, b"err\n");
            stream.acknowledged(r#"{"stdout_ack":8,"stderr_ack":4}"#);
        }),
        // The acknowledgements beyond this have not arrived.
        process_that(FROM_6, |stream| {
            stream.send(1, b"o\nth");
            stream.acknowledged(r#"{"stdout_ack":10,"stderr_ack":0}"#);
            stream.send(6, br#"{"dropped":{"stream":"stderr","bytes":4}}"#);
            stream.send(1, b"ree\n");
            stream.acknowledged(r#"{"stdout_ack":14,"stderr_ack":4}"#);
            stream.exit(0);
        }),
    ];
    let fence = Fence::start(&machine, script);
    let ran = machine.kato(["container", "run", "-n", "web", "job"]);
    assert_eq!(
        ran.to_string(),
        "exit: 0\n---- stdout\none\ntwo\nthree\n---- stderr\nerr\n"
    );
    fence.asked();
}

#[test]
fn input_that_the_process_turns_out_to_have_is_not_sent_again() {
    const HAS_7: &str = r#"{"process_id":"p1","stream_id":"1","stdin_window":1000000,"stdin_from":7}"#;
    let machine = Machine::new();
    let script = vec![
        process_that(WITH_WINDOW, |stream| {
            stream.expect(20);
            assert_eq!(stream.input(), b"0123456789");
            stream.send(7, br#"{"stdin_ack":4}"#);
        }),
        process_that(HAS_7, |stream| {
            stream.expect(20);
            assert_eq!(stream.input(), b"789");
            stream.exit(0);
        }),
    ];
    let fence = Fence::start(&machine, script);
    let ran = machine.kato_reading(b"0123456789", ["container", "run", "web", "cat"]);
    assert_eq!(ran.code(), 0);
    let source = |line: &str| line.split_once("stdin_source=").map(|(_, source)| source.to_owned());
    let asked = fence.asked();
    assert!(source(&asked[0].0).is_some());
    assert_eq!(source(&asked[0].0), source(&asked[1].0));
}

#[test]
fn input_that_was_not_passed_on_is_sent_to_the_next_fence_and_no_other() {
    let machine = Machine::new();
    let script = vec![
        process_that(WITH_WINDOW, |stream| {
            stream.expect(20);
            let mut input = Vec::new();
            while input.len() < 10 {
                input.extend(stream.expect(16));
            }
            assert_eq!(input, b"0123456789");
            stream.send(7, br#"{"stdin_ack":4}"#);
        }),
        process_that(WITH_WINDOW, |stream| {
            stream.expect(20);
            assert_eq!(stream.input(), b"456789");
            stream.exit(0);
        }),
    ];
    let fence = Fence::start(&machine, script);
    assert_eq!(
        machine
            .kato_reading(b"0123456789", ["container", "run", "web", "cat"])
            .code(),
        0
    );
    fence.asked();
}

#[test]
fn input_and_signals_of_the_meantime_are_kept() {
    let machine = Machine::new();
    let before = Fence::start(&machine, vec![process(|_| ())]);
    let mut child = spawn(&machine, &["-v", "container", "run", "web", "cat"]);
    before.asked();
    std::fs::remove_file(socket(machine.root())).expect("the socket is there");
    hear(&mut child, "attaching again");
    child
        .stdin
        .take()
        .expect("stdin is piped")
        .write_all(b"typed")
        .expect("kato lives");
    signal(&child, Signal::SIGUSR1);
    let after = process(|stream| {
        let (mut input, mut told) = (Vec::new(), Vec::new());
        while told.is_empty() || input != b"typed" {
            match stream.next().expect("input and a signal") {
                (18, payload) => told = payload,
                (16, data) => input.extend(data),
                (kind, _) => assert_eq!(kind, 17),
            }
        }
        assert_eq!(told, br#"{"signal":10}"#);
        stream.exit(0);
    });
    let after = Fence::start(&machine, vec![after]);
    assert_eq!(child.wait().expect("kato ends").code(), Some(0));
    after.asked();
}

#[test]
fn a_second_signal_ends_kato_where_there_is_no_fence() {
    let machine = Machine::new();
    let fence = Fence::start(&machine, vec![process(|_| ())]);
    let mut child = spawn(&machine, &["-v", "container", "run", "web", "sleep"]);
    fence.asked();
    hear(&mut child, "attaching again");
    signal(&child, Signal::SIGINT);
    signal(&child, Signal::SIGTERM);
    let code = child.wait().expect("kato ends").code();
    assert!(code == Some(130) || code == Some(143), "{code:?}");
}

#[test]
fn a_signal_ends_kato_where_fence_does_not_answer_at_all() {
    let machine = Machine::new();
    let listener = listen(machine.root());
    let child = spawn(&machine, &["container", "run", "web", "sleep"]);
    let (mut asked, _) = listener.accept().expect("a connection");
    request(&mut asked);
    signal(&child, Signal::SIGINT);
    let output = child.wait_with_output().expect("kato ends");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(130), &b""[..]));
}

#[test]
fn a_process_that_the_next_fence_does_not_know_is_lost() {
    let machine = Machine::new();
    let gone = json!({"Type": "ProcessNotFoundError", "Message": "", "Handle": "web", "ProcessID": "p1", "hint": ""});
    let _fence = Fence::start(&machine, vec![process(|_| ()), answer(404, gone)]);
    insta::assert_snapshot!(machine.kato(["container", "run", "-n", "web", "job"]), @"
    exit: 1
    ---- stderr
    kato: lost the connection to process 'p1': there is no process 'p1' in the container
    ");
}

#[test]
fn nothing_is_said_of_a_restart_unless_more_is_asked_for() {
    let machine = Machine::new();
    let _fence = Fence::start(&machine, vec![process(|_| ()), process(|stream| stream.exit(0))]);
    let mut child = spawn(&machine, &["-v", "container", "run", "-n", "web", "job"]);
    hear(&mut child, "attached again");
    let mut rest = String::new();
    child
        .stderr
        .take()
        .expect("stderr is piped")
        .read_to_string(&mut rest)
        .expect("stderr is text");
    assert_eq!((rest.as_str(), child.wait().expect("kato ends").code()), ("", Some(0)));
}
