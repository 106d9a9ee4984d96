//! A fence of a script: answers one request after the other on a real socket, in the bytes of the interface, and says
//! what it was asked.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::harness::Machine;

/// No step of a script takes so long unless something is wrong.
const LIMIT: Duration = Duration::from_secs(20);

/// What is done about one request.
pub type Answer = Box<dyn FnOnce(&Value, UnixStream) + Send>;

/// A fence that answers as many requests as its script has; then its socket is closed.
pub struct Fence(JoinHandle<Vec<(String, Value)>>);

impl Fence {
    /// A fence on this machine with this script.
    pub fn start(machine: &Machine, script: Vec<Answer>) -> Fence {
        let listener = listen(machine.root());
        Fence(std::thread::spawn(move || {
            let serve = |answer: Answer| {
                let (mut stream, _) = listener.accept().expect("a connection");
                let (line, body) = request(&mut stream);
                answer(&body, stream);
                (line, body)
            };
            script.into_iter().map(serve).collect()
        }))
    }

    /// What it was asked, request line and body: the script has to be at its end.
    pub fn asked(self) -> Vec<(String, Value)> {
        self.0.join().expect("the script went as written")
    }
}

/// Listen at fence's place below this root, where nobody may listen yet.
pub fn listen(root: &Path) -> UnixListener {
    let socket = socket(root);
    std::fs::create_dir_all(socket.parent().expect("a directory")).expect("a directory");
    UnixListener::bind(socket).expect("a socket")
}

/// Fence's socket below this root.
pub fn socket(root: &Path) -> PathBuf {
    root.join("run/fence/garden.sock")
}

/// Read one request whole.
pub fn request(stream: &mut UnixStream) -> (String, Value) {
    stream.set_read_timeout(Some(LIMIT)).expect("a bound");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a request");
        head.extend(byte);
    }
    let head = String::from_utf8(head).expect("a head of text");
    let mut lengths = head
        .lines()
        .filter_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; lengths.next_back().unwrap_or(0)];
    stream.read_exact(&mut body).expect("the body");
    let line = head
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches(" HTTP/1.1")
        .to_owned();
    (line, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// A request line up to its query.
pub fn without_query(line: &str) -> &str {
    line.split_once('?').map_or(line, |(before, _)| before)
}

/// An ordinary answer.
pub fn json(status: u16, body: Value) -> Answer {
    Box::new(move |_, mut stream| {
        let body = body.to_string();
        let head = format!("HTTP/1.1 {status} Whatever\r\nContent-Length: {}\r\n\r\n", body.len());
        // Kato may have gone.
        let _ = stream.write_all((head + &body).as_bytes());
    })
}

/// An error answer.
pub fn error(status: u16, kind: &str, message: &str, handle: &str) -> Answer {
    let body = serde_json::json!({"Type": kind, "Message": message, "Handle": handle, "ProcessID": "", "hint": ""});
    json(status, body)
}

/// The request becomes a process stream, on which the process `p1` begins without a terminal.
pub fn process(talk: impl FnOnce(&mut Stream) + Send + 'static) -> Answer {
    process_that(r#"{"process_id":"p1","stream_id":"1","tty":false}"#, talk)
}

/// The same with another first frame.
pub fn process_that(first: &'static str, talk: impl FnOnce(&mut Stream) + Send + 'static) -> Answer {
    Box::new(move |_, stream| {
        let mut stream = Stream(stream);
        upgrade(&mut stream.0);
        stream.send(3, first.as_bytes());
        talk(&mut stream);
    })
}

/// Say that the connection is a process stream from here on.
pub fn upgrade(stream: &mut UnixStream) {
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: fence-process/1\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("the head is taken");
}

/// A process stream, fence's end.
pub struct Stream(UnixStream);

impl Stream {
    /// Send a frame.
    pub fn send(&mut self, kind: u8, payload: &[u8]) {
        self.try_send(kind, payload).expect("the frame is taken");
    }

    /// Send a frame to a kato that may have gone.
    pub fn try_send(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).expect("a short frame");
        self.0
            .write_all(&[&[kind][..], &length.to_be_bytes(), payload].concat())
    }

    /// The next frame; `None` when kato has closed the connection.
    pub fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        if let Err(error) = self.0.read_exact(&mut head) {
            assert!(error.kind() != io::ErrorKind::WouldBlock, "kato says nothing");
            return None;
        }
        let mut payload = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some((head[0], payload))
    }

    /// The next frame, which is of this kind.
    pub fn expect(&mut self, kind: u8) -> Vec<u8> {
        let (found, payload) = self.next().expect("a frame");
        assert_eq!(found, kind, "{:?}", String::from_utf8_lossy(&payload));
        payload
    }

    /// The input up to its end.
    pub fn input(&mut self) -> Vec<u8> {
        let mut input = Vec::new();
        loop {
            match self.next().expect("input or its end") {
                (16, data) => input.extend(data),
                (17, _) => return input,
                (kind, _) => panic!("a frame of kind {kind} in the input"),
            }
        }
    }

    /// Wait until kato has acknowledged this, and perhaps less before.
    pub fn acknowledged(&mut self, all: &str) {
        loop {
            match self.next().expect("an acknowledgement") {
                (21, told) if told == all.as_bytes() => return,
                (21 | 17, _) => {}
                (kind, _) => panic!("a frame of kind {kind} where {all} was due"),
            }
        }
    }

    /// The process ends.
    pub fn exit(&mut self, status: i32) {
        self.send(4, format!(r#"{{"exit_status":{status}}}"#).as_bytes());
    }
}
