//! The server's own promises, with a tiny router instead of the faces.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use http::StatusCode;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{Client, DEADLINE, Served};
use crate::http::hijack::Hijacked;
use crate::http::server::{Faces, Options};
use crate::http::{Listeners, serve};

/// Where handlers of `GET /wait` say that they are there, and what they wait for.
#[derive(Clone)]
struct Gate {
    waiting: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    /// Until a handler waits.
    async fn reached(&self) {
        tokio::time::timeout(DEADLINE, self.waiting.acquire())
            .await
            .unwrap()
            .unwrap()
            .forget();
    }

    async fn pass(self) -> &'static str {
        self.waiting.add_permits(1);
        self.open.acquire().await.unwrap().forget();
        "done\n"
    }
}

/// `POST /say` gives its body back, `GET /wait` waits at the gate, `POST /raw` is hijacked: it says its body and then
/// the line it gets.
fn faces(gate: Gate) -> Faces {
    let wait = move || gate.clone().pass();
    let router = Router::new()
        .route("/say", post(|body: String| async { body }))
        .route("/wait", get(wait))
        .route(
            "/panic",
            get(|| async {
                if true {
                    panic!("on purpose")
                }
            }),
        );
    let hijack = |head: &crate::http::head::RequestHead| -> Option<crate::http::server::Hijack> {
        (head.uri.path() == "/raw")
            .then(|| -> crate::http::server::Hijack { Box::new(|connection| Box::pin(say_lines(connection))) })
    };
    Faces {
        router,
        hijack: Arc::new(hijack),
    }
}

async fn say_lines(mut connection: Hijacked) {
    let body = connection.body().await.unwrap();
    connection
        .begin(StatusCode::OK, &[("Transfer-Encoding", "chunked")], &body)
        .await
        .unwrap();
    let mut line = Vec::new();
    tokio::select! {
        _ = connection.reader.read_until(b'\n', &mut line) => connection.end_with(&line).await,
        () = connection.closing.cancelled() => connection.end_with(b"closing\n").await,
    }
}

async fn served(options: Options) -> (Served, Gate) {
    let gate = Gate {
        waiting: Arc::new(Semaphore::new(0)),
        open: Arc::new(Semaphore::new(0)),
    };
    (Served::new(faces(gate.clone()), options).await, gate)
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn an_ordinary_request_is_answered_and_the_connection_closed() {
    let (served, _) = served(Options::default()).await;
    let mut client = served.connect().await;
    client.request("POST", "/say", &[], "hello\n").await;
    let head = client.head().await;
    assert_eq!((head.status, head.fields["connection"].as_str()), (200, "close"));
    assert_eq!(client.rest().await, "hello\n");
    let mut chunked = served.connect().await;
    chunked
        .send("POST /say HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        .await;
    assert_eq!(chunked.head().await.status, 200);
    assert_eq!(chunked.rest().await, "abc");
    served.stop().await;
}

#[tokio::test]
async fn a_hijacked_connection_is_raw_after_its_head() {
    let (served, _) = served(Options::default()).await;
    let mut client = served.connect().await;
    client
        .send("POST /raw HTTP/1.1\r\nContent-Length: 6\r\n\r\nbody\n+first line\nsecond")
        .await;
    let head = client.head().await;
    assert_eq!((head.status, head.fields.get("connection")), (200, None));
    assert_eq!(client.line().await, "body\n");
    assert_eq!(client.rest().await, "+first line\n");
}

#[tokio::test]
async fn a_client_that_asks_for_nothing_is_let_go() {
    let (served, _) = served(Options {
        head_timeout: Duration::from_millis(20),
        ..Options::default()
    })
    .await;
    let mut client = served.connect().await;
    client.send("GET /say HTT").await;
    assert_eq!(client.head().await.status, 408);
    let mut long = served.connect().await;
    long.send(format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000))).await;
    assert_eq!(long.head().await.status, 431);
    let mut nonsense = served.connect().await;
    nonsense.send("nonsense\r\n\r\n").await;
    assert_eq!(nonsense.head().await.status, 400);
}

#[tokio::test]
async fn web_pages_are_refused() {
    let (served, _) = served(Options::default()).await;
    let mut client = served.connect().await;
    client
        .request("POST", "/say", &["Origin: http://example.com"], "x")
        .await;
    assert_eq!(client.head().await.status, 403);
}

