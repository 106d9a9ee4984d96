//! The Garden face as `garden-wire` has it, route by route.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Client, DEADLINE, Served, fence};
use crate::container::Properties;
use crate::supervisor::tests::Node;

async fn create(served: &Served, handle: &str) {
    let body = json!({"handle": handle, "image": {}, "limits": {}}).to_string();
    assert_eq!(
        served.json("POST", "/containers", &body).await,
        (200, json!({"Handle": handle}))
    );
}

/// Run a process: its main connection, and the first object on it.
async fn run(served: &Served, handle: &str, spec: Value) -> (Client, Value) {
    let mut client = served.connect().await;
    client
        .request(
            "POST",
            &format!("/containers/{handle}/processes"),
            &[],
            &format!("{spec}\n"),
        )
        .await;
    let head = client.head().await;
    assert_eq!(
        (head.status, head.fields["transfer-encoding"].as_str()),
        (201, "chunked")
    );
    assert_eq!(head.fields.get("connection"), None);
    let first = client.object().await;
    (client, first)
}

/// The side connection of an output.
async fn output(served: &Served, handle: &str, started: &Value, stream: &str) -> Client {
    let process = started["process_id"].as_str().unwrap();
    let id = started["stream_id"].as_str().unwrap();
    let mut client = served.connect().await;
    let path = format!("/containers/{handle}/processes/{process}/attaches/{id}/{stream}");
    client
        .send(format!(
            "GET {path} HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\n\r\n"
        ))
        .await;
    let head = client.head().await;
    assert_eq!(
        (head.status, head.fields["transfer-encoding"].as_str()),
        (200, "chunked")
    );
    assert_eq!(head.fields.get("connection"), None);
    client
}

/// A hijacked request that fails: status and body.
async fn refused(served: &Served, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut client = served.connect().await;
    client.request(method, path, &[], body).await;
    let head = client.head().await;
    assert_eq!(head.fields.get("connection"), None);
    let length: usize = head.fields["content-length"].parse().unwrap();
    (
        head.status,
        serde_json::from_slice(&client.exactly(length).await).unwrap(),
    )
}

