//! What each version's fence answers, and what each version's kato asks of it: the two are replaced one after the other.

use fixtures::{from_hex, kept, lines, list, pin, to_hex, with_additions};
use futures_util::StreamExt;
use serde::Serialize;

use super::frames::{FrameWriter, FromClient, ToClient, parse, read_from};
use super::wire::{self, Attached, Dropped, DroppedPart, Exited, Failed, From, InputTaken};
use crate::container::{
    BindMount, ContainerInfo, Limits, MainInfo, PortMapping, ProcessInfo, ProcessState, State, WindowSize,
};
use crate::http::garden::{container_spec, process_spec, wire as garden};
use crate::http::json;
use crate::supervisor::{ConfigState, NodeStatus, NodeVersion, Problem, Retiring, Stream};

fn pretty(answer: &impl Serialize) -> String {
    serde_json::to_string_pretty(answer).unwrap()
}

fn container() -> ContainerInfo {
    let process = |id: &str, state, exit_status| ProcessInfo {
        id: id.parse().unwrap(),
        pid: 12,
        tty: true,
        state,
        exit_status,
    };
    ContainerInfo {
        handle: "web".parse().unwrap(),
        instance: "01935a00-0000-7000-8000-000000000001".into(),
        engine_id: "0123456789ab".into(),
        image: "fence/base:0.1.0".into(),
        image_id: "sha256:00".into(),
        node: "one".into(),
        state: State::Active,
        paused: false,
        created: "2026-01-02T03:04:05Z".into(),
        started: true,
        ip: "172.17.0.2".into(),
        host_ip: "172.17.0.1".into(),
        ports: vec![PortMapping {
            host_port: 61001,
            container_port: 8080,
        }],
        limits: Limits {
            memory_bytes: Some(1 << 29),
            cpu_shares: Some(1024),
            pids: None,
        },
        grace_time_s: 60.0,
        properties: [("owner".to_owned(), "ann".to_owned())].into(),
        env: vec!["A=b".into()],
        mounts: vec![BindMount {
            source: "/srv".into(),
            target: "/mnt".into(),
            read_only: true,
        }],
        processes: vec![
            process("main", ProcessState::Running, None),
            process("job", ProcessState::Exited, Some(3)),
        ],
        events: vec!["Out of memory".into()],
        main: MainInfo {
            command: vec!["start.sh".into()],
            exit_status: None,
        },
        privileged: false,
    }
}

fn status() -> NodeStatus {
    let mut status = NodeStatus {
        node: "one".into(),
        node_id: "01935a00-0000-7000-8000-000000000002".into(),
        version: "0.1.0",
        pid: 12,
        started_at: "2026-01-02T03:04:05Z".into(),
        ready: true,
        engine: Default::default(),
        config: ConfigState {
            revision: 6,
            stale: true,
            problems: vec!["fence max_containers is no number".into()],
        },
        image: Default::default(),
        containers: Default::default(),
        retiring: Some(Retiring {
            since: "2026-01-02T03:04:05Z".into(),
            seconds_left: 540,
            active: 5,
            stopped: 2,
        }),
        problems: vec![Problem {
            what: "container web".into(),
            why: "the engine does not answer".into(),
            since: "2026-01-02T03:04:05Z".into(),
            tries: 2,
        }],
    };
    status.engine.state = "ok";
    status.engine.name = "Docker".into();
    status.engine.version = "20.10.24".into();
    status.image.configured = vec!["fence/base:0.1.0".into()];
    status.image.in_use = "fence/base:0.1.0".into();
    status.containers.active = 2;
    status.containers.total = 3;
    status
}

fn version() -> NodeVersion {
    NodeVersion {
        name: "fence",
        version: "0.1.0",
        os: "linux",
        architecture: "x86_64",
        init: "0.1.0 0123456789ab".into(),
        engine: status().engine,
    }
}

#[test]
fn answers_are_those_of_this_version() {
    pin("api/container.json", &pretty(&container()));
    pin("api/status.json", &pretty(&status()));
    pin("api/version.json", &pretty(&version()));
    let problem = wire::Problem {
        error: garden::Error {
            kind: "ContainerNotFoundError",
            message: "unknown handle: web".into(),
            handle: "web".into(),
            ..garden::Error::default()
        },
        hint: "kato container list".into(),
    };
    pin("api/problem.json", &pretty(&problem));
}

