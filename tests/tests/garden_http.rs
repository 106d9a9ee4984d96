//! Garden: the HTTP below it, told by what clients send and by what nobody should.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};
use tests::garden::{Address, Body, Client, ContainerSpec, Error, ErrorBody, ProcessSpec, Request};
use tests::harness::{LIMIT, Node, until};

type Story = anyhow::Result<()>;

#[test]
fn a_path_that_is_not_there_is_404_in_plain_text() -> Story {
    let node = Node::fence_only();
    for target in ["/", "/nope", "/containers/a/b/c/d", "/containers/a/limits/colour"] {
        let response = node.garden().exchange(Request::new("GET", target))?;
        assert_eq!(response.head.status, 404, "{target}");
        assert!(
            response
                .head
                .header("Content-Type")
                .is_some_and(|kind| kind.starts_with("text/plain")),
            "{target}"
        );
    }
    Ok(())
}

#[test]
fn a_wrong_method_is_405_and_says_which_are_right() -> Story {
    let node = Node::fence_only();
    for (method, target, right) in [
        ("POST", "/ping", "GET"),
        ("PUT", "/containers", "POST"),
        ("GET", "/containers/a", "DELETE"),
        ("GET", "/containers/a/stop", "PUT"),
        ("DELETE", "/containers/a/processes", "POST"),
        ("POST", "/containers/a/properties/b", "PUT"),
    ] {
        let response = node.garden().exchange(Request::new(method, target))?;
        assert_eq!(response.head.status, 405, "{method} {target}");
        assert!(
            response.head.has_token("Allow", right),
            "{method} {target}: {:?}",
            response.head.headers
        );
    }
    Ok(())
}

#[test]
fn a_body_that_is_no_json_is_an_untyped_error() -> Story {
    let node = Node::fence_only();
    for body in [
        "",
        "{",
        "[1]",
        "\"text\"",
        "{\"handle\": 5}",
        "{\"limits\": {\"memory_limits\": {\"limit_in_bytes\": -1}}}",
        "\u{0}",
    ] {
        let request = Request::new("POST", "/containers").body(Body::Sized(body.into()));
        let response = node.garden().exchange(request)?;
        let error: ErrorBody = serde_json::from_slice(&response.body)?;
        assert_eq!((response.head.status, error.kind.as_str()), (500, ""), "{body:?}");
        assert!(!error.message.is_empty(), "{body:?}");
    }
    assert_eq!(node.containers_in_docker(), Vec::<String>::new());
    Ok(())
}

#[test]
fn an_error_has_all_five_members() -> Story {
    let node = Node::fence_only();
    let response = node.garden().exchange(Request::new("GET", "/containers/nobody/info"))?;
    let error: Value = serde_json::from_slice(&response.body)?;
    for member in ["Type", "Message", "Handle", "ProcessID", "Binary"] {
        assert!(error[member].is_string(), "{member} in {error}");
    }
    Ok(())
}

#[test]
fn a_body_that_is_too_large_is_refused() -> Story {
    let node = Node::fence_only();
    let huge = format!("{{\"handle\": \"{}\"}}", "x".repeat(32 << 20)).into_bytes();
    for body in [Body::Sized(huge.clone()), Body::Chunked(huge.clone(), 64 * 1024)] {
        match node.garden().exchange(Request::new("POST", "/containers").body(body)) {
            Ok(response) => {
                assert!(response.head.status >= 400, "{:?}", response.head);
                serde_json::from_slice::<ErrorBody>(&response.body)?;
            }
            // Hanging up on a client that keeps sending is an answer too.
            Err(error) => assert!(matches!(error, Error::Connection { .. }), "{error}"),
        }
        node.garden().ping()?;
    }
    Ok(())
}

#[test]
fn keys_are_found_in_any_case_and_null_is_nothing() -> Story {
    let node = Node::fence_only();
    let garden = node.garden();
    let spec = json!({
        "HANDLE": "web", "Properties": { "Owner": "ann" }, "ENV": ["A=b"], "grace_time": null, "rootfs": null, "image": null,
        "bind_mounts": null, "network": null, "privileged": null, "limits": null, "netout_rules": null, "netin": null,
        "of_no_use": { "to": ["us"] },
    });
    assert_eq!(
        garden.call("POST", "/containers", Some(&spec))?,
        json!({ "Handle": "web" })
    );
    assert_eq!(garden.property("web", "Owner")?, "ann", "keys of a map keep their case");
    let spec = json!({
        "Path": "sh", "ARGS": ["-c", "echo $A"], "env": null, "dir": null, "user": null, "rlimits": null, "tty": null,
        "image": null, "bind_mounts": null, "id": null, "limits": null,
    });
    let mut main = garden.open_run("web", &spec)?;
    let first = main.next_object()?.unwrap_or_default();
    let (process, stream) = (
        first["process_id"].as_str().unwrap_or(""),
        first["stream_id"].as_str().unwrap_or(""),
    );
    assert_eq!(
        garden.open_side("web", process, stream, "stdout")?.read_to_end()?,
        b"b\n"
    );
    assert_eq!(
        main.next_object()?.map(|last| last["exit_status"].clone()),
        Some(json!(0))
    );
    Ok(())
}

