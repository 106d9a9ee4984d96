//! The protocol: which paths there are, how requests are read, what errors look like.

use serde_json::{Value, json};
use tests::garden::{Body, Request};
use tests::harness::Node;

use super::{Checks, Story, web};

/// Every route of Garden's, by the methods that it takes.
const ROUTES: [(&str, &[&str]); 28] = [
    ("/ping", &["GET"]),
    ("/capacity", &["GET"]),
    ("/containers", &["GET", "POST"]),
    ("/containers/bulk_info", &["GET"]),
    ("/containers/bulk_metrics", &["GET"]),
    ("/containers/nobody", &["DELETE"]),
    ("/containers/nobody/info", &["GET"]),
    ("/containers/nobody/stop", &["PUT"]),
    ("/containers/nobody/files", &["GET", "PUT"]),
    ("/containers/nobody/limits/bandwidth", &["GET"]),
    ("/containers/nobody/limits/cpu", &["GET"]),
    ("/containers/nobody/limits/disk", &["GET"]),
    ("/containers/nobody/limits/memory", &["GET"]),
    ("/containers/nobody/net/in", &["POST"]),
    ("/containers/nobody/net/out", &["POST"]),
    ("/containers/nobody/net/out/bulk", &["POST"]),
    ("/containers/nobody/grace_time", &["PUT"]),
    ("/containers/nobody/properties", &["GET"]),
    ("/containers/nobody/properties/key", &["GET", "PUT", "DELETE"]),
    ("/containers/nobody/metrics", &["GET"]),
    ("/containers/nobody/processes", &["POST"]),
    ("/containers/nobody/processes/p", &["GET"]),
    ("/containers/nobody/processes/p/attaches/s/stdout", &["GET"]),
    ("/containers/nobody/processes/p/attaches/s/stderr", &["GET"]),
    ("/nope", &[]),
    ("/containers/nobody/nope", &[]),
    ("/containers/nobody/limits/colour", &[]),
    ("/containers/nobody/processes/p/attaches/s/stdin", &[]),
];

#[test]
fn paths_and_methods() -> Story {
    let node = Node::fence_only();
    let mut checks = Checks::default();
    for (path, methods) in ROUTES {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            if methods.contains(&method) {
                continue;
            }
            let response = node.garden().exchange(Request::new(method, path))?;
            let expected = if methods.is_empty() { 404 } else { 405 };
            checks.same(&format!("{method} {path}"), response.head.status, expected);
            for right in methods {
                let allow = response.head.has_token("Allow", right);
                checks.holds(&format!("{method} {path} tells of {right}"), allow, || {
                    format!("{:?}", response.head.headers)
                });
            }
        }
    }
    checks.end(150);
    Ok(())
}

/// What is asked of a container that is not there, on every route that names one.
#[test]
fn a_container_that_is_not_there() -> Story {
    let node = Node::fence_only();
    let mut checks = Checks::default();
    // A side stream of nobody is empty; what is refused as a whole is so whatever it names.
    let others = |path: &str| path.contains("attaches") || path.ends_with("/files") || path.ends_with("/metrics");
    for (path, methods) in ROUTES
        .iter()
        .filter(|(path, _)| path.contains("nobody") && !others(path))
    {
        for method in *methods {
            let body = match *path {
                "/containers/nobody/grace_time" => "0",
                "/containers/nobody/net/out/bulk" => "[]",
                "/containers/nobody/processes" => "{\"path\":\"true\"}",
                _ => "{}",
            };
            let request = Request::new(method, path);
            let request = match *method {
                "GET" | "DELETE" => request,
                _ => request.body(Body::Sized(body.into())),
            };
            let response = node.garden().exchange(request)?;
            let error: Value = serde_json::from_slice(&response.body).unwrap_or_default();
            let rule = format!("{method} {path}");
            checks.same(&rule, response.head.status, 404);
            checks.same(&rule, error["Type"].as_str(), Some("ContainerNotFoundError"));
            checks.same(&rule, error["Handle"].as_str(), Some("nobody"));
            for member in ["Type", "Message", "Handle", "ProcessID", "Binary"] {
                checks.holds(&rule, error[member].is_string(), || format!("no {member} in {error}"));
            }
        }
    }
    checks.end(100);
    Ok(())
}

