//! Clients that send nonsense, too much, too little, or nothing at all: each is answered as `docs/limits.md` says or hung
//! up on, nothing is made or left behind, and a well-behaved client is served throughout.

mod requests;

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tests::garden::{Body, Client, ContainerSpec, Error, ErrorBody, Request};
use tests::harness::{LIMIT, Node, until};

use requests::Bad;

type Story = anyhow::Result<()>;

/// The connections that fence takes, and those beyond that it tells so.
const CONNECTIONS: usize = 4096;
const REFUSALS: usize = 64;
const MAX_BODY: usize = 4 * 1024 * 1024;
/// How many of them are left free for the others while that many clients say nothing.
const ROOM: usize = 200;
/// What the daemon's memory may differ by between the first time and the second, in KiB: buffers that its allocator keeps.
const SLACK_KB: u64 = 32 * 1024;

/// Send it all, half-close, and take the status of the answer, or nothing where fence hangs up.
fn answer(socket: &Path, bytes: &[u8]) -> anyhow::Result<Option<u16>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let mut writer = stream.try_clone()?;
    let (mut head, mut piece) = (Vec::new(), [0; 4096]);
    thread::scope(|scope| {
        // Fence may answer and hang up before it has heard everything.
        scope.spawn(move || writer.write_all(bytes).and_then(|()| writer.shutdown(Shutdown::Write)));
        loop {
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => head.extend_from_slice(&piece[..count.min(256)]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    })
    .map_err(|error: anyhow::Error| error.context("neither an answer nor an end"))?;
    let line = String::from_utf8_lossy(&head);
    Ok(line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok()))
}

struct Figures {
    memory_kb: u64,
    descriptors: usize,
}

fn figures(pid: i32) -> anyhow::Result<Figures> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory = memory.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
    Ok(Figures {
        memory_kb: memory.unwrap_or(u64::MAX),
        descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
    })
}

/// A client that does nothing but what is right, until it is told to stop; how often it was served.
fn behave(garden: &Client, stop: &AtomicBool) -> usize {
    let mut served = 0;
    while !stop.load(Ordering::Acquire) {
        garden
            .ping()
            .unwrap_or_else(|error| panic!("a ping was not answered: {error}"));
        let info = garden.call("GET", "/containers/web/info", None);
        info.unwrap_or_else(|error| panic!("a question was not answered: {error}"));
        served += 1;
    }
    served
}

/// Clients that began and never go on: with nothing, half a head, half a body, half a process.
fn held(socket: &Path, count: usize) -> Vec<UnixStream> {
    let starts: [&[u8]; 4] = [
        b"",
        b"GET /ping HTTP/1.1\r\nHos",
        b"POST /containers HTTP/1.1\r\nContent-Length: 100\r\n\r\n{",
        b"POST /containers/web/processes HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    ];
    let hold = |number: usize| {
        let mut stream = UnixStream::connect(socket).ok()?;
        stream.write_all(starts[number % starts.len()]).ok()?;
        Some(stream)
    };
    (0..count).filter_map(hold).collect()
}

fn send_all<'a>(socket: &Path, all: impl IntoIterator<Item = &'a Bad>) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for bad in all {
        let status = answer(socket, &bad.bytes).map_err(|error| error.context(bad.what.clone()))?;
        if status.is_some_and(|status| !bad.statuses.contains(&status)) {
            wrong.push(format!("{}: {status:?}, not one of {:?}", bad.what, bad.statuses));
        }
        // And the same from a client that leaves in the middle, or does not wait for the answer.
        for length in [bad.bytes.len() / 2, bad.bytes.len()] {
            let mut stream = UnixStream::connect(socket)?;
            stream.set_nonblocking(true)?;
            let _ = stream.write(&bad.bytes[..length]);
        }
    }
    anyhow::ensure!(wrong.is_empty(), "answered otherwise:\n  {}", wrong.join("\n  "));
    Ok(())
}