#[test]
fn bodies_count_whatever_their_type_and_framing() -> Story {
    let node = Node::fence_only();
    let body = b"{\"handle\":\"web\"}\n".to_vec();
    let request = Request::new("POST", "/containers")
        .header("Content-Type", "text/x-whatever")
        .body(Body::Chunked(body, 5));
    let response = node.garden().exchange(request)?;
    assert_eq!(
        (response.head.status, response.body.as_slice()),
        (200, b"{\"Handle\":\"web\"}\n".as_slice())
    );
    Ok(())
}

#[test]
fn segments_of_a_path_are_decoded_once() -> Story {
    let node = Node::fence_only();
    let garden = node.garden();
    garden.create(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?;
    for key in ["a b", "a+b", "100%41", "ü", "a=b&c"] {
        garden.set_property("web", key, "here")?;
        assert_eq!(garden.property("web", key)?, "here", "{key}");
        assert!(
            garden.properties("web")?.contains_key(key),
            "{key} in {:?}",
            garden.properties("web")?
        );
    }
    // What a client that encodes more than it has to would send.
    let response = garden.exchange(Request::new("GET", "/containers/%77%65b/info"))?;
    assert_eq!(response.head.status, 200);
    Ok(())
}

#[test]
fn what_is_not_in_this_version_is_refused_and_not_ignored() -> Story {
    let node = Node::fence_only();
    let garden = node.garden();
    garden.create(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?;
    for (method, target, body) in [
        (
            "POST",
            "/containers",
            Some(json!({ "network": "10.0.0.0/30", "image": {}, "limits": {} })),
        ),
        (
            "POST",
            "/containers",
            Some(json!({ "bind_mounts": [{ "src_path": "/tmp", "dst_path": "/mnt", "origin": 1 }] })),
        ),
    ] {
        let error = garden.call(method, target, body.as_ref()).unwrap_err();
        assert!(
            matches!(&error, Error::Garden { body, .. } if !body.message.is_empty()),
            "{method} {target}: {error}"
        );
    }
    assert_eq!(garden.list(&[])?, ["web"]);
    Ok(())
}

#[test]
fn clients_that_send_nothing_or_half_a_request_hold_up_nobody() -> Story {
    let node = Node::fence_only();
    let mut idle = Vec::new();
    for start in [
        "",
        "GET /pi",
        "POST /containers HTTP/1.1\r\nHost: api\r\nContent-Length: 100\r\n\r\n{",
    ]
    .repeat(20)
    {
        let mut connection = UnixStream::connect(node.socket())?;
        connection.write_all(start.as_bytes())?;
        idle.push(connection);
    }
    node.garden().ping()?;
    node.garden().create(&ContainerSpec::default())?;
    Ok(())
}

#[test]
fn what_is_no_http_is_answered_or_hung_up_on() -> Story {
    let node = Node::fence_only();
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    let headers = format!("GET /ping HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(20_000));
    for nonsense in [
        "\r\n\r\n\r\n",
        "\u{0}\u{1}\u{2}\r\n\r\n",
        "GET\r\n\r\n",
        "GET /ping HTTP/9.9\r\n\r\n",
        &long,
        &headers,
        "POST /containers HTTP/1.1\r\nHost: api\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST /containers HTTP/1.1\r\nHost: api\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "POST /containers HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    ] {
        let mut connection = UnixStream::connect(node.socket())?;
        connection.set_read_timeout(Some(LIMIT))?;
        // It may hang up before it has read everything.
        let _ = connection.write_all(nonsense.as_bytes());
        let _ = connection.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let read = connection.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let timed_out = read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(
            !timed_out,
            "no end to the answer to {:?}",
            &nonsense[..nonsense.len().min(60)]
        );
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5"),
            "{answer}"
        );
        node.garden().ping()?;
    }
    assert_eq!(node.containers_in_docker(), Vec::<String>::new());
    Ok(())
}

#[test]
fn it_is_served_on_loopback_too_where_configured() -> Story {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let node = Node::with_config(&[("garden/listen", &address.to_string())]);
    let garden = Client::new(Address::Tcp(address));
    garden.ping()?;
    let handle = garden.create(&ContainerSpec::default())?;
    let (status, stdout, stderr) = garden.output(&handle, &ProcessSpec::script("echo out; echo err >&2; exit 3"))?;
    assert_eq!((status, stdout.as_str(), stderr.as_str()), (3, "out\n", "err\n"));
    assert!(node.garden().lookup(&handle)?, "both are the same server");
    Ok(())
}

#[test]
fn it_listens_on_no_address_that_others_reach() {
    let node = Node::fence_only();
    node.kato(&["config", "set", "fence", "garden/listen", "0.0.0.0:7777"])
        .expect_code(3);
}

#[test]
fn the_socket_is_for_root_and_the_group_alone() -> Story {
    use std::os::unix::fs::PermissionsExt;
    let node = Node::fence_only();
    assert_eq!(node.socket().metadata()?.permissions().mode() & 0o777, 0o660);
    Ok(())
}

#[test]
fn a_second_daemon_on_one_node_is_refused() -> Story {
    let node = Node::fence_only();
    let mut second = std::process::Command::new(tests::harness::program("fence"));
    second.arg("--root").arg(node.root());
    let refused = tests::harness::run(&mut second);
    assert_ne!(refused.code, 0, "{}", refused.err());
    until("the first one still answers", Duration::from_secs(5), || {
        node.garden().ping().ok()
    });
    Ok(())
}
