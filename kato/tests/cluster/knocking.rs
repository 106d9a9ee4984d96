//! The core's door under hostile input: whoever knocks is answered or hung up on in time, others never notice, and nothing is
//! left of it in the agent.

use std::fs;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cluster::identity::{CORE_NAME, Pki, tls};
use proptest::test_runner::{Config, TestRunner};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::Node;

/// The longest that the door may keep anybody: a handshake's time and a question's, on a busy machine.
const BOUND: Duration = Duration::from_secs(25);
/// How many of each kind knock at once.
const CROWD: usize = 24;
/// How much more memory the agent may have afterwards.
const GROWTH_KB: u64 = 32 * 1024;

fn corpus() -> Vec<Vec<u8>> {
    hostile::corpus(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/door"))
}

/// A core's door, each connection to which comes from another address: the door's pace is one for each.
struct Door {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    knocked: AtomicU32,
}

impl Door {
    fn of(core: &Node) -> Self {
        let ca = fs::read_to_string(Pki::new(core.paths().pki()).ca()).expect("a CA");
        Door {
            address: core.door().parse().expect("an address"),
            tls: Arc::new(tls::client(&ca).expect("a CA")),
            knocked: AtomicU32::new(0),
        }
    }

    async fn connect(&self) -> TcpStream {
        let [_, _, high, low] = self.knocked.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let socket = TcpSocket::new_v4().expect("a socket");
        let source = SocketAddr::from((Ipv4Addr::new(127, 77, high, low), 0));
        socket.bind(source).expect("an address of loopback");
        socket.connect(self.address).await.expect("the door takes a connection")
    }

    async fn tls(&self) -> TlsStream<TcpStream> {
        let name = ServerName::try_from(CORE_NAME).expect("a name");
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(name, self.connect().await);
        stream.await.expect("a handshake")
    }

    /// Ask this, within TLS; what was answered.
    async fn ask(&self, request: &str) -> String {
        let mut stream = self.tls().await;
        // Hung up on, it finds out below.
        let _ = stream.write_all(request.as_bytes()).await;
        answer(&mut stream).await
    }

    /// Say this and no more, within TLS, and be answered or hung up on.
    async fn say(&self, request: &[u8], cuts: &[usize]) {
        let mut stream = self.tls().await;
        for piece in hostile::pieces(request, cuts) {
            if stream.write_all(piece).await.is_err() {
                break;
            }
        }
        // It may have hung up by now.
        let _ = stream.shutdown().await;
        answer(&mut stream).await;
    }

    /// A well-behaved client in between.
    async fn all_is_well(&self) {
        let said = self
            .ask("GET /v1/ca HTTP/1.1\r\nHost: core\r\nConnection: close\r\n\r\n")
            .await;
        assert!(
            said.starts_with("HTTP/1.1 200") && said.contains("BEGIN CERTIFICATE"),
            "{said}"
        );
    }

    /// What a client says first in TLS.
    fn hello(&self) -> Vec<u8> {
        let name = ServerName::try_from(CORE_NAME).expect("a name");
        let mut client = ClientConnection::new(Arc::clone(&self.tls), name).expect("a client");
        let mut hello = Vec::new();
        client.write_tls(&mut hello).expect("a hello");
        hello
    }
}

/// All that comes until the other side hangs up, which it does in time.
async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let ended = timeout(BOUND, stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "neither answered nor hung up on in time");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Many at once, and a well-behaved client among them.
async fn crowd<F: Future>(door: &Door, knock: impl Fn(usize) -> F) {
    let all = futures_util::future::join_all((0..CROWD).map(knock));
    tokio::join!(all, door.all_is_well());
}

/// Say these bytes, without TLS and without an end.
async fn raw(door: &Door, bytes: &[u8]) {
    let mut stream = door.connect().await;
    // It may have hung up by now.
    let _ = stream.write_all(bytes).await;
    answer(&mut stream).await;
}

/// Say this, a byte at a time, until hung up on.
async fn slowly(door: &Door, start: &str) {
    let mut stream = door.tls().await;
    let begun = Instant::now();
    let mut word = start.bytes().chain(std::iter::repeat(b'x'));
    while let Some(byte) = word.next()
        && stream.write_all(&[byte]).await.is_ok()
        && stream.flush().await.is_ok()
    {
        assert!(begun.elapsed() < BOUND, "still listened to: {start}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Of a process: memory in kB, descriptors.
fn figures(pid: u64) -> (u64, usize) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the agent's status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory = line.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("the agent's descriptors");
    (memory.expect("a number"), descriptors.count())
}

/// What is wrong with a question is said with the status that is meant for it.
async fn refusals(door: &Door) {
    for (request, body, status) in [
        ("DELETE /v1/ca", "", "405"),
        ("GET /v1/join", "", "405"),
        ("GET /", "", "404"),
        ("POST /v1/ca/../join", "{}", "404"),
        ("POST /v1/join", "{}", "400"),
        ("POST /v1/member", "null", "400"),
        ("POST /v1/join", &"x".repeat(64 * 1024), "400"),
    ] {
        let length = body.len();
        let head = format!("{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        let said = door.ask(&format!("{head}{body}")).await;
        // What is too long is not read to its end, and what is hung up on while it speaks may miss the answer.
        let may_miss = length > 32 * 1024 && said.is_empty();
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status}")) || may_miss,
            "{request}: {said}"
        );
    }
    let long = format!("GET /v1/ca HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(64 * 1024));
    let said = door.ask(&long).await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
}

/// Everything at once that goes on for as long as the door lets it.
async fn knocks(door: &Door) {
    let (hello, samples) = (door.hello(), corpus());
    tokio::join!(
        crowd(door, |number| raw(door, &samples[number % samples.len()])),
        crowd(door, |number| raw(door, &hello[..hello.len() * number / CROWD])),
        crowd(door, |_| slowly(door, "GET /v1/ca HTTP/1.1\r\nX: ")),
        crowd(door, |_| slowly(
            door,
            "POST /v1/join HTTP/1.1\r\nContent-Length: 10000\r\n\r\n{"
        )),
    );
    refusals(door).await;
    for sample in &samples {
        door.say(sample, &[7, 4096]).await;
    }
    door.all_is_well().await;
}

#[test]
fn whoever_knocks_is_answered_or_hung_up_on_and_nothing_is_left_of_it() {
    let core = Node::core();
    let node = Node::attached("edge", &core);
    let door = Door::of(&core);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let processes = core.json(&["process", "list", "-j"]);
    let pid = processes[0]["pid"].as_u64().expect("the agent's pid");
    // Once for what is made when it is first needed.
    runtime.block_on(knocks(&door));
    let before = figures(pid);
    runtime.block_on(knocks(&door));
    let config = Config {
        source_file: Some(file!()),
        ..Config::with_cases(120)
    };
    let spoilt = TestRunner::new(config).run(&(hostile::spoilt(corpus()), hostile::cuts()), |(request, cuts)| {
        runtime.block_on(door.say(&request, &cuts));
        Ok(())
    });
    spoilt.expect("the door answers or hangs up");
    runtime.block_on(door.all_is_well());
    crate::harness::until("every connection has ended", || figures(pid).1 <= before.1);
    let after = figures(pid);
    assert!(after.0 < before.0 + GROWTH_KB, "from {before:?} to {after:?}");
    assert_eq!(core.json(&["process", "list", "-j"])[0]["pid"], pid);
    // Nodes are served as before.
    assert!(
        node.done(&["node", "reattach", &core.door()])
            .contains("finds its core")
    );
}
