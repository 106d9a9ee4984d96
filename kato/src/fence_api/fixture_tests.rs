//! What each version's fence answers as this kato reads it, and what this kato asks.

use bytes::BytesMut;
use fixtures::{from_hex, kept, lines, list, pin, to_hex, with_additions};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::codec::{Decoder, Encoder};

use super::spec::*;
use super::stream::{Codec, Dropped, Failed, FromFence, Offsets, Started, ToFence};
use super::wire::{Container, ErrorBody, Status, Version};

fn pretty(request: &impl Serialize) -> String {
    serde_json::to_string_pretty(request).unwrap()
}

/// Every version's answer, by itself and with what a later version may add.
fn answers<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let texts = kept(name).into_iter();
    let texts = texts.flat_map(|version| [with_additions(&version.text), version.text]);
    texts.map(|text| serde_json::from_str(&text).unwrap()).collect()
}

#[test]
fn answers_of_each_version_are_read() {
    for container in answers::<Container>("api/container.json") {
        assert_eq!((container.handle.as_str(), container.state.as_str()), ("web", "active"));
        assert_eq!(
            (container.ports[0].host_port, container.ports[0].container_port),
            (61001, 8080)
        );
        assert_eq!(
            (container.limits.memory_bytes, container.limits.pids),
            (Some(1 << 29), None)
        );
        assert_eq!((container.grace_time_s, container.started), (60.0, true));
        assert_eq!(container.properties["owner"], "ann");
        assert!(container.created.is_some() && container.mounts[0].read_only);
        assert_eq!(
            (container.processes[1].id.as_str(), container.processes[1].exit_status),
            ("job", Some(3))
        );
        assert_eq!(container.main.unwrap().command, ["start.sh"]);
    }
    for status in answers::<Status>("api/status.json") {
        assert_eq!((status.node.as_str(), status.ready, status.pid), ("one", true, 12));
        assert_eq!((status.config.revision, status.config.stale), (6, true));
        assert_eq!(
            (status.image.in_use.as_str(), status.engine.state.as_str()),
            ("fence/base:0.1.0", "ok")
        );
        assert_eq!((status.containers.active, status.containers.total), (2, 3));
        let retiring = status.retiring.unwrap();
        assert_eq!((retiring.seconds_left, retiring.active, retiring.stopped), (540, 5, 2));
        assert_eq!(
            (status.problems[0].what.as_str(), status.problems[0].tries),
            ("container web", 2)
        );
    }
    for version in answers::<Version>("api/version.json") {
        assert_eq!(
            (version.name.as_str(), version.architecture.as_str()),
            ("fence", "x86_64")
        );
        assert_eq!(version.engine.unwrap().name, "Docker");
    }
    for problem in answers::<ErrorBody>("api/problem.json") {
        assert_eq!(
            (problem.kind.as_str(), problem.handle.as_str()),
            ("ContainerNotFoundError", "web")
        );
        assert_eq!(problem.hint, "kato container list");
    }
}

fn expected_frame(name: &str) -> FromFence {
    match name {
        "started" => FromFence::Started(Started {
            process_id: "job".into(),
            stream_id: "1".into(),
            tty: true,
            stdin_window: Some(65_536),
            stdin_from: Some(50),
            stdout_from: Some(100),
            stderr_from: Some(7),
        }),
        "stdout" => FromFence::Stdout("out".into()),
        "stderr" => FromFence::Stderr("err".into()),
        "dropped" => FromFence::Dropped(Dropped {
            stream: "stderr".into(),
            bytes: 20,
        }),
        "input_taken" => FromFence::InputTaken(50),
        "exited" => FromFence::Exited(3),
        "failed" => FromFence::Failed(Failed {
            error: "fence is stopping".into(),
            again: true,
        }),
        other => panic!("what does {other} mean?"),
    }
}

#[test]
fn frames_of_each_versions_fence_are_read() {
    for version in kept("api/process-from-fence.txt") {
        for (name, hex) in lines(&version.text) {
            let mut bytes = BytesMut::from(&from_hex(hex)[..]);
            let frame = Codec.decode(&mut bytes).unwrap();
            assert_eq!(frame, Some(expected_frame(name)), "of {}", version.version);
        }
    }
}

#[test]
fn frames_to_fence_are_those_of_this_version() {
    let (stdout, stderr) = (100, 7);
    let frames = [
        ("stdin", ToFence::Stdin("in".into())),
        ("stdin_end", ToFence::StdinEnd),
        ("signal", ToFence::Signal(15)),
        ("resize", ToFence::Resize { columns: 80, rows: 24 }),
        ("tell_input_taken", ToFence::TellInputTaken),
        ("output_taken", ToFence::OutputTaken(Offsets { stdout, stderr })),
    ];
    let written = frames.map(|(name, frame)| {
        let mut bytes = BytesMut::new();
        Codec.encode(frame, &mut bytes).unwrap();
        (name, to_hex(&bytes))
    });
    pin("api/process-to-fence.txt", &list(written));
}

#[test]
fn requests_are_those_of_this_version() {
    let spec = ContainerSpec {
        handle: "web".into(),
        grace_time: 60_000_000_000,
        image: ImageRef {
            uri: "docker:///fence/base#0.1.0".into(),
        },
        bind_mounts: vec![BindMount {
            src_path: "/srv".into(),
            dst_path: "/mnt".into(),
            mode: 1,
        }],
        properties: [("owner".to_owned(), "ann".to_owned())].into(),
        env: vec!["A=b".into()],
        privileged: true,
        limits: Limits {
            cpu_limits: CpuLimits { limit_in_shares: 1024 },
            memory_limits: MemoryLimits {
                limit_in_bytes: 1 << 29,
            },
            pid_limits: PidLimits { max: 64 },
        },
        netin: vec![NetIn {
            host_port: 0,
            container_port: 8080,
        }],
    };
    let create = CreateRequest {
        spec,
        start: true,
        command: vec!["sh".into()],
    };
    pin("api/create.json", &pretty(&create));
    let run = ProcessSpec {
        id: "job".into(),
        path: "sh".into(),
        args: vec!["-c".into(), "exit 3".into()],
        env: vec!["A=b".into()],
        dir: "/tmp".into(),
        user: "1000:1000".into(),
        rlimits: [("nofile".to_owned(), 1024)].into(),
        tty: Some(TtySpec {
            window_size: Some(WindowSize { columns: 80, rows: 24 }),
        }),
        log: false,
        image: ImageRef::default(),
    };
    pin("api/run.json", &pretty(&run));
}