#[tokio::test]
async fn ping_and_capacity() {
    let (_node, served) = fence().await;
    assert_eq!(served.ask("GET", "/ping", "").await, (200, "{}\n".into()));
    let (status, capacity) = served.json("GET", "/capacity", "").await;
    assert_eq!(status, 200);
    for member in [
        "memory_in_bytes",
        "disk_in_bytes",
        "schedulable_disk_in_bytes",
        "max_containers",
    ] {
        assert!(capacity[member].as_u64().unwrap() > 0, "{capacity}");
    }
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods() {
    let (_node, served) = fence().await;
    let mut client = served.connect().await;
    client.request("GET", "/nowhere", &[], "").await;
    let head = client.head().await;
    assert_eq!(head.status, 404);
    assert!(head.fields["content-type"].starts_with("text/plain"));
    for (method, path, allowed) in [
        ("PUT", "/ping", "GET,HEAD"),
        ("GET", "/containers/h", "DELETE"),
        ("GET", "/containers/h/processes", "POST"),
        ("DELETE", "/containers/h/processes/p", "GET"),
        ("POST", "/containers/h/processes/p/attaches/1/stdout", "GET"),
    ] {
        let mut client = served.connect().await;
        client.request(method, path, &[], "").await;
        let head = client.head().await;
        assert_eq!(
            (head.status, head.fields["allow"].as_str()),
            (405, allowed),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_container_from_create_to_destroy() {
    let (_node, served) = fence().await;
    let body = r#"{"Handle":"h","properties":{"Key":"v","garden.x":"1"},"limits":{"memory_limits":
        {"limit_in_bytes":67108864},"cpu_limits":{"weight":100},"pid_limits":null},"network":null,"other":1}"#;
    assert_eq!(
        served.json("POST", "/containers", body).await,
        (200, json!({"Handle": "h"}))
    );
    let (status, error) = served.json("POST", "/containers", r#"{"handle":"h"}"#).await;
    assert_eq!(
        (status, &error["Message"], &error["Type"]),
        (500, &json!("Handle 'h' already in use"), &json!(""))
    );

    let (_, info) = served.json("GET", "/containers/h/info", "").await;
    assert_eq!(
        (&info["State"], &info["Properties"]["Key"]),
        (&json!("active"), &json!("v"))
    );
    assert_eq!(info["Properties"]["garden.network.external-ip"], info["ExternalIP"]);
    let (_, memory) = served.json("GET", "/containers/h/limits/memory", "").await;
    assert_eq!(memory, json!({"limit_in_bytes": 67_108_864}));
    assert_eq!(
        served.json("GET", "/containers/h/limits/cpu", "").await.1,
        json!({"limit_in_shares": 100})
    );
    assert_eq!(
        served.json("GET", "/containers/h/limits/disk", "").await,
        (200, json!({}))
    );
    assert_eq!(
        served.json("PUT", "/containers/h/grace_time", "300000000000\n").await,
        (200, json!({}))
    );

    assert_eq!(
        served.json("PUT", "/containers/h/stop", r#"{"kill":true}"#).await,
        (200, json!({}))
    );
    assert_eq!(served.json("GET", "/containers/h/info", "").await.1["State"], "stopped");
    assert_eq!(served.json("DELETE", "/containers/h", "").await, (200, json!({})));
    let (status, error) = served.json("DELETE", "/containers/h", "").await;
    let expected = json!({"Type": "ContainerNotFoundError", "Message": "unknown handle: h", "Handle": "h",
        "ProcessID": "", "Binary": ""});
    assert_eq!((status, error), (404, expected));
}

#[tokio::test]
async fn lists_are_filtered() {
    let (_node, served) = fence().await;
    assert_eq!(
        served.json("GET", "/containers", "").await,
        (200, json!({"Handles": []}))
    );
    for (handle, owner) in [("a", "x y"), ("b", "z")] {
        let body = json!({"handle": handle, "properties": {"owner": owner}}).to_string();
        served.json("POST", "/containers", &body).await;
    }
    for (query, handles) in [
        ("", json!(["a", "b"])),
        ("?owner=x+y", json!(["a"])),
        ("?owner=x%20y&owner=z", json!(["a"])),
        ("?owner=x", json!([])),
        ("?owner=z&garden.state=all", json!(["b"])),
        ("?garden.state=created", json!(["a", "b"])),
        ("?garden.state=other", json!([])),
    ] {
        let (_, list) = served.json("GET", &format!("/containers{query}"), "").await;
        assert_eq!(list["Handles"], handles, "{query}");
    }
}

#[tokio::test]
async fn properties_are_set_read_and_removed() {
    let (_node, served) = fence().await;
    create(&served, "h").await;
    let path = "/containers/h/properties/a%20key+x";
    let (status, error) = served.json("GET", path, "").await;
    assert_eq!(
        (status, &error["Message"]),
        (500, &json!("property does not exist: a key x"))
    );
    assert_eq!(served.json("PUT", path, r#"{"value":"v"}"#).await, (200, json!({})));
    assert_eq!(served.json("GET", path, "").await, (200, json!({"value": "v"})));
    assert_eq!(
        served.json("GET", "/containers/h/properties", "").await.1["a key x"],
        "v"
    );
    let (_, state) = served.json("GET", "/containers/h/properties/garden.state", "").await;
    assert_eq!(state, json!({"value": "created"}));
    assert_eq!(served.json("DELETE", path, "").await, (200, json!({})));
    assert_eq!(served.json("DELETE", path, "").await, (200, json!({})));
}

#[tokio::test]
async fn ports_lead_into_a_container() {
    let (_node, served) = fence().await;
    create(&served, "h").await;
    let (_, port) = served
        .json(
            "POST",
            "/containers/h/net/in",
            r#"{"handle":"h","container_port":8080}"#,
        )
        .await;
    assert!(port["host_port"].as_u64().unwrap() > 0);
    assert_eq!(port["container_port"], 8080);
    let (_, info) = served.json("GET", "/containers/h/info", "").await;
    assert_eq!(
        info["MappedPorts"],
        json!([{"HostPort": port["host_port"], "ContainerPort": 8080}])
    );
    assert_eq!(
        served.json("POST", "/containers/h/net/out", r#"{"protocol":1}"#).await,
        (200, json!({}))
    );
    assert_eq!(
        served.json("POST", "/containers/h/net/out/bulk", "null").await,
        (200, json!({}))
    );
}

#[tokio::test]
async fn several_are_described_at_once_each_with_its_own_error() {
    let (_node, served) = fence().await;
    create(&served, "h").await;
    let (status, infos) = served.json("GET", "/containers/bulk_info?handles=h,ghost", "").await;
    assert_eq!((status, &infos["h"]["Err"]), (200, &json!(null)));
    assert_eq!(infos["h"]["Info"]["State"], "active");
    assert_eq!(infos["ghost"]["Err"]["Type"], "ContainerNotFoundError");
    let (status, none) = served.json("GET", "/containers/bulk_metrics?handles=", "").await;
    assert_eq!((status, none), (200, json!({})));
}

#[tokio::test]
async fn what_cannot_be_measured_says_why() {
    let (_node, served) = fence().await;
    create(&served, "h").await;
    // The process that stands for the container is in no cgroup of it.
    let (status, error) = served.json("GET", "/containers/h/metrics", "").await;
    assert_eq!((status, &error["Type"]), (500, &json!("")));
    assert!(
        error["Message"].as_str().unwrap().starts_with("could not measure h"),
        "{error}"
    );
    let (_, all) = served.json("GET", "/containers/bulk_metrics?handles=h,ghost", "").await;
    assert_eq!(all["h"]["Err"], error);
    assert_eq!(all["ghost"]["Err"]["Type"], "ContainerNotFoundError");
}

#[tokio::test]
async fn requests_that_make_no_sense_are_plain_errors() {
    let (_node, served) = fence().await;
    create(&served, "h").await;
    for (method, path, body) in [
        ("POST", "/containers", "nonsense"),
        ("POST", "/containers", ""),
        ("POST", "/containers", r#"{"env":"A=1"}"#),
        ("PUT", "/containers/h/stop", "{"),
        ("PUT", "/containers/h/grace_time", "\"soon\""),
    ] {
        let (status, error) = served.json(method, path, body).await;
        assert_eq!((status, &error["Type"]), (500, &json!("")), "{path} {body}");
    }
    let (status, error) = refused(&served, "POST", "/containers/h/processes", "nonsense").await;
    assert_eq!((status, &error["Type"]), (500, &json!("")));
}

#[tokio::test]
async fn a_process_says_who_it_is_and_how_it_ended() {
    let (_node, served) = fence().await;
    create(&served, "h").await;
    let (mut main, started) = run(&served, "h", json!({"path": "echo", "args": ["a", "b"], "image": {}})).await;
    let id = started["process_id"].clone();
    assert_eq!(main.object().await, json!({"process_id": id, "exit_status": 0}));
    assert_eq!(main.rest().await, "");
    // The outputs are asked for after the exit, and each is there once.
    assert_eq!(output(&served, "h", &started, "stdout").await.rest().await, "a b");
    assert_eq!(output(&served, "h", &started, "stderr").await.rest().await, "");
    assert_eq!(output(&served, "h", &started, "stdout").await.rest().await, "");
}

#[tokio::test]
async fn input_goes_in_and_signals_still_arrive_after_its_end() {
    let (_node, served) = fence().await;
    create(&served, "h").await;
    let (mut main, started) = run(&served, "h", json!({"id": "c", "path": "cat"})).await;
    let mut stdout = output(&served, "h", &started, "stdout").await;
    main.send("{\"process_id\":\"c\",\"source\":0,\"data\":\"potato\\n\"}\n")
        .await;
    assert_eq!(stdout.line().await, "potato\n");
    main.send("{\"process_id\":\"c\",\"tty\":{\"window_size\":{\"columns\":10,\"rows\":5}}}\n")
        .await;
    main.send("{\"process_id\":\"c\",\"signal\":7}\n{\"process_id\":\"c\",\"signal\":0}\n")
        .await;
    assert_eq!(main.object().await, json!({"process_id": "c", "exit_status": 143}));

    let (mut main, _) = run(&served, "h", json!({"id": "d", "path": "sleep-through-eof"})).await;
    main.send("{\"source\":1}{\"signal\":1}").await;
    assert_eq!(main.object().await, json!({"process_id": "d", "exit_status": 137}));
}

#[tokio::test]
async fn an_attachment_goes_on_when_the_way_to_its_process_broke() {
    let (_node, served) = fence().await;
    create(&served, "h").await;
    let (mut main, started) = run(&served, "h", json!({"id": "c", "path": "cat"})).await;
    let mut out = output(&served, "h", &started, "stdout").await;
    for part in ["one", "two", "three"] {
        main.send(format!("{{\"process_id\":\"c\",\"source\":0,\"data\":\"{part}\"}}\n"))
            .await;
        assert_eq!(out.exactly(part.len()).await, part.as_bytes());
        main.send("{\"process_id\":\"c\",\"tty\":{\"window_size\":{\"columns\":1,\"rows\":1}}}\n")
            .await;
    }
    main.send("{\"process_id\":\"c\",\"signal\":0}\n").await;
    assert_eq!(main.object().await, json!({"process_id": "c", "exit_status": 143}));
    assert_eq!(out.rest().await, "");
}

#[tokio::test]
async fn signals_pass_input_that_the_process_does_not_read() {
    let (_node, served) = fence().await;
    create(&served, "h").await;
    let (mut main, _) = run(&served, "h", json!({"id": "s", "path": "deaf"})).await;
    let input = json!({"source": 0, "data": "x".repeat(100_000)});
    main.send(format!("{input}\n{input}\n{input}\n{input}\n{{\"signal\":1}}\n"))
        .await;
    assert_eq!(main.object().await["exit_status"], 137);
}

#[tokio::test]
async fn a_client_that_leaves_its_input_behind_holds_the_container_no_longer() {
    let (node, served) = fence().await;
    create(&served, "h").await;
    assert_eq!(
        served.json("PUT", "/containers/h/grace_time", "1000000000").await.0,
        200
    );
    let (mut main, _) = run(&served, "h", json!({"id": "s", "path": "deaf"})).await;
    main.send(format!("{}\n", json!({"source": 0, "data": "x".repeat(400_000)})))
        .await;
    drop(main);
    until_gone(&node).await;
}

#[tokio::test]
async fn a_process_outlives_its_client_and_can_be_attached_to() {
    let (_node, served) = fence().await;
    create(&served, "h").await;
    let (main, _) = run(&served, "h", json!({"id": "s", "path": "sleep"})).await;
    drop(main);
    let mut client = served.connect().await;
    client.request("GET", "/containers/h/processes/s", &[], "").await;
    assert_eq!(client.head().await.status, 200);
    let first = client.object().await;
    assert_eq!(first["process_id"], "s");
    client.send("{\"process_id\":\"s\",\"signal\":1}\n").await;
    assert_eq!(client.object().await, json!({"process_id": "s", "exit_status": 137}));
}

#[tokio::test]
async fn errors_on_hijacked_routes_reach_the_client() {
    let (_node, served) = fence().await;
    create(&served, "h").await;
    let missing = r#"{"path":"missing"}"#;
    let (status, error) = refused(&served, "POST", "/containers/h/processes", missing).await;
    assert_eq!((status, &error["Type"]), (500, &json!("ExecutableNotFoundError")));
    assert!(
        error["Message"]
            .as_str()
            .unwrap()
            .contains("executable file not found in $PATH")
    );
    let (status, error) = refused(&served, "POST", "/containers/gone/processes", missing).await;
    assert_eq!(
        (status, &error["Type"], &error["Handle"]),
        (404, &json!("ContainerNotFoundError"), &json!("gone"))
    );
    for process in ["gone", "a%20b"] {
        let (status, error) = refused(&served, "GET", &format!("/containers/h/processes/{process}"), "").await;
        assert_eq!((status, &error["Type"]), (404, &json!("ProcessNotFoundError")));
    }
    let (status, _) = refused(&served, "GET", "/containers/gone/processes/p/attaches/1/stdout", "").await;
    assert_eq!(status, 404);
    let unknown = json!({"process_id": "nobody", "stream_id": "77"});
    assert_eq!(output(&served, "h", &unknown, "stdout").await.rest().await, "");
}

#[tokio::test]
async fn a_request_may_come_in_pieces_chunks_and_with_an_expectation() {
    let (_node, served) = fence().await;
    create(&served, "h").await;
    let mut client = served.connect().await;
    client
        .send("POST /containers/h/processes HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 15\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status, 100);
    client.send("{\"path\":").await;
    client.send("\"echo\"}").await;
    assert_eq!(client.head().await.status, 201);
    client.object().await;
    assert_eq!(client.object().await["exit_status"], 0);

    let mut client = served.connect().await;
    client
        .send("POST /containers/h/processes HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    client
        .send("8\r\n{\"path\":\r\n7\r\n\"sleep\"\r\n1\r\n}\r\n0\r\n\r\n{\"signal\":1}\n")
        .await;
    assert_eq!(client.head().await.status, 201);
    client.object().await;
    assert_eq!(client.object().await["exit_status"], 137);
}

#[tokio::test]
async fn stopping_ends_attachments_and_no_process() {
    let (node, served) = fence().await;
    create(&served, "h").await;
    let (mut main, started) = run(&served, "h", json!({"id": "s", "path": "sleep"})).await;
    let mut stdout = output(&served, "h", &started, "stdout").await;
    served.shutdown.cancel();
    let last = main.object().await;
    assert!(last["error"].as_str().unwrap().contains("stopping"), "{last}");
    assert_eq!(stdout.rest().await, "");
    drop((main, stdout));
    served.stop().await;
    let info = node.supervisor.info(&"h".parse().unwrap()).await.unwrap();
    assert_eq!(info.processes[0].exit_status, None);
}

#[tokio::test]
async fn an_open_connection_holds_the_container() {
    let (node, served) = fence().await;
    create(&served, "h").await;
    let (main, _) = run(&served, "h", json!({"id": "s", "path": "sleep"})).await;
    assert_eq!(served.json("PUT", "/containers/h/grace_time", "1000000").await.0, 200);
    // Requests for other containers do not hold this one.
    for _ in 0..20 {
        assert_eq!(served.ask("GET", "/ping", "").await.0, 200);
    }
    assert_eq!(node.supervisor.list(&Properties::new()).len(), 1);
    drop(main);
    until_gone(&node).await;
}

/// Until the node has no containers.
async fn until_gone(node: &Node) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !node.supervisor.list(&Properties::new()).is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the container is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