#[tokio::test]
async fn a_port_takes_only_requests_for_this_node() {
    let dir = tempfile::tempdir().unwrap();
    let listeners = Listeners::bind(&dir.path().join("s"), "127.0.0.1:0").await.unwrap();
    let address = listeners.tcp.as_ref().unwrap().local_addr().unwrap();
    let gate = Gate {
        waiting: Arc::new(Semaphore::new(0)),
        open: Arc::new(Semaphore::new(0)),
    };
    tokio::spawn(serve(
        listeners,
        faces(gate),
        Options::default(),
        CancellationToken::new(),
    ));
    for (host, status) in [
        (address.to_string(), "200"),
        ("api".to_owned(), "200"),
        (format!("rebound.example.com:{}", address.port()), "403"),
    ] {
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("POST /say HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let reading = client.read_to_string(&mut answer);
        tokio::time::timeout(DEADLINE, reading).await.unwrap().unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{host}: {answer}");
    }
}

#[tokio::test]
async fn too_many_connections_are_told_so() {
    let (served, gate) = served(Options {
        max_connections: 1,
        ..Options::default()
    })
    .await;
    let mut first = served.connect().await;
    first.request("GET", "/wait", &[], "").await;
    gate.reached().await;
    let (status, body) = served.ask("POST", "/say", "x").await;
    assert_eq!(status, 503);
    assert!(body.contains("ServiceUnavailableError"), "{body}");
    gate.open.add_permits(1);
    assert_eq!(first.head().await.status, 200);
    first.rest().await;
    until("there is room again", async || {
        served.ask("POST", "/say", "x").await.0 == 200
    })
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_let_go() {
    let (served, _) = served(Options {
        max_connections: 1,
        answer_timeout: Duration::from_millis(20),
        ..Options::default()
    })
    .await;
    let mut deaf = served.connect().await;
    // More than fits into a socket.
    deaf.request("POST", "/say", &[], &"x".repeat(1 << 20)).await;
    until("its place is free", async || {
        served.ask("POST", "/say", "x").await.0 == 200
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_panics_is_an_error_to_its_client_alone() {
    let (served, _) = served(Options::default()).await;
    let (status, body) = served.ask("GET", "/panic", "").await;
    assert_eq!(status, 500);
    assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok(), "{body}");
    assert_eq!(served.ask("POST", "/say", "x").await.0, 200);
}

#[tokio::test]
async fn what_a_client_asked_for_is_done_though_it_leaves() {
    let (served, gate) = served(Options::default()).await;
    let mut client = served.connect().await;
    client.request("GET", "/wait", &[], "").await;
    gate.reached().await;
    drop(client);
    gate.open.add_permits(1);
    until("the handler went on", async || gate.open.available_permits() == 0).await;
}

#[tokio::test]
async fn stopping_lets_requests_finish_and_tells_hijacked_connections() {
    let (served, gate) = served(Options::default()).await;
    let mut busy = served.connect().await;
    busy.request("GET", "/wait", &[], "").await;
    gate.reached().await;
    let mut raw = served.connect().await;
    raw.request("POST", "/raw", &[], "on\n").await;
    raw.head().await;
    assert_eq!(raw.line().await, "on\n");
    let mut idle = served.connect().await;
    // Connections are accepted in order: once this one is answered, the idle one is accepted too.
    served.ask("POST", "/say", "x").await;
    served.shutdown.cancel();
    assert_eq!(idle.rest().await, "");
    assert_eq!(raw.rest().await, "closing\n");
    until("the socket is gone", async || !served.socket.exists()).await;
    drop(raw);
    gate.open.add_permits(1);
    assert_eq!(busy.head().await.status, 200);
    assert_eq!(busy.rest().await, "done\n");
    served.stop().await;
}

#[tokio::test]
async fn stopping_has_a_deadline() {
    let (served, gate) = served(Options {
        drain: Duration::from_millis(20),
        ..Options::default()
    })
    .await;
    let mut busy: Client = served.connect().await;
    busy.request("GET", "/wait", &[], "").await;
    gate.reached().await;
    served.stop().await;
    assert_eq!(busy.rest().await, "");
}
