//! The main job: from a machine where nothing is set up to a web app that answers from a container of the configured image.

use serde_json::Value;
use tests::harness::{LIMIT, Node, base_image, cgroup, docker, page, until};

type Story = anyhow::Result<()>;

/// The address at which the container's port is reached from the node.
fn address(node: &Node, handle: &str) -> String {
    let shown = node.kato_json(&["container", "info", "-j", handle]);
    format!("127.0.0.1:{}", shown["ports"][0]["host_port"])
}

#[test]
fn a_web_app_answers_from_a_container_within_its_limits() -> Story {
    let node = Node::micro();
    let create = [
        "container",
        "create",
        "--start",
        "--handle",
        "hello",
        "--memory",
        "96M",
        "--pids",
        "40",
        "--port",
        "8080",
    ];
    let created = node.kato(&create).expect_code(0);
    assert_eq!(created.out(), "hello\n", "the handle alone on stdout");

    let address = address(&node, "hello");
    let answer = until("the app answers", LIMIT, || page(&address));
    assert!(answer.contains("200 OK") && answer.contains("It works"), "{answer}");

    let in_force = cgroup::limits_of(node.first_pid("hello"));
    assert_eq!((in_force.memory_bytes, in_force.pids), (Some(96 << 20), Some(40)));

    node.kato(&["container", "destroy", "hello"]).ok();
    assert_eq!(page(&address), None);
    assert_eq!(node.containers_in_docker(), Vec::<String>::new());
    Ok(())
}

#[test]
fn an_app_of_ones_own_runs_as_its_user_and_is_served() -> Story {
    let node = Node::micro();
    let app = tempfile::tempdir()?;
    std::fs::write(app.path().join("index.html"), "my own page\n")?;
    std::fs::write(
        app.path().join("Procfile"),
        "web: exec busybox httpd -f -p $PORT -h /home/stackato/app\n",
    )?;
    let mount = format!("{}:/home/stackato/app", app.path().display());
    std::fs::set_permissions(app.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    node.kato(&[
        "container",
        "create",
        "--start",
        "--handle",
        "mine",
        "--mount",
        &mount,
        "-p",
        "8080",
    ])
    .ok();
    let address = address(&node, "mine");
    let answer = until("the app answers", LIMIT, || page(&address));
    assert!(answer.ends_with("my own page\n"), "{answer}");
    let users = node
        .kato(&["container", "run", "mine", "--", "ps", "-o", "user,args"])
        .ok();
    assert!(
        users
            .lines()
            .any(|line| line.starts_with("stackato") && line.contains("httpd")),
        "{users}"
    );
    Ok(())
}

#[test]
fn the_status_shows_all_in_order() -> Story {
    let node = Node::micro();
    node.kato(&["container", "create"]).ok();
    let status = node.kato_json(&["status", "-j"]);
    let [shown] = status["nodes"].as_array().map_or(&[][..], Vec::as_slice) else {
        panic!("not one node: {status}")
    };
    for process in ["agent", "docker", "fence"] {
        let found = shown["processes"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|seen| seen["process"] == process);
        assert_eq!(
            found.map(|seen| &seen["state"]),
            Some(&Value::from("RUNNING")),
            "{process} in {shown}"
        );
    }
    assert_eq!(shown["image"]["configured"], serde_json::json!([base_image()]));
    assert_eq!(shown["image"]["in_use"], base_image());
    assert!(
        shown["config"]["revision"].is_u64() && shown["config"]["revision"] == shown["config"]["latest"],
        "{shown}"
    );
    assert_eq!(shown["containers"]["active"], 1);
    assert_eq!(shown["problems"], serde_json::json!([]));

    let text = node.kato(&["status"]).ok();
    assert!(text.contains("in order") && text.contains(&base_image()), "{text}");
    Ok(())
}

#[test]
fn the_list_has_what_scripts_rely_on() -> Story {
    let node = Node::micro();
    let handle = node.kato(&["container", "create"]).ok().trim().to_owned();
    let list = node.kato_json(&["container", "list", "-j"]);
    let [container] = list.as_array().map_or(&[][..], Vec::as_slice) else {
        panic!("not one container: {list}")
    };
    assert_eq!(
        (&container["handle"], &container["image"]),
        (&handle.as_str().into(), &base_image().into())
    );
    assert_eq!(container["state"], "active");
    for key in ["node", "created"] {
        assert!(
            container[key].as_str().is_some_and(|text| !text.is_empty()),
            "{key} in {container}"
        );
    }
    let info = node.kato_json(&["container", "info", "-j", &handle]);
    let instance = info["instance"].as_str().unwrap_or_default();
    let labels = docker::labels(&docker::instance(instance));
    assert_eq!(labels.get("io.fence.instance").map(String::as_str), Some(instance));
    Ok(())
}
