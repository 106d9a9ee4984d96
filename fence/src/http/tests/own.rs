//! Fence's own routes, the framed connection included.

use serde_json::{Value, json};

use super::{Client, Served, fence};

const UPGRADE: [&str; 2] = ["Connection: Upgrade", "Upgrade: fence-process/1"];

/// Ask for an upgraded connection; it is past the head.
async fn upgraded(served: &Served, method: &str, path: &str, body: &str) -> Client {
    let mut client = served.connect().await;
    client.request(method, path, &UPGRADE, body).await;
    let head = client.head().await;
    assert_eq!((head.status, head.fields["upgrade"].as_str()), (101, "fence-process/1"));
    client
}

async fn send(client: &mut Client, kind: u8, payload: &[u8]) {
    let mut frame = vec![kind];
    frame.extend((payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    client.send(frame).await;
}

async fn frame(client: &mut Client) -> (u8, Vec<u8>) {
    let head = client.exactly(5).await;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    (head[0], client.exactly(length as usize).await)
}

/// A frame of this kind, as JSON.
async fn message(client: &mut Client, expected: u8) -> Value {
    let (kind, payload) = frame(client).await;
    assert_eq!(kind, expected, "{:?}", String::from_utf8_lossy(&payload));
    serde_json::from_slice(&payload).unwrap()
}

async fn create(served: &Served, body: Value) -> Value {
    let (status, container) = served.json("POST", "/fence/v1/containers", &body.to_string()).await;
    assert_eq!(status, 201, "{container}");
    container
}

#[tokio::test]
async fn the_node_says_how_it_is() {
    let (_node, served) = fence().await;
    create(&served, json!({"spec": {"handle": "h"}})).await;
    let (_, status) = served.json("GET", "/fence/v1/status", "").await;
    assert_eq!(
        (&status["node"], &status["containers"]["active"]),
        (&json!("n1"), &json!(1))
    );
    let (_, version) = served.json("GET", "/fence/v1/version", "").await;
    assert_eq!(version["name"], "fence");
}

#[tokio::test]
async fn a_container_is_made_started_stopped_and_destroyed() {
    let (_node, served) = fence().await;
    let spec = json!({"handle": "h", "env": ["A=1"], "properties": {"Key": "v"}});
    let made = create(
        &served,
        json!({"spec": spec, "start": true, "command": ["serve", "it"]}),
    )
    .await;
    assert_eq!(
        (&made["handle"], &made["started"], &made["state"]),
        (&json!("h"), &json!(true), &json!("active"))
    );
    assert_eq!(
        (&made["properties"]["Key"], &made["env"]),
        (&json!("v"), &json!(["A=1"]))
    );
    assert_eq!(
        served.json("GET", "/fence/v1/containers", "").await.1[0]["instance"],
        made["instance"]
    );
    let (status, stopped) = served
        .json("POST", "/fence/v1/containers/h/stop", r#"{"kill":true}"#)
        .await;
    assert_eq!((status, &stopped["state"]), (200, &json!("stopped")));
    let (status, started) = served.json("POST", "/fence/v1/containers/h/start", "").await;
    assert_eq!((status, &started["started"]), (200, &json!(true)));
    assert_eq!(
        served.json("GET", "/fence/v1/containers/h", "").await.1["main"],
        started["main"]
    );
    assert_eq!(
        served.json("DELETE", "/fence/v1/containers/h", "").await,
        (200, json!({}))
    );
    let (status, error) = served.json("GET", "/fence/v1/containers/h", "").await;
    assert_eq!((status, &error["hint"]), (404, &json!("kato container list")));
}

#[tokio::test]
async fn wrong_requests_have_the_status_that_says_so() {
    let (_node, served) = fence().await;
    create(&served, json!({"spec": {"handle": "h"}})).await;
    for (body, status, kind) in [
        ("nonsense", 400, "InvalidError"),
        (r#"{"spec":{"network":"10.0.0.0/8"}}"#, 400, "InvalidError"),
        (r#"{"spec":{"env":["novalue"]}}"#, 400, "InvalidError"),
        (r#"{"spec":{"handle":"h"}}"#, 409, "ConflictError"),
    ] {
        let (found, error) = served.json("POST", "/fence/v1/containers", body).await;
        assert_eq!((found, &error["Type"]), (status, &json!(kind)), "{body}");
    }
    let (status, error) = served
        .json("POST", "/fence/v1/containers/h/processes", r#"{"path":"echo"}"#)
        .await;
    assert_eq!((status, &error["Type"]), (400, &json!("InvalidError")));
    let mut client = served.connect().await;
    client
        .request("GET", "/fence/v1/containers/h/processes/p/attach", &UPGRADE, "")
        .await;
    assert_eq!(client.head().await.status, 404);
    let mut client = served.connect().await;
    client.request("GET", "/fence/v1/containers/h/processes", &[], "").await;
    let head = client.head().await;
    assert_eq!((head.status, head.fields["allow"].as_str()), (405, "POST"));
}

#[tokio::test]
async fn a_process_runs_on_one_connection() {
    let (_node, served) = fence().await;
    create(&served, json!({"spec": {"handle": "h"}})).await;
    let path = "/fence/v1/containers/h/processes";
    let mut client = upgraded(&served, "POST", path, r#"{"id":"e","path":"echo","args":["hello"]}"#).await;
    let first = message(&mut client, 3).await;
    assert_eq!((&first["process_id"], &first["tty"]), (&json!("e"), &json!(false)));
    assert_eq!(frame(&mut client).await, (1, b"hello".to_vec()));
    assert_eq!(message(&mut client, 4).await, json!({"exit_status": 0}));
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn output_that_the_client_has_not_acknowledged_is_for_the_next() {
    let (_node, served) = fence().await;
    create(&served, json!({"spec": {"handle": "h"}})).await;
    let path = "/fence/v1/containers/h/processes";
    let mut client = upgraded(
        &served,
        "POST",
        &format!("{path}?output_acks=true"),
        r#"{"id":"c","path":"cat"}"#,
    )
    .await;
    let first = message(&mut client, 3).await;
    assert_eq!((&first["stdout_from"], &first["stderr_from"]), (&json!(0), &json!(0)));
    for piece in [&b"hello"[..], b" world"] {
        send(&mut client, 16, piece).await;
        assert_eq!(frame(&mut client).await, (1, piece.to_vec()));
    }
    // Half of the first piece: an acknowledgement need not fall between two of them.
    send(&mut client, 21, br#"{"stdout_ack":2}"#).await;
    drop(client);

    let attach = format!("{path}/c/attach");
    let mut client = upgraded(&served, "GET", &format!("{attach}?output_acks=true"), "").await;
    assert_eq!(message(&mut client, 3).await["stdout_from"], 2);
    assert_eq!(frame(&mut client).await, (1, b"llo world".to_vec()));
    send(&mut client, 21, br#"{"stdout_ack":11}"#).await;
    // Less than before, and nothing: neither takes anything back.
    send(&mut client, 21, br#"{"stdout_ack":3}"#).await;
    send(&mut client, 21, b"{}").await;
    drop(client);

    let mut client = upgraded(&served, "GET", &attach, "").await;
    assert_eq!(message(&mut client, 3).await["stdout_from"], 11);
    send(&mut client, 17, b"").await;
    assert_eq!(message(&mut client, 4).await, json!({"exit_status": 0}));
}

#[tokio::test]
async fn an_acknowledgement_of_what_was_not_sent_ends_the_attachment_alone() {
    let (_node, served) = fence().await;
    create(&served, json!({"spec": {"handle": "h"}})).await;
    let path = "/fence/v1/containers/h/processes";
    let run = r#"{"id":"c","path":"cat"}"#;
    let mut client = upgraded(&served, "POST", &format!("{path}?output_acks=true"), run).await;
    message(&mut client, 3).await;
    send(&mut client, 16, b"hello").await;
    assert_eq!(frame(&mut client).await, (1, b"hello".to_vec()));
    send(&mut client, 21, br#"{"stdout_ack":5}"#).await;
    send(&mut client, 21, br#"{"stdout_ack":6}"#).await;
    let last = message(&mut client, 5).await;
    assert!(
        last["error"]
            .as_str()
            .unwrap()
            .contains("stdout is acknowledged up to 6"),
        "{last}"
    );
    assert_eq!(last["again"], false);

    let mut client = upgraded(&served, "GET", &format!("{path}/c/attach"), "").await;
    assert_eq!(message(&mut client, 3).await["stdout_from"], 5);
    // Of a client that did not ask for it nothing is heard.
    send(&mut client, 21, br#"{"stdout_ack":99}"#).await;
    send(&mut client, 17, b"").await;
    assert_eq!(message(&mut client, 4).await, json!({"exit_status": 0}));
}

#[tokio::test]
async fn a_client_that_never_acknowledges_ends_with_its_connection_and_takes_nothing() {
    let (_node, served) = fence().await;
    create(&served, json!({"spec": {"handle": "h"}})).await;
    let path = "/fence/v1/containers/h/processes";
    let run = r#"{"id":"e","path":"echo","args":["hello"]}"#;
    let mut client = upgraded(&served, "POST", &format!("{path}?output_acks=true"), run).await;
    message(&mut client, 3).await;
    assert_eq!(frame(&mut client).await, (1, b"hello".to_vec()));
    // Fence stops, while it would wait for the acknowledgement for ever.
    served.shutdown.cancel();
    let last = message(&mut client, 5).await;
    assert_eq!(last["again"], true, "{last}");
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn the_end_is_told_once_all_output_is_acknowledged() {
    let (_node, served) = fence().await;
    create(&served, json!({"spec": {"handle": "h"}})).await;
    let path = "/fence/v1/containers/h/processes";
    let run = r#"{"id":"e","path":"echo","args":["hello"]}"#;
    let mut client = upgraded(&served, "POST", &format!("{path}?output_acks=true"), run).await;
    message(&mut client, 3).await;
    assert_eq!(frame(&mut client).await, (1, b"hello".to_vec()));
    drop(client);
    let mut client = upgraded(&served, "GET", &format!("{path}/e/attach?output_acks=true"), "").await;
    assert_eq!(message(&mut client, 3).await["stdout_from"], 0);
    assert_eq!(frame(&mut client).await, (1, b"hello".to_vec()));
    send(&mut client, 21, br#"{"stdout_ack":5}"#).await;
    assert_eq!(message(&mut client, 4).await, json!({"exit_status": 0}));
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn input_is_binary_safe_and_signals_have_their_own_numbers() {
    let (_node, served) = fence().await;
    create(&served, json!({"spec": {"handle": "h"}})).await;
    let path = "/fence/v1/containers/h/processes";
    let client = upgraded(&served, "POST", path, r#"{"id":"c","path":"cat"}"#).await;
    drop(client);
    let mut client = upgraded(&served, "GET", &format!("{path}/c/attach"), "").await;
    assert_eq!(message(&mut client, 3).await["process_id"], "c");
    send(&mut client, 19, br#"{"columns":100,"rows":40}"#).await;
    send(&mut client, 99, b"of a later version").await;
    send(&mut client, 18, br#"{"signal":2}"#).await;
    assert_eq!(message(&mut client, 4).await, json!({"exit_status": 130}));

    let mut client = upgraded(&served, "POST", path, r#"{"path":"cat"}"#).await;
    message(&mut client, 3).await;
    send(&mut client, 16, b"\0\xff\n").await;
    assert_eq!(frame(&mut client).await, (1, b"\0\xff\n".to_vec()));
    served.shutdown.cancel();
    assert!(
        message(&mut client, 5).await["error"]
            .as_str()
            .unwrap()
            .contains("stopping")
    );
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_is_told() {
    let (_node, served) = fence().await;
    create(&served, json!({"spec": {"handle": "h"}})).await;
    for nonsense in [&b"\x10\xff\xff\xff\xff"[..], b"\x12\0\0\0\x01x"] {
        let path = "/fence/v1/containers/h/processes";
        let mut client = upgraded(&served, "POST", path, r#"{"path":"sleep"}"#).await;
        message(&mut client, 3).await;
        client.send(nonsense).await;
        let last = message(&mut client, 5).await;
        assert!(last["error"].as_str().unwrap().contains("makes no sense"), "{last}");
    }
}

#[tokio::test]
async fn signals_pass_input_and_the_client_learns_what_was_taken() {
    let (_node, served) = fence().await;
    create(&served, json!({"spec": {"handle": "h"}})).await;
    let path = "/fence/v1/containers/h/processes";
    let mut client = upgraded(&served, "POST", path, r#"{"path":"deaf"}"#).await;
    assert!(message(&mut client, 3).await["stdin_window"].as_u64().unwrap() > 0);
    send(&mut client, 20, b"").await;
    for _ in 0..6 {
        send(&mut client, 16, &[0; 60_000]).await;
    }
    send(&mut client, 18, br#"{"signal":9}"#).await;
    // Its first process has passed on none of it.
    let mut taken = 0;
    loop {
        let (kind, payload) = frame(&mut client).await;
        let told: Value = serde_json::from_slice(&payload).unwrap();
        match kind {
            7 => taken = told["stdin_ack"].as_u64().unwrap(),
            _ => {
                assert_eq!((kind, told), (4, json!({"exit_status": 137})));
                break;
            }
        }
    }
    // What still waits when the process dies may be told as passed on, since nobody will ever read it.
    assert!(taken <= 360_000, "{taken}");
}

#[tokio::test]
async fn a_window_full_of_input_holds_up_nothing_else_though_others_took_the_processs_own() {
    let (_node, served) = fence().await;
    create(&served, json!({"spec": {"handle": "h"}})).await;
    let path = "/fence/v1/containers/h/processes";
    // The last of the long ones begins within the window and ends beyond it.
    for (id, length, count) in [("long", 60_000, 5), ("short", 1, 4096)] {
        let run = json!({"id": id, "path": "deaf"}).to_string();
        let mut other = upgraded(&served, "POST", path, &run).await;
        message(&mut other, 3).await;
        for _ in 0..8 {
            send(&mut other, 16, &[0; 60_000]).await;
        }
        let mut client = upgraded(&served, "GET", &format!("{path}/{id}/attach?output_acks=true"), "").await;
        assert_eq!(message(&mut client, 3).await["stdin_window"], 262_144);
        for _ in 0..count {
            send(&mut client, 16, &vec![0; length]).await;
        }
        for _ in 0..1000 {
            send(&mut client, 17, b"").await;
        }
        send(&mut client, 21, br#"{"stdout_ack":0}"#).await;
        send(&mut client, 18, br#"{"signal":9}"#).await;
        assert_eq!(message(&mut client, 4).await, json!({"exit_status": 137}));
    }
}

#[tokio::test]
async fn input_of_a_source_goes_on_where_it_was() {
    let (_node, served) = fence().await;
    create(&served, json!({"spec": {"handle": "h"}})).await;
    let path = "/fence/v1/containers/h/processes";
    let run = r#"{"id":"c","path":"cat"}"#;
    let mut client = upgraded(
        &served,
        "POST",
        &format!("{path}?stdin_source=18446744073709551615"),
        run,
    )
    .await;
    assert_eq!(message(&mut client, 3).await["stdin_from"], 0);
    send(&mut client, 20, b"").await;
    for (piece, upto) in [(&b"hello"[..], 5), (b" world", 11)] {
        send(&mut client, 16, piece).await;
        let (mut seen, mut told) = (false, false);
        while !(seen && told) {
            match frame(&mut client).await {
                (1, data) => seen = data == piece,
                (7, json) => told = serde_json::from_slice::<Value>(&json).unwrap()["stdin_ack"] == upto,
                other => panic!("{other:?}"),
            }
        }
    }
    drop(client);
    for (source, from) in [("18446744073709551615", json!(11)), ("1", json!(0))] {
        let mut client = upgraded(&served, "GET", &format!("{path}/c/attach?stdin_source={source}"), "").await;
        assert_eq!(message(&mut client, 3).await["stdin_from"], from);
    }
    let mut client = served.connect().await;
    client
        .request("GET", &format!("{path}/c/attach?stdin_source=x"), &UPGRADE, "")
        .await;
    assert_eq!(client.head().await.status, 400);
}

#[tokio::test]
async fn events_come_with_their_numbers_and_go_on_from_one() {
    let (_node, served) = fence().await;
    create(&served, json!({"spec": {"handle": "h"}})).await;
    create(&served, json!({"spec": {"handle": "other"}})).await;
    let mut all = served.connect().await;
    all.request("GET", "/fence/v1/events?since=0&follow=false", &[], "")
        .await;
    let head = all.head().await;
    assert_eq!(
        (head.status, head.fields["content-type"].as_str()),
        (200, "text/event-stream")
    );
    let text = all.rest().await;
    let numbers: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(numbers, ["1", "2"]);
    assert!(text.ends_with(": end\n\n"), "{text}");

    let mut following = served.connect().await;
    let resumed = ["Last-Event-ID: 1"];
    following
        .request("GET", "/fence/v1/events?container=h", &resumed, "")
        .await;
    assert_eq!(following.head().await.status, 200);
    let (status, _) = served.json("POST", "/fence/v1/containers/h/pause", "").await;
    assert_eq!(status, 200);
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| !line.starts_with("data: ")) {
        lines.push(following.line().await);
    }
    assert_eq!(lines[..2], ["id: 3\n", "event: paused\n"]);
    let data: Value = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((&data["type"], &data["container"]), (&json!("paused"), &json!("h")));
}

#[tokio::test]
async fn a_query_that_makes_no_sense_is_refused() {
    let (_node, served) = fence().await;
    for query in ["since=x", "follow=maybe", "since=-1"] {
        let mut client = served.connect().await;
        client
            .request("GET", &format!("/fence/v1/events?{query}"), &[], "")
            .await;
        assert_eq!(client.head().await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn a_frozen_container_says_so_and_which_command_helps() {
    let (_node, served) = fence().await;
    create(&served, json!({"spec": {"handle": "h"}})).await;
    let (_, frozen) = served.json("POST", "/fence/v1/containers/h/pause", "").await;
    assert_eq!(frozen["paused"], true);
    let mut client = served.connect().await;
    let body = r#"{"path":"cat"}"#;
    client
        .request("POST", "/fence/v1/containers/h/processes", &UPGRADE, body)
        .await;
    assert_eq!(client.head().await.status, 409);
    assert_eq!(client.object().await["hint"], "kato container resume HANDLE");
    let (status, resumed) = served.json("POST", "/fence/v1/containers/h/resume", "").await;
    assert_eq!((status, &resumed["paused"]), (200, &json!(false)));
    let (status, processes) = served.json("GET", "/fence/v1/containers/h/top", "").await;
    assert!(status == 200 && processes.is_array(), "{processes}");
}
