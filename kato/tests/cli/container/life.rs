//! Containers from create to destroy: what fence is asked and what is printed.

use serde_json::{Value, json};

use super::fence::{Fence, error, json as answer};
use crate::harness::Machine;

fn container(handle: &str) -> Value {
    json!({
        "handle": handle, "instance": "0190-1", "engine_id": "c0ffee", "image": "fence/base:0.1.0", "image_id": "sha256:1",
        "node": "n1", "state": "active", "created": "9990-01-01T00:00:00Z", "started": true, "ip": "172.17.0.2",
        "ports": [{"host_port": 61001, "container_port": 8080}],
        "limits": {"memory_bytes": 134217728, "cpu_shares": null, "pids": 64}, "grace_time_s": 0.0,
        "properties": {"app": handle}, "env": ["A=1"],
        "mounts": [{"source": "/srv", "target": "/data", "read_only": true}],
        "processes": [{"id": "main", "pid": 7, "state": "running", "exit_status": null}], "events": ["Out of memory"],
        "main": {"command": ["start.sh", "run"], "exit_status": null}, "privileged": false, "of_a_later_fence": 1
    })
}

fn missing(handle: &str) -> super::fence::Answer {
    error(404, "ContainerNotFoundError", "unknown handle", handle)
}

#[test]
fn create_asks_for_all_that_was_given_and_prints_the_handle_alone() {
    let machine = Machine::new();
    let fence = Fence::start(&machine, vec![answer(201, container("web"))]);
    let ran = machine.kato([
        "container",
        "create",
        "--handle",
        "web",
        "--image",
        "a/b:1",
        "-e",
        "A=1",
        "-m",
        "128M",
        "--pids",
        "64",
        "--cpu-shares",
        "512",
        "-p",
        "8080",
        "--port",
        "61010:80",
        "--mount",
        "/srv:/data:rw",
        "--volume",
        "/etc:/e",
        "--grace-time",
        "5m",
        "--property",
        "k=v",
        "--privileged",
        "--",
        "serve",
        "-p",
        "8080",
    ]);
    assert_eq!(ran.to_string(), "exit: 0\n---- stdout\nweb\n");
    let asked = json!({
        "spec": {
            "handle": "web", "grace_time": 300_000_000_000_u64, "image": {"uri": "docker:///a/b#1"},
            "bind_mounts": [
                {"src_path": "/srv", "dst_path": "/data", "mode": 1},
                {"src_path": "/etc", "dst_path": "/e", "mode": 0},
            ],
            "properties": {"k": "v"}, "env": ["A=1"], "privileged": true,
            "limits": {
                "cpu_limits": {"limit_in_shares": 512}, "memory_limits": {"limit_in_bytes": 134_217_728},
                "pid_limits": {"max": 64},
            },
            "netin": [{"host_port": 0, "container_port": 8080}, {"host_port": 61010, "container_port": 80}],
        },
        "start": true, "command": ["serve", "-p", "8080"],
    });
    assert_eq!(fence.asked(), [("POST /fence/v1/containers".to_owned(), asked)]);
}

#[test]
fn create_prints_the_container_where_json_is_asked_for() {
    let machine = Machine::new();
    let fence = Fence::start(&machine, vec![answer(201, container("web"))]);
    let ran = machine.kato(["container", "create", "-j"]);
    assert_eq!((ran.code(), &ran.json()["instance"]), (0, &json!("0190-1")));
    let asked = fence.asked();
    assert_eq!(
        (&asked[0].1["start"], &asked[0].1["command"]),
        (&json!(false), &json!([]))
    );
}

#[test]
fn values_that_make_no_sense_are_wrong_usage() {
    let machine = Machine::new();
    for args in [
        ["-m", "much"],
        ["-p", "0"],
        ["--mount", "/a"],
        ["--mount", "/etc:/x:rx"],
        ["--property", "k"],
        ["--grace-time", "0"],
    ] {
        let ran = machine.kato(["container", "create"].into_iter().chain(args));
        assert_eq!(ran.code(), 2, "{ran}");
    }
    let ran = machine.kato(["container", "run", "web"]);
    assert_eq!(ran.code(), 2, "{ran}");
}

