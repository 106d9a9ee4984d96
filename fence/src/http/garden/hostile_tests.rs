//! Requests that are any JSON, or nearly the right one: taken within every limit, or refused with a short message.

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::Value;
use tokio_util::codec::Decoder;

use super::input::Objects;
use super::{convert, wire};
use crate::container::{ContainerSpec, ImageSource, ProcessSpec};
use crate::http::json;

/// The longest message that a bad value may cause.
const MAX_MESSAGE: usize = 1024;

const KEYS: &[&str] = &[
    "handle",
    "grace_time",
    "rootfs",
    "image",
    "uri",
    "username",
    "password",
    "bind_mounts",
    "src_path",
    "dst_path",
    "mode",
    "origin",
    "network",
    "properties",
    "env",
    "privileged",
    "limits",
    "memory_limits",
    "limit_in_bytes",
    "cpu_limits",
    "limit_in_shares",
    "pid_limits",
    "max",
    "netout_rules",
    "netin",
    "host_port",
    "container_port",
    "id",
    "path",
    "args",
    "dir",
    "user",
    "rlimits",
    "nofile",
    "tty",
    "window_size",
    "columns",
    "rows",
    "source",
    "data",
    "signal",
    "Handle",
    "ENV",
];

fn containers() -> Vec<Vec<u8>> {
    hostile::corpus(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/containers"))
}

fn processes() -> Vec<Vec<u8>> {
    hostile::corpus(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/processes"))
}

fn total<'a>(texts: impl IntoIterator<Item = &'a String>) -> usize {
    texts.into_iter().map(String::len).sum()
}

/// What passed the checks has the sizes that `docs/limits.md` promises, and is written down and read as the same.
fn is_within_limits(spec: &ContainerSpec) {
    assert!(spec.handle.as_ref().is_none_or(|handle| handle.as_str().len() <= 255));
    assert!(spec.env.len() <= 2_000 && total(&spec.env) <= 512 * 1024);
    assert!(total(&spec.command) <= 512 * 1024);
    assert!(spec.mounts.len() <= 100 && spec.ports.len() <= 100 && spec.properties.len() <= 500);
    assert!(total(spec.properties.keys()) + total(spec.properties.values()) <= 1024 * 1024);
    for mount in &spec.mounts {
        assert!(mount.source.starts_with('/') && mount.source.len().max(mount.target.len()) <= 4096);
    }
    match &spec.image {
        ImageSource::Configured => {}
        ImageSource::Named { name, .. } => assert!(!name.is_empty() && name.len() <= 512),
        ImageSource::Path(path) => assert!(path.starts_with('/') && path.len() <= 4096),
    }
    let written = serde_json::to_string(spec).unwrap();
    let mut expected = spec.clone();
    if let ImageSource::Named { password, .. } = &mut expected.image {
        password.clear();
    }
    assert_eq!(serde_json::from_str::<ContainerSpec>(&written).unwrap(), expected);
}

fn container(body: &[u8]) {
    let refused = match json::decode::<wire::ContainerSpec>(body) {
        Err(error) => error.to_string(),
        Ok(decoded) => match convert::container_spec(decoded) {
            Err(error) => error.body.message,
            Ok(spec) => match spec.check() {
                Err(error) => error.to_string(),
                Ok(()) => return is_within_limits(&spec),
            },
        },
    };
    assert!(!refused.is_empty() && refused.len() <= MAX_MESSAGE, "{refused}");
}

fn process(body: &[u8]) {
    let checked = |spec: ProcessSpec| spec.check().map(|()| spec).map_err(|error| error.to_string());
    let refused = match json::decode::<wire::ProcessSpec>(body) {
        Err(error) => error.to_string(),
        Ok(decoded) => match convert::process_spec(decoded)
            .map_err(|error| error.body.message)
            .and_then(checked)
        {
            Err(message) => message,
            Ok(spec) => {
                assert!(!spec.path.is_empty() && spec.args.len() <= 4_096 && total(&spec.args) <= 512 * 1024);
                assert!(spec.path.len() <= 4096 && spec.dir.len() <= 4096 && spec.user.len() <= 512);
                return;
            }
        },
    };
    assert!(!refused.is_empty() && refused.len() <= MAX_MESSAGE, "{refused}");
}

/// The smaller bodies, in the same way.
fn others(body: &[u8]) {
    if let Ok(wanted) = json::decode::<wire::NetIn>(body) {
        let _ = convert::port_mapping(&wanted);
    }
    if let Ok(nanoseconds) = json::decode::<i64>(body) {
        assert_eq!(convert::grace_time(nanoseconds).is_ok(), nanoseconds >= 0);
    }
    let _ = json::decode::<wire::Property>(body);
    let _ = json::decode::<wire::Stop>(body);
    let _ = json::decode::<wire::NetOutRule>(body);
}

/// What a client says on a main connection, as far as it makes sense.
fn messages(stream: &[u8], cuts: &[usize]) -> Vec<wire::FromClient> {
    let mut objects = Objects::default();
    let mut buffer = BytesMut::new();
    let mut found = Vec::new();
    for piece in hostile::pieces(stream, cuts) {
        buffer.extend_from_slice(piece);
        loop {
            match objects.decode(&mut buffer) {
                Ok(Some(value)) => match json::from_value(value) {
                    Ok(message) => found.push(message),
                    Err(_) => return found,
                },
                Ok(None) => break,
                Err(_) => return found,
            }
        }
    }
    found
}

#[test]
fn the_corpus_is_taken_within_limits_or_refused_in_short() {
    for body in [containers(), processes()].concat() {
        container(&body);
        process(&body);
        others(&body);
        messages(&body, &[1]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_json_is_taken_within_limits_or_refused_in_short(value in hostile::json(KEYS)) {
        let body = value.to_string();
        container(body.as_bytes());
        process(body.as_bytes());
        others(body.as_bytes());
    }

    #[test]
    fn spoilt_containers_are_taken_within_limits_or_refused_in_short(body in hostile::spoilt(containers())) {
        container(&body);
    }

    #[test]
    fn spoilt_processes_are_taken_within_limits_or_refused_in_short(body in hostile::spoilt(processes())) {
        process(&body);
        others(&body);
    }

    #[test]
    fn what_follows_sense_is_never_taken(text in hostile::spoilt_text(processes()), cuts in hostile::cuts()) {
        let stream = [br#"{"signal":1}"#, text.as_bytes()].concat();
        let found = messages(&stream, &cuts);
        prop_assert_eq!(found.first().and_then(|first| first.signal), Some(1));
        prop_assert!(found.len() <= stream.len());
    }
}

#[test]
fn the_largest_body_that_is_nothing_but_items_is_refused() {
    for item in ["0", "{}", "\"\"", "\"A=1\"", "null"] {
        let count = 4 * 1024 * 1024 / (item.len() + 1) - 10;
        let mut body = Vec::from(&b"{\"env\":["[..]);
        body.extend(std::iter::repeat_n(item, count).collect::<Vec<_>>().join(",").bytes());
        body.extend(b"]}");
        container(&body);
        let value: Result<wire::ContainerSpec, _> = json::decode(&body);
        let refused = value.map_or(true, |spec| {
            convert::container_spec(spec).map_or(true, |spec| spec.check().is_err())
        });
        assert!(refused, "{item}");
    }
    let nested = Value::from_iter([("env", vec!["A=1"; 2_000])]).to_string();
    container(nested.as_bytes());
}