#[test]
fn nothing_that_a_client_sends_makes_anything_or_keeps_others_waiting() -> Story {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let node = Node::fence_only();
    let (garden, socket, pid) = (node.garden(), node.socket(), node.fence_pid());
    node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?;
    let all = requests::all();
    assert!(all.len() >= 200, "{} bad requests", all.len());
    let before = figures(pid)?.descriptors;
    let stop = AtomicBool::new(false);
    let mut slow = held(&socket, CONNECTIONS - ROOM);
    thread::scope(|scope| -> Story {
        let behaving = scope.spawn(|| behave(&garden, &stop));
        let sent = send_all(&socket, &all);
        stop.store(true, Ordering::Release);
        let served = behaving.join();
        sent?;
        assert!(
            served.is_ok_and(|served| served > 0),
            "the well-behaved client was not served"
        );
        Ok(())
    })?;

    slow.extend(held(&socket, ROOM + REFUSALS));
    match garden.ping() {
        Ok(()) => {}
        Err(Error::Garden { body, .. }) => assert_eq!(body.kind, "ServiceUnavailableError"),
        Err(error) => assert!(matches!(error, Error::Connection { .. }), "{error}"),
    }
    until("fence lets those go that say nothing", LIMIT, || garden.ping().ok());
    drop(slow);

    let warm = settled(pid, before);
    // A part of it is enough to see whether anything is kept each time.
    send_all(&socket, all.iter().step_by(4))?;
    let after = settled(pid, before);
    assert!(after < warm + SLACK_KB, "memory grew from {warm} to {after} KiB");
    assert_eq!(
        node.containers_in_docker().len(),
        1,
        "only the one that was asked for well"
    );
    assert_eq!(
        garden.call("GET", "/containers/web/info", None)?["ProcessIDs"],
        json!([])
    );
    Ok(())
}

/// The daemon's memory once it has closed all descriptors that it did not have before.
#[track_caller]
fn settled(pid: i32, descriptors: usize) -> u64 {
    until("all descriptors are closed", LIMIT, || {
        let now = figures(pid).ok()?;
        (now.descriptors <= descriptors).then_some(now.memory_kb)
    })
}

#[test]
fn the_largest_bodies_and_answers_are_taken_and_one_byte_more_is_not() -> Story {
    let node = Node::fence_only();
    let body = |length: usize| {
        let spec = br#"{"handle":"web"}"#;
        let mut body = spec.to_vec();
        body.resize(length, b' ');
        Request::new("POST", "/containers").body(Body::Sized(body))
    };
    let refused = node.garden().exchange(body(MAX_BODY + 1))?;
    let error: ErrorBody = serde_json::from_slice(&refused.body)?;
    assert_eq!(refused.head.status, 500);
    assert!(error.message.contains("longer than"), "{}", error.message);
    assert_eq!(node.containers_in_docker(), Vec::<String>::new());
    assert_eq!(node.garden().exchange(body(MAX_BODY))?.head.status, 200);

    let value = "v".repeat(128 * 1024);
    let set = |key: &str| {
        let path = format!("/containers/web/properties/{key}");
        node.garden().call("PUT", &path, Some(&json!({ "value": value })))
    };
    for key in ["a", "b", "c", "d", "e", "f", "g"] {
        set(key)?;
    }
    let full = set("h")
        .and_then(|_| set("i"))
        .expect_err("more than 1 MiB of properties")
        .to_string();
    assert!(full.contains("1048576"), "{full}");
    let kept = node.garden().call("GET", "/containers/web/properties", None)?;
    assert_eq!(kept["g"], json!(value));
    assert_eq!(kept.get("i"), None);
    // Whoever asks and never listens is one of many, and hung up on after a while.
    let mut deaf = Vec::new();
    for _ in 0..64 {
        let mut stream = UnixStream::connect(node.socket())?;
        stream.write_all(b"GET /containers/web/properties HTTP/1.1\r\nHost: api\r\n\r\n")?;
        deaf.push(stream);
    }
    Ok(node.garden().ping()?)
}