#[test]
fn create_says_what_fence_refuses_and_what_to_do() {
    let machine = Machine::new();
    let body = json!({"Type": "InvalidError", "Message": "privileged containers are not allowed", "Handle": "",
        "ProcessID": "", "Binary": "", "hint": "kato config set fence docker/privileged true"});
    let _fence = Fence::start(&machine, vec![answer(400, body)]);
    insta::assert_snapshot!(machine.kato(["container", "create", "--privileged"]), @"
    exit: 3
    ---- stderr
    kato: privileged containers are not allowed
    hint: kato config set fence docker/privileged true
    ");
}

#[test]
fn create_waits_no_longer_than_it_was_told() {
    let machine = Machine::new();
    let _nobody_answers = super::fence::listen(machine.root());
    insta::assert_snapshot!(machine.kato(["container", "create", "--timeout", "1s"]), @"
    exit: 5
    ---- stderr
    kato: fence did not create the container within 1 s
    hint: kato status
    ");
}

#[test]
fn without_a_node_it_is_said_how_to_set_it_up() {
    insta::assert_snapshot!(Machine::new().kato(["container", "list"]), @"
    exit: 1
    ---- stderr
    kato: this machine is not set up as a node: there is no <root>/etc/kato/node.yml
    hint: kato node setup micro
    ");
}

#[test]
fn without_a_fence_it_is_said_how_to_start_it() {
    let machine = Machine::new();
    let node = "name: n1\nid: 7b0c9a5e-1111-4222-8333-444455556666\nkind: micro\nroles: [base, dea]\n\
        docker: {socket: /run/docker.sock, managed: false}\n";
    std::fs::create_dir_all(machine.root().join("etc/kato")).expect("a directory");
    std::fs::write(machine.root().join("etc/kato/node.yml"), node).expect("a file");
    insta::assert_snapshot!(machine.kato(["container", "list"]), @"
    exit: 5
    ---- stderr
    kato: cannot reach fence at <root>/run/fence/garden.sock: No such file or directory (os error 2)
    hint: kato process start fence
    ");
}

#[test]
fn list_has_a_line_a_container() {
    let machine = Machine::new();
    let mut stopped = container("worker");
    stopped["state"] = json!("stopped");
    stopped["ports"] = json!([]);
    stopped["created"] = json!("9990-01-01T00:00:01Z");
    let _fence = Fence::start(&machine, vec![answer(200, json!([container("web"), stopped]))]);
    insta::assert_snapshot!(machine.kato(["container", "list"]), @"
    exit: 0
    ---- stdout
    HANDLE  IMAGE             STATE            CREATED  PORTS        NODE
    worker  fence/base:0.1.0  stopped          0 s ago  -            n1
    web     fence/base:0.1.0  active, started  0 s ago  61001->8080  n1
    ");
}

#[test]
fn list_is_filtered_by_property_and_can_be_handles_alone() {
    let machine = Machine::new();
    let all = json!([container("web"), container("worker")]);
    let _fence = Fence::start(&machine, vec![answer(200, all)]);
    let ran = machine.kato(["container", "list", "-q", "--property", "app=web"]);
    assert_eq!(ran.to_string(), "exit: 0\n---- stdout\nweb\n");
}

#[test]
fn list_as_json_is_an_array_of_objects() {
    let machine = Machine::new();
    let _fence = Fence::start(
        &machine,
        vec![answer(200, json!([container("web")])), answer(200, json!([]))],
    );
    let first = &machine.kato(["container", "list", "-j"]).json()[0];
    for key in ["handle", "image", "node", "state", "created"] {
        assert_eq!(first[key], container("web")[key], "{key}");
    }
    assert_eq!(machine.kato(["container", "list", "-j"]).json(), json!([]));
}

#[test]
fn info_has_all_in_sections() {
    let machine = Machine::new();
    let fence = Fence::start(&machine, vec![answer(200, container("web"))]);
    insta::assert_snapshot!(machine.kato(["container", "info", "web"]), @"
    exit: 0
    ---- stdout
    Handle:     web
    Instance:   0190-1
    State:      active, started
    Image:      fence/base:0.1.0
    Image id:   sha256:1
    Node:       n1
    Address:    172.17.0.2
    Engine id:  c0ffee
    Created:    9990-01-01 00:00:00 UTC, 0 s ago
    Main:       start.sh run
    Limits:
      memory      128.0 MiB
      processes   64
      CPU shares  no limit
    Ports:
      61001->8080
    Mounts:
      /srv at /data, read-only
    Processes:
      main running, pid 7
    Environment:
      A=1
    Properties:
      app=web
    Events:
      Out of memory
    ");
    assert_eq!(fence.asked()[0].0, "GET /fence/v1/containers/web");
}

#[test]
fn info_as_yaml_has_the_instance() {
    let machine = Machine::new();
    let _fence = Fence::start(&machine, vec![answer(200, container("web"))]);
    let ran = machine.kato(["container", "info", "web", "-y"]);
    assert!(ran.stdout().contains("\ninstance: 0190-1\n"), "{ran}");
}

#[test]
fn a_handle_that_is_not_there_has_the_nearest_named() {
    let machine = Machine::new();
    let _fence = Fence::start(&machine, vec![missing("wbe"), answer(200, json!([container("web")]))]);
    insta::assert_snapshot!(machine.kato(["container", "info", "wbe"]), @"
    exit: 4
    ---- stderr
    kato: there is no container 'wbe'
    hint: kato container list; the nearest handle is 'web'
    ");
}

#[test]
fn start_asks_for_the_command_that_was_given() {
    let machine = Machine::new();
    let fence = Fence::start(&machine, vec![answer(200, container("web"))]);
    let ran = machine.kato(["container", "start", "web", "--", "serve", "-v"]);
    assert_eq!(ran.to_string(), "exit: 0\n---- stdout\nweb\n");
    let asked = (
        "POST /fence/v1/containers/web/start".to_owned(),
        json!({"command": ["serve", "-v"]}),
    );
    assert_eq!(fence.asked(), [asked]);
}

#[test]
fn stop_goes_on_after_one_that_fails_and_says_so() {
    let machine = Machine::new();
    let fence = Fence::start(
        &machine,
        vec![missing("gone"), answer(200, json!([])), answer(200, container("web"))],
    );
    insta::assert_snapshot!(machine.kato(["container", "stop", "--kill", "gone", "web"]), @"
    exit: 6
    ---- stdout
    web
    ---- stderr
    kato: there is no container 'gone'
    hint: kato container list
    kato: 1 of 2 containers were not stopped
    ");
    assert_eq!(
        fence.asked()[2],
        ("POST /fence/v1/containers/web/stop".to_owned(), json!({"kill": true}))
    );
}

#[test]
fn destroy_of_containers_that_are_all_not_there_is_not_found() {
    let machine = Machine::new();
    let empty = || answer(200, json!([]));
    let _fence = Fence::start(&machine, vec![missing("a"), empty(), missing("b"), empty()]);
    let ran = machine.kato(["container", "destroy", "a", "b"]);
    assert_eq!((ran.code(), ran.stdout()), (4, String::new()), "{ran}");
}

#[test]
fn destroy_all_asks_nobody_where_there_is_no_terminal() {
    let machine = Machine::new();
    let all = json!([container("web"), container("worker")]);
    let fence = Fence::start(
        &machine,
        vec![answer(200, all), answer(200, json!({})), answer(200, json!({}))],
    );
    let ran = machine.kato(["container", "destroy", "--all", "--yes"]);
    assert_eq!(ran.to_string(), "exit: 0\n---- stdout\nweb\nworker\n");
    assert_eq!(fence.asked()[2].0, "DELETE /fence/v1/containers/worker");
}

#[test]
fn destroy_all_of_none_is_done() {
    let machine = Machine::new();
    let _fence = Fence::start(&machine, vec![answer(200, json!([]))]);
    assert_eq!(
        machine.kato(["container", "destroy", "--all", "--yes"]).to_string(),
        "exit: 0\n"
    );
}

#[test]
fn destroy_all_without_a_terminal_needs_a_yes() {
    let machine = Machine::new();
    let fence = Fence::start(&machine, Vec::new());
    insta::assert_snapshot!(machine.kato(["container", "destroy", "--all"]), @"
    exit: 2
    ---- stderr
    kato: --all destroys every container, and there is no terminal to ask at
    hint: kato container destroy --all --yes
    ");
    assert_eq!(fence.asked(), []);
}

#[test]
fn files_that_are_not_there_are_named() {
    let machine = Machine::new();
    insta::assert_snapshot!(machine.kato(["container", "create", "--image", "/nosuch.tar"]), @"
    exit: 4
    ---- stderr
    kato: there is no /nosuch.tar to make the container from
    ");
    insta::assert_snapshot!(machine.kato(["container", "create", "--mount", "/nosuch:/x"]), @"
    exit: 4
    ---- stderr
    kato: there is no /nosuch to mount
    ");
    insta::assert_snapshot!(machine.kato(["container", "create", "--env-file", "/nosuch"]), @"
    exit: 4
    ---- stderr
    kato: there is no /nosuch to read the environment from
    ");
}

#[test]
fn an_image_that_is_a_file_here_is_that_file() {
    let machine = Machine::new();
    let fence = Fence::start(&machine, vec![answer(201, container("web"))]);
    std::fs::write(machine.root().join("root.tar"), "").expect("a file");
    let mut command = machine.command(["container", "create", "--image", "root.tar"]);
    let output = command.current_dir(machine.root()).output().expect("kato runs");
    let path = machine.root().join("root.tar").canonicalize().expect("a path");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        format!("Using {} as the image\n", path.display())
    );
    assert_eq!(fence.asked()[0].1["spec"]["image"]["uri"], path.display().to_string());
}