#[test]
fn how_json_is_read() -> Story {
    let node = Node::fence_only();
    let garden = node.garden();
    let web = web(&node)?;
    let mut checks = Checks::default();
    for member in [
        "id",
        "args",
        "env",
        "dir",
        "user",
        "rlimits",
        "tty",
        "image",
        "bind_mounts",
        "limits",
        "nothing_known",
    ] {
        for (what, value) in [("null", Value::Null), ("nothing", json!({})), ("a number", json!(7))] {
            let fits = match what {
                "null" => true,
                "nothing" => matches!(member, "rlimits" | "tty" | "image" | "limits" | "nothing_known"),
                _ => member == "nothing_known",
            };
            let spec = json!({ "path": "true", member: value });
            let run = web.garden.open_run("web", &spec);
            checks.same(&format!("{what} for a process's {member}"), run.is_ok(), fits);
        }
        let spec = json!({ "PATH": "true", (member.to_uppercase()): null });
        checks.holds(
            &format!("{member} in capitals"),
            web.garden.open_run("web", &spec).is_ok(),
            || "refused".into(),
        );
    }
    for member in [
        "handle",
        "grace_time",
        "rootfs",
        "image",
        "bind_mounts",
        "network",
        "properties",
        "env",
        "privileged",
        "limits",
        "netout_rules",
        "netin",
    ] {
        let wrong = json!({ member: if member == "grace_time" { json!("x") } else { json!(7) } });
        let error = garden.call("POST", "/containers", Some(&wrong)).unwrap_err();
        checks.same(
            &format!("a container's {member} of another type"),
            error.kind(),
            Some(""),
        );
        checks.same(
            &format!("a container's {member} of another type"),
            error.status(),
            Some(500),
        );
    }
    let all_null = json!({
        "handle": "nulls", "grace_time": null, "rootfs": null, "image": {"uri": null, "username": null, "password": null},
        "bind_mounts": null, "network": null, "properties": null, "env": null, "privileged": null, "netout_rules": null,
        "netin": null, "limits": { "bandwidth_limits": null, "cpu_limits": {"weight": null}, "disk_limits": {"scope": null},
        "memory_limits": {"limit_in_bytes": null}, "pid_limits": null },
    });
    checks.same(
        "a container of nulls",
        garden.call("POST", "/containers", Some(&all_null))?,
        json!({ "Handle": "nulls" }),
    );
    for body in ["", "{", "[]", "\"x\"", "7", "{\"handle\":\"x\"", "\u{1}", "{\"a\" 1}"] {
        for path in ["/containers", "/containers/web/processes", "/containers/web/net/in"] {
            let request = Request::new("POST", path).body(Body::Sized(body.into()));
            let response = garden.exchange(request)?;
            let error: Value = serde_json::from_slice(&response.body).unwrap_or_default();
            checks.same(
                &format!("{body:?} to {path}"),
                (response.head.status, error["Type"].as_str()),
                (500, Some("")),
            );
        }
    }
    checks.end(90);
    Ok(())
}

#[test]
fn how_paths_and_filters_are_read() -> Story {
    let node = Node::fence_only();
    let garden = node.garden();
    let _web = web(&node)?;
    let mut checks = Checks::default();
    for (written, key) in [
        ("plain", "plain"),
        ("a+b", "a b"),
        ("a%20b", "a b"),
        ("a%2Bb", "a+b"),
        ("100%2541", "100%41"),
        ("%C3%BC", "\u{fc}"),
        ("a%3Db%26c", "a=b&c"),
        ("a.b-c_d~e", "a.b-c_d~e"),
        ("%41", "A"),
    ] {
        let target = format!("/containers/web/properties/{written}");
        checks.same(
            written,
            garden.call("PUT", &target, Some(&json!({ "value": written })))?,
            json!({}),
        );
        checks.same(
            written,
            garden.properties("web")?.get(key).map(String::as_str),
            Some(written),
        );
        checks.same(written, garden.call("GET", &target, None)?, json!({ "value": written }));
        checks.same(written, garden.list(&[(key, written)])?, vec!["web".to_owned()]);
        checks.same(written, garden.call("DELETE", &target, None)?, json!({}));
        checks.same("removed twice", garden.call("DELETE", &target, None)?, json!({}));
        let gone = garden.call("GET", &target, None).unwrap_err();
        checks.same("missing", gone.to_string(), format!("property does not exist: {key}"));
        checks.same("missing", (gone.status(), gone.kind()), (Some(500), Some("")));
    }
    garden.set_property("web", "a", "1")?;
    garden.set_property("web", "b", "2")?;
    for (query, found) in [
        ("", true),
        ("?", true),
        ("?a=1", true),
        ("?a=1&b=2", true),
        ("?b=2&a=1", true),
        ("?a=2", false),
        ("?a=1&b=1", false),
        ("?c=", false),
        ("?a=", false),
        ("?garden.state=all", true),
        ("?garden.state=created", true),
        ("?garden.state=all&a=1", true),
        ("?garden.state=other", false),
        ("?A=1", false),
    ] {
        let listed = garden.call("GET", &format!("/containers{query}"), None)?;
        let expected = if found { json!(["web"]) } else { json!([]) };
        checks.same(query, listed, json!({ "Handles": expected }));
    }
    for handle in ["%77eb", "w%65b", "web"] {
        let info = garden.call("GET", &format!("/containers/{handle}/info"), None);
        checks.holds(handle, info.is_ok(), || format!("{info:?}"));
    }
    checks.end(85);
    Ok(())
}
