//! The forms of output and input that scripts rely on.

use super::{config, config_reading, node, printed, unchanged};

#[test]
fn the_image_is_set_as_it_always_was() {
    let node = node();
    insta::assert_snapshot!(config(&node, "set fence docker/image exampleco/newimg:1.0.0"), @"
    exit: 0
    ---- stdout
    exampleco/newimg:1.0.0
    ---- stderr
    WARNING: Assumed type string
    ");
    insta::assert_snapshot!(config(&node, "get fence docker/image"), @"
    exit: 0
    ---- stdout
    exampleco/newimg:1.0.0
    ");
    insta::assert_snapshot!(config(&node, "get fence docker/images"), @"
    exit: 0
    ---- stdout
    exampleco/newimg:1.0.0
    ");
}

#[test]
fn a_list_of_images_is_a_yaml_list() {
    let node = node();
    let list = r#"["exampleco/newimg","stackato/stack-alsek"]"#;
    insta::assert_snapshot!(node.kato(["config", "set", "fence", "docker/images", list]), @"
    exit: 0
    ---- stdout
    - exampleco/newimg
    - stackato/stack-alsek
    ---- stderr
    WARNING: Assumed type struct
    ");
    insta::assert_snapshot!(config(&node, "get fence docker/image"), @"
    exit: 0
    ---- stdout
    - exampleco/newimg
    - stackato/stack-alsek
    ");
    insta::assert_snapshot!(config(&node, "get -j fence docker/image"), @r#"
    exit: 0
    ---- stdout
    [
      "exampleco/newimg",
      "stackato/stack-alsek"
    ]
    "#);
    insta::assert_snapshot!(config(&node, "get -f fence docker/image"), @r#"
    exit: 0
    ---- stdout
    /fence/docker/image ["exampleco/newimg","stackato/stack-alsek"]
    "#);
}

#[test]
fn numbers_and_booleans_take_the_type_of_their_key() {
    let node = node();
    insta::assert_snapshot!(config(&node, "set fence max_containers 20"), @"
    exit: 0
    ---- stdout
    20
    ---- stderr
    WARNING: Assumed type integer
    ");
    insta::assert_snapshot!(config(&node, "set fence docker/privileged true"), @"
    exit: 0
    ---- stdout
    true
    ---- stderr
    WARNING: Assumed type boolean
    ");
    insta::assert_snapshot!(config(&node, "set -j fence docker/privileged false"), @"
    exit: 0
    ---- stdout
    false
    ");
    insta::assert_snapshot!(config(&node, "get -j fence max_containers"), @"
    exit: 0
    ---- stdout
    20
    ");
}

#[test]
fn what_needs_a_restart_is_said() {
    insta::assert_snapshot!(config(&node(), "set fence ports/count 100"), @"
    exit: 0
    ---- stdout
    100
    ---- stderr
    WARNING: Assumed type integer
    It applies after: kato process restart fence
    ");
    insta::assert_snapshot!(config(&node(), "set fence garden/listen 127.0.0.1:7777"), @"
    exit: 0
    ---- stdout
    127.0.0.1:7777
    ---- stderr
    WARNING: Assumed type string
    It applies after: kato process restart fence
    ");
}

#[test]
fn what_is_not_set_is_the_default() {
    let node = node();
    insta::assert_snapshot!(config(&node, "get fence ports"), @"
    exit: 0
    ---- stdout
    count: 4500
    first: 61001
    ");
    insta::assert_snapshot!(config(&node, "get cluster"), @"
    exit: 0
    ---- stdout
    certificates:
      lifetime: 2592000
    endpoint: localhost
    history:
      keep: 1000
    images:
      wave: 4
    name: micro
    registry:
      credentials: '[redacted]'
      image: registry:2
      location: ''
      port: 5000
    ");
    insta::assert_snapshot!(config(&node, "get -y cluster endpoint"), @"
    exit: 0
    ---- stdout
    localhost
    ");
    insta::assert_snapshot!(config(&node, "get -f fence docker"), @"
    exit: 0
    ---- stdout
    /fence/docker/image fence/base:0.1.0
    /fence/docker/privileged false
    /fence/docker/pull_timeout 900
    /fence/docker/timeout 60
    ");
    assert!(printed(config(&node, "get")).starts_with("cluster:\n  certificates:\n    lifetime: 2592000\n"));
    assert_eq!(config(&node, "get -j fence").json()["ports"]["count"], 4500);
}

#[test]
fn a_map_at_a_path_is_printed_without_its_own_name() {
    let node = node();
    let map = r#"{"appdrain.": "24h", "tmp.": "25m", "deep": {"list": [1, ["a", "b"]], "none": {}}}"#;
    insta::assert_snapshot!(node.kato(["config", "set", "logyard", "retrylimits", map]), @"
    exit: 0
    ---- stdout
    appdrain.: 24h
    deep:
      list:
      - 1
      - - a
        - b
      none: {}
    tmp.: 25m
    ---- stderr
    WARNING: Assumed type struct
    WARNING: logyard is not a known component
    ");
    insta::assert_snapshot!(config(&node, "get logyard retrylimits/deep/list"), @"
    exit: 0
    ---- stdout
    - 1
    - - a
      - b
    ");
    insta::assert_snapshot!(config(&node, "get -f logyard"), @r#"
    exit: 0
    ---- stdout
    /logyard/retrylimits/appdrain. 24h
    /logyard/retrylimits/deep/list [1,["a","b"]]
    /logyard/retrylimits/deep/none {}
    /logyard/retrylimits/tmp. 25m
    "#);
}

#[test]
fn the_value_comes_from_the_standard_input_when_it_is_left_out() {
    let node = node();
    insta::assert_snapshot!(config_reading(&node, "set fence docker/image", "exampleco/newimg\n"), @"
    exit: 0
    ---- stdout
    exampleco/newimg
    ---- stderr
    WARNING: Assumed type string
    ");
    insta::assert_snapshot!(config_reading(&node, "set -y fence docker/image", "- a\n- b\n"), @"
    exit: 0
    ---- stdout
    - a
    - b
    ");
    insta::assert_snapshot!(config_reading(&node, "set fence max_containers", "x".repeat(2 << 20).as_str()), @"
    exit: 3
    ---- stderr
    kato: more than 1048576 bytes in one value are not possible
    ");
}

#[test]
fn a_whole_component_is_replaced_at_once_or_not_at_all() {
    let node = node();
    printed(config(&node, "set fence max_containers 20"));
    insta::assert_snapshot!(config_reading(&node, "set --yaml logyard_sieve /", "a: 1\nb:\n  c: text\n"), @"
    exit: 0
    ---- stdout
    a: 1
    b:
      c: text
    ---- stderr
    WARNING: logyard_sieve is not a known component
    ");
    insta::assert_snapshot!(config(&node, "get logyard_sieve /"), @"
    exit: 0
    ---- stdout
    a: 1
    b:
      c: text
    ");
    let bad = "docker:\n  image: fine/image\nmax_container_processes: none\n";
    insta::assert_snapshot!(unchanged(&node, || config_reading(&node, "set -y fence /", bad)), @"
    exit: 3
    ---- stderr
    kato: fence max_container_processes refuses the value: a value of type string is not taken here; accepted: a whole number from 8 to 4000000
    hint: kato config schema fence max_container_processes
    ");
    printed(config_reading(
        &node,
        "set -y fence /",
        "docker:\n  image: fine/image\n",
    ));
    assert_eq!(printed(config(&node, "get fence docker/image")), "fine/image\n");
    assert_eq!(printed(config(&node, "get fence max_containers")), "256\n");
}

#[test]
fn what_get_prints_set_takes() {
    let node = node();
    let list = r#"["a","b"]"#;
    printed(node.kato(["config", "set", "fence", "docker/image", list]));
    for form in ["-y", "-j"] {
        let all = printed(config(&node, &format!("get {form} fence")));
        assert_eq!(
            printed(config_reading(&node, &format!("set {form} copy /"), &all)),
            printed(config(&node, "get fence"))
        );
    }
}