#[tokio::test]
async fn frames_of_a_process_are_those_of_this_version() {
    let attached = Attached {
        process_id: "job",
        stream_id: "1",
        tty: true,
        stdin_window: 65_536,
        stdin_from: Some(50),
        from: Some(From {
            stdout_from: 100,
            stderr_from: 7,
        }),
    };
    let failed = Failed {
        error: "fence is stopping",
        again: true,
    };
    let (stream, bytes) = (Stream::Stderr, 20);
    let frames = [
        ("started", ToClient::Attached, json::line(&attached)),
        ("stdout", ToClient::Stdout, b"out".to_vec()),
        ("stderr", ToClient::Stderr, b"err".to_vec()),
        (
            "dropped",
            ToClient::Dropped,
            json::line(&Dropped {
                dropped: DroppedPart { stream, bytes },
            }),
        ),
        (
            "input_taken",
            ToClient::InputTaken,
            json::line(&InputTaken { stdin_ack: 50 }),
        ),
        ("exited", ToClient::Exited, json::line(&Exited { exit_status: 3 })),
        ("failed", ToClient::Failed, json::line(&failed)),
    ];
    let mut written = Vec::new();
    for (name, kind, payload) in frames {
        let mut bytes = Vec::new();
        FrameWriter::new(&mut bytes).send(kind, &payload).await.unwrap();
        written.push((name, to_hex(&bytes)));
    }
    pin("api/process-from-fence.txt", &list(written));
}

#[tokio::test]
async fn frames_of_each_versions_kato_are_understood() {
    for version in kept("api/process-to-fence.txt") {
        for (name, hex) in lines(&version.text) {
            let bytes = from_hex(hex);
            let frame = read_from(&bytes[..]).next().await.unwrap().unwrap();
            match (name, parse(frame)) {
                ("stdin", FromClient::Input(data)) => assert_eq!(data, "in"),
                ("stdin_end", FromClient::EndOfInput) | ("tell_input_taken", FromClient::TellInputTaken) => {}
                ("signal", FromClient::Signal(json)) => {
                    assert_eq!(serde_json::from_slice::<wire::Signal>(&json).unwrap().signal, 15);
                }
                ("resize", FromClient::Resize(json)) => {
                    let size: wire::Size = serde_json::from_slice(&json).unwrap();
                    assert_eq!((size.columns, size.rows), (80, 24));
                }
                ("output_taken", FromClient::OutputTaken(json)) => {
                    let taken: wire::OutputTaken = serde_json::from_slice(&json).unwrap();
                    assert_eq!((taken.stdout_ack, taken.stderr_ack), (100, 7));
                }
                (_, other) => panic!("{name} of {} is read as {other:?}", version.version),
            }
        }
    }
}

#[test]
fn requests_of_each_versions_kato_are_understood() {
    for version in kept("api/create.json") {
        for text in [version.text.clone(), with_additions(&version.text)] {
            let create: wire::Create = serde_json::from_str(&text).unwrap();
            assert!(create.start);
            assert_eq!(create.command, ["sh"]);
            let spec = container_spec(create.spec).unwrap();
            spec.check().unwrap();
            assert_eq!(spec.handle.map(|handle| handle.to_string()).as_deref(), Some("web"));
            assert_eq!(spec.limits.memory_bytes, Some(1 << 29), "of {}", version.version);
            assert_eq!(spec.grace_time_ns, Some(60_000_000_000));
            assert_eq!(spec.ports[0].container_port, 8080);
            assert!(!spec.mounts[0].read_only);
            assert_eq!(spec.properties["owner"], "ann");
        }
    }
    for version in kept("api/run.json") {
        for text in [version.text.clone(), with_additions(&version.text)] {
            let run: garden::ProcessSpec = serde_json::from_str(&text).unwrap();
            let spec = process_spec(run).unwrap();
            assert_eq!((spec.path.as_str(), spec.user.as_str()), ("sh", "1000:1000"));
            assert_eq!(spec.rlimits.len(), 1, "of {}", version.version);
            assert_eq!(spec.tty, Some(WindowSize { columns: 80, rows: 24 }));
        }
    }
}
