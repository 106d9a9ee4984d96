//! Processes with a terminal.

use fence_init::protocol::*;

use crate::container::*;
use crate::peer::*;

fn with_tty(spec: SpawnSpec, columns: u16, rows: u16) -> SpawnSpec {
    SpawnSpec {
        tty: Some(WindowSize { columns, rows }),
        ..spec
    }
}

/// Reads until the output so far ends with this.
fn until(fence: &mut Peer, process: &Started, seen: &mut Vec<u8>, end: &str) {
    while !seen.ends_with(end.as_bytes()) {
        let piece = fence.piece(process.attachment, Stream::Stdout).expect("more output");
        seen.extend(piece);
        fence.ack(process.attachment, Stream::Stdout, seen.len() as u64);
    }
}

#[test]
fn a_terminal_has_its_size_and_both_outputs_in_one() {
    let (_container, mut fence) = Container::start();
    let process = fence.spawn(with_tty(
        sh("tty", "stty size; tty; echo error >&2; test -t 0 && echo yes"),
        0,
        0,
    ));
    let text = fence.text(&process, Stream::Stdout);
    let lines: Vec<_> = text.split("\r\n").collect();
    assert_eq!((lines[0], lines[2], lines[3]), ("24 80", "error", "yes"), "{text:?}");
    assert!(lines[1].starts_with("/dev/pts/"), "{text:?}");
    assert_eq!(fence.text(&process, Stream::Stderr), "");
    assert_eq!(fence.exit(&process), Exit::Code(0));
}

#[test]
fn the_size_can_be_given_and_changed() {
    let (_container, mut fence) = Container::start();
    let script = "stty size; trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done";
    let process = fence.spawn(with_tty(sh("tty", script), 132, 43));
    let mut seen = Vec::new();
    fence.ack(process.attachment, Stream::Stdout, 0);
    until(&mut fence, &process, &mut seen, "43 132\r\nready\r\n");
    fence
        .ask(|seq| ToInit::Resize {
            seq,
            id: "tty".into(),
            columns: 100,
            rows: 30,
        })
        .unwrap();
    until(&mut fence, &process, &mut seen, "30 100\r\n");
    assert_eq!(fence.exit(&process), Exit::Code(0));
    let plain = fence.spawn(program("plain", "sleep", &["1000"]));
    let refused = fence
        .ask(|seq| ToInit::Resize {
            seq,
            id: plain.id,
            columns: 1,
            rows: 1,
        })
        .unwrap_err();
    assert_eq!(refused.kind, FailureKind::Invalid);
}

#[test]
fn input_is_echoed_and_its_end_is_a_character() {
    let (_container, mut fence) = Container::start();
    let process = fence.spawn(with_tty(program("cat", "cat", &[]), 80, 24));
    fence.input(process.number, b"hello\n");
    let mut seen = Vec::new();
    fence.ack(process.attachment, Stream::Stdout, 0);
    until(&mut fence, &process, &mut seen, "hello\r\nhello\r\n");
    fence.send(&ToInit::CloseInput {
        process: process.number,
    });
    assert_eq!(fence.exit(&process), Exit::Code(0));
}

#[test]
fn control_characters_become_signals() {
    let (_container, mut fence) = Container::start();
    let spec = SpawnSpec {
        user: "alice".into(),
        ..sh(
            "tty",
            "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done",
        )
    };
    let process = fence.spawn(with_tty(spec, 80, 24));
    let mut seen = Vec::new();
    fence.ack(process.attachment, Stream::Stdout, 0);
    until(&mut fence, &process, &mut seen, "ready\r\n");
    fence.input(process.number, b"\x03");
    until(&mut fence, &process, &mut seen, "caught\r\n");
    assert_eq!(fence.exit(&process), Exit::Code(9));
}

#[test]
fn a_user_may_open_its_terminal_by_name() {
    let (_container, mut fence) = Container::start();
    let spec = SpawnSpec {
        user: "alice".into(),
        ..sh("tty", "echo here > $(tty); echo there > /dev/tty")
    };
    let process = fence.spawn(with_tty(spec, 80, 24));
    assert_eq!(fence.text(&process, Stream::Stdout), "here\r\nthere\r\n");
}

#[test]
fn the_last_output_of_a_terminal_is_not_lost() {
    let (_container, mut fence) = Container::start();
    for round in 0..20 {
        let process = fence.spawn(with_tty(program(&format!("t{round}"), "seq", &["1", "3000"]), 80, 24));
        let text = fence.text(&process, Stream::Stdout);
        assert!(
            text.ends_with("2999\r\n3000\r\n"),
            "{:?}",
            &text[text.len().saturating_sub(30)..]
        );
        assert_eq!(text.lines().count(), 3000);
    }
}
