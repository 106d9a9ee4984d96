//! The protocol as each version speaks it: fence and the init of a container that runs are of different ages.

use fixtures::{from_hex, kept, lines, list, pin, to_hex, with_additions};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::frame::{self, Decoder, Frame};
use crate::protocol::*;

fn to_init() -> Vec<ToInit> {
    let spec = SpawnSpec {
        id: "job".into(),
        path: "sh".into(),
        args: vec!["-c".into(), "exit 3".into()],
        env: vec!["A=b".into()],
        dir: "/tmp".into(),
        user: "1000:1000".into(),
        rlimits: vec![Rlimit {
            resource: Resource::Nofile,
            value: 1024,
        }],
        tty: Some(WindowSize { columns: 80, rows: 24 }),
        buffer: 4096,
        log: 0,
    };
    let (seq, attachment, process, id) = (7, 2, 3, || "job".to_owned());
    vec![
        ToInit::Spawn {
            seq,
            attachment,
            spec: Box::new(spec),
        },
        ToInit::Spawn {
            seq,
            attachment,
            spec: Box::default(),
        },
        ToInit::Attach {
            seq,
            attachment,
            id: id(),
            log: false,
        },
        ToInit::Detach { attachment },
        ToInit::Ack {
            attachment,
            stream: Stream::Stdout,
            upto: 100,
        },
        ToInit::CloseInput { process },
        ToInit::Signal {
            seq,
            id: id(),
            signal: 15,
        },
        ToInit::SignalAll { seq, signal: 9 },
        ToInit::Resize {
            seq,
            id: id(),
            columns: 80,
            rows: 24,
        },
        ToInit::InputSource {
            seq,
            process,
            source: 5,
        },
        ToInit::Collect { id: id() },
        ToInit::List { seq },
    ]
}

fn from_init() -> Vec<FromInit> {
    let entry = |exit| ProcessEntry {
        id: "job".into(),
        process: 3,
        pid: 12,
        tty: true,
        exit,
        log: 0,
    };
    let processes = || vec![entry(None), entry(Some(Exit::Code(3))), entry(Some(Exit::Signal(9)))];
    let (seq, attachment, process, exit) = (7, 2, 3, Exit::Code(3));
    let error = Failure {
        kind: FailureKind::ExecutableNotFound,
        message: "there is no program sh".into(),
    };
    vec![
        FromInit::Hello {
            protocol: VERSION,
            build: "0.1.0".into(),
            processes: processes(),
            input_sources: true,
            logs: false,
        },
        FromInit::Spawned { seq, process, pid: 12 },
        FromInit::Attached {
            seq,
            process,
            stdout_from: 100,
            stderr_from: 0,
            tty: false,
            exit: Some(exit),
        },
        FromInit::Done { seq },
        FromInit::Listed {
            seq,
            processes: processes(),
            others: 4,
        },
        FromInit::InputSource { seq, upto: 50 },
        FromInit::Failed { seq, error },
        FromInit::Exited { id: "job".into(), exit },
        FromInit::Dropped {
            attachment,
            stream: Stream::Stderr,
            from: 10,
            upto: 20,
        },
        FromInit::StreamEnd {
            attachment,
            stream: Stream::Stdout,
        },
        FromInit::InputAck { process, upto: 50 },
    ]
}

fn frames() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("control", frame::encode_control(&ToInit::List { seq: 7 }).unwrap()),
        ("output", frame::encode_output(2, Stream::Stdout, b"out").unwrap()),
        ("errors", frame::encode_output(2, Stream::Stderr, b"err").unwrap()),
        ("input", frame::encode_input(3, b"in").unwrap()),
        ("input_from", frame::encode_input_from(3, 5, 50, b"in").unwrap()),
    ]
}

fn json_lines<T: Serialize>(messages: &[T]) -> String {
    let lines = messages
        .iter()
        .map(|message| serde_json::to_string(message).unwrap() + "\n");
    lines.collect()
}

/// Every line is understood, by itself and with what a later version may add.
fn is_understood<T: DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str) {
    for version in kept(name) {
        for line in version.text.lines() {
            let message: T = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            let later: T = serde_json::from_str(&with_additions(line)).unwrap();
            assert_eq!(later, message, "of {}", version.version);
        }
    }
}

#[test]
fn fence_says_what_this_version_says() {
    pin("init/to-init.jsonl", &json_lines(&to_init()));
    is_understood::<ToInit>("init/to-init.jsonl");
}

#[test]
fn init_says_what_this_version_says() {
    pin("init/from-init.jsonl", &json_lines(&from_init()));
    is_understood::<FromInit>("init/from-init.jsonl");
}

#[test]
fn frames_are_those_of_this_version() {
    pin(
        "init/frames.txt",
        &list(frames().into_iter().map(|(name, bytes)| (name, to_hex(&bytes)))),
    );
    for version in kept("init/frames.txt") {
        let mut decoder = Decoder::new();
        lines(&version.text)
            .into_iter()
            .for_each(|(_, hex)| decoder.push(&from_hex(hex)));
        let output = |stream, data: &[u8]| Frame::Output {
            attachment: 2,
            stream,
            data: data.to_vec(),
        };
        let (process, data) = (3, b"in".to_vec());
        let input_from = Frame::InputFrom {
            process,
            source: 5,
            from: 50,
            data: data.clone(),
        };
        for expected in [
            Frame::Control(br#"{"type":"list","seq":7}"#.to_vec()),
            output(Stream::Stdout, b"out"),
            output(Stream::Stderr, b"err"),
            Frame::Input { process, data },
            input_from,
        ] {
            assert_eq!(decoder.next_frame().unwrap(), Some(expected), "of {}", version.version);
        }
    }
}

/// The first builds of the protocol say less of themselves and of their processes.
#[test]
fn the_oldest_hello_is_understood() {
    let line =
        r#"{"type":"hello","protocol":1,"build":"0.1.0","processes":[{"id":"job","process":3,"pid":12,"exit":null}]}"#;
    let hello: FromInit = serde_json::from_str(line).unwrap();
    let FromInit::Hello {
        processes,
        input_sources,
        ..
    } = hello
    else {
        panic!("{hello:?} is no hello")
    };
    assert!(!input_sources && !processes[0].tty);
}
