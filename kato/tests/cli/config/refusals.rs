//! What is refused or not there: nothing is changed, and the next step is named.

use cluster::nodes::Paths;

use super::{config, config_reading, node, printed, unchanged};
use crate::harness::Machine;

#[test]
fn what_the_schema_refuses_changes_nothing_and_says_what_is_accepted() {
    let node = node();
    printed(config(&node, "set fence docker/image exampleco/newimg"));
    insta::assert_snapshot!(unchanged(&node, || config(&node, "set fence docker/image Example/Image")), @r#"
    exit: 3
    ---- stderr
    WARNING: Assumed type string
    kato: fence docker/image refuses the value: the part "Image" of the name may have only lower-case letters, digits, '.', '_' and '-'; accepted: an image name such as registry.example.com:5000/team/image:tag, or a list of 1 to 16 of them
    hint: kato config schema fence docker/image
    "#);
    insta::assert_snapshot!(unchanged(&node, || config(&node, "set fence docker/image []")), @"
    exit: 3
    ---- stderr
    WARNING: Assumed type struct
    kato: fence docker/image refuses the value: a list of 0 images is not taken here; accepted: an image name such as registry.example.com:5000/team/image:tag, or a list of 1 to 16 of them
    hint: kato config schema fence docker/image
    ");
    insta::assert_snapshot!(unchanged(&node, || config(&node, "set --force fence max_containers many")), @r#"
    exit: 3
    ---- stderr
    kato: fence max_containers refuses the value: "many" is not of type integer; accepted: a whole number from 1 to 100000
    hint: kato config schema fence max_containers
    "#);
    insta::assert_snapshot!(unchanged(&node, || config(&node, "set fence max_containers -5")), @"
    exit: 3
    ---- stderr
    WARNING: Assumed type integer
    kato: fence max_containers refuses the value: -5 is too small; accepted: a whole number from 1 to 100000
    hint: kato config schema fence max_containers
    ");
    insta::assert_snapshot!(unchanged(&node, || config(&node, "set -j fence max_containers 1.5")), @"
    exit: 3
    ---- stderr
    kato: fence max_containers refuses the value: 1.5 is not a whole number that fits; accepted: a whole number from 1 to 100000
    hint: kato config schema fence max_containers
    ");
    insta::assert_snapshot!(unchanged(&node, || config(&node, "set fence garden/listen 0.0.0.0:7777")), @"
    exit: 3
    ---- stderr
    WARNING: Assumed type string
    kato: fence garden/listen refuses the value: 0.0.0.0 is not a loopback address; accepted: nothing, or a loopback address and port such as 127.0.0.1:7777
    hint: kato config schema fence garden/listen
    ");
    insta::assert_snapshot!(unchanged(&node, || config(&node, "set fence ports/first 65000")), @"
    exit: 3
    ---- stderr
    WARNING: Assumed type integer
    kato: fence ports/first refuses the value: 4500 ports (ports/count) from 65000 (ports/first) go beyond port 65535
    hint: kato config schema fence ports/first
    ");
    insta::assert_snapshot!(unchanged(&node, || config(&node, "set fence docker none")), @"
    exit: 3
    ---- stderr
    WARNING: Assumed type string
    kato: fence docker refuses the value: a value of type string is not taken here; accepted: a map of keys
    hint: kato config schema fence docker
    ");
    insta::assert_snapshot!(unchanged(&node, || config(&node, "set -j fence max_containers {")), @"
    exit: 3
    ---- stderr
    kato: the value of fence max_containers is not JSON: EOF while parsing an object at line 1 column 1
    ");
    insta::assert_snapshot!(unchanged(&node, || config(&node, "set -j other key null")), @"
    exit: 3
    ---- stderr
    kato: other key cannot have this value: null at other/key cannot be kept
    ");
    let large = "v".repeat(70_000);
    insta::assert_snapshot!(unchanged(&node, || config_reading(&node, "set other key", &large)), @"
    exit: 3
    ---- stderr
    WARNING: Assumed type string
    kato: more than 65536 bytes in the value of one key are not possible
    ");
    insta::assert_snapshot!(config(&node, "set other / b"), @"
    exit: 3
    ---- stderr
    WARNING: Assumed type string
    kato: other refuses the value: a value of type string is not taken here; accepted: a map of keys
    ");
}

#[test]
fn an_unknown_key_is_set_with_a_warning_and_the_nearest_name() {
    let node = node();
    insta::assert_snapshot!(config(&node, "set fence docker/imag x"), @"
    exit: 0
    ---- stdout
    x
    ---- stderr
    WARNING: Assumed type string
    WARNING: fence docker/imag is not a known key; did you mean fence docker/image?
    ");
    insta::assert_snapshot!(config(&node, "set router2g port 3306"), @"
    exit: 0
    ---- stdout
    3306
    ---- stderr
    WARNING: Assumed type string
    WARNING: router2g is not a known component
    ");
    insta::assert_snapshot!(config(&node, "get router2g port"), @"
    exit: 0
    ---- stdout
    3306
    ");
}

#[test]
fn another_type_needs_force() {
    let node = node();
    printed(config(&node, "set other key text"));
    insta::assert_snapshot!(unchanged(&node, || config(&node, "set -j other key 5")), @"
    exit: 3
    ---- stderr
    kato: other key is of type string, and the value is of type number
    hint: give the value's type with -j or -y, or let the key's type change with --force
    ");
    insta::assert_snapshot!(unchanged(&node, || config(&node, "set other key/below x")), @"
    exit: 3
    ---- stderr
    WARNING: Assumed type string
    kato: other key/below cannot be set, since other/key is set and is of type string
    hint: replace it with --force
    ");
    insta::assert_snapshot!(config(&node, "set -j --force other key 5"), @"
    exit: 0
    ---- stdout
    5
    ---- stderr
    WARNING: other is not a known component
    ");
    insta::assert_snapshot!(config(&node, "set other key [1] --force"), @"
    exit: 0
    ---- stdout
    - 1
    ---- stderr
    WARNING: Assumed type struct
    WARNING: other is not a known component
    ");
}

#[test]
fn a_key_that_is_not_there_is_not_found_and_the_nearest_is_named() {
    let node = node();
    printed(config(&node, "set other some_key x"));
    insta::assert_snapshot!(config(&node, "get fence docker/imag"), @"
    exit: 4
    ---- stderr
    kato: fence docker/imag is not set
    hint: kato config get fence docker/image
    ");
    insta::assert_snapshot!(config(&node, "get fence quite/another"), @"
    exit: 4
    ---- stderr
    kato: fence quite/another is not set
    hint: kato config get fence
    ");
    insta::assert_snapshot!(config(&node, "get other some_kye"), @"
    exit: 4
    ---- stderr
    kato: other some_kye is not set
    hint: kato config get other some_key
    ");
    insta::assert_snapshot!(config(&node, "get fenc"), @"
    exit: 4
    ---- stderr
    kato: fenc is not set
    hint: kato config get fence
    ");
    insta::assert_snapshot!(unchanged(&node, || config(&node, "del fence max_container")), @"
    exit: 4
    ---- stderr
    kato: fence max_container is not set
    hint: kato config get fence max_containers
    ");
    insta::assert_snapshot!(unchanged(&node, || config(&node, "del fence max_containers")), @"
    exit: 4
    ---- stderr
    kato: fence max_containers is not set
    hint: kato config get fence max_containers
    ");
}

#[test]
fn a_nodes_own_key_needs_its_component() {
    let node = node();
    insta::assert_snapshot!(unchanged(&node, || config(&node, "set local max_containers 5")), @"
    exit: 3
    ---- stderr
    WARNING: Assumed type string
    kato: max_containers of node one refuses the value: a value of type string is not taken here; accepted: a map of keys
    hint: the component comes first: kato config set local fence/max_containers VALUE
    ");
    insta::assert_snapshot!(config(&node, "set local docker/image a"), @"
    exit: 0
    ---- stdout
    a
    ---- stderr
    WARNING: Assumed type string
    WARNING: docker is not a known component
    ");
    insta::assert_snapshot!(config(&node, "schema local fence/max_containers").stderr(), @"local holds this node's own values, which go before the cluster's. The component comes first in the key: kato config set local fence/max_containers 20");
    insta::assert_snapshot!(config(&node, "schema fence dokcer"), @"
    exit: 4
    ---- stderr
    kato: fence dokcer is not a known key
    hint: kato config schema fence docker
    ");
}

#[test]
fn a_group_of_keys_that_need_a_restart_says_so_when_it_goes() {
    let node = node();
    printed(config(&node, "set fence ports/first 61000"));
    insta::assert_snapshot!(config(&node, "del fence ports"), @"
    exit: 0
    ---- stderr
    It applies after: kato process restart fence
    ");
}

#[test]
fn names_that_are_none_are_wrong_usage() {
    let node = node();
    insta::assert_snapshot!(config(&node, "get fence docker//image"), @r#"
    exit: 2
    ---- stderr
    kato: "docker//image" is not a key path: a part of it is empty
    "#);
    insta::assert_snapshot!(config(&node, "set fen/ce a b"), @r#"
    exit: 2
    ---- stderr
    kato: "fen/ce" cannot be a name: only letters, digits, '.', '_' and '-' may be in it
    "#);
    insta::assert_snapshot!(config(&node, "set local local/a b"), @r#"
    exit: 2
    ---- stderr
    kato: "local/a" is not a key path: a node's own layer has the other components in it
    "#);
    assert_eq!(config(&node, "set fence").code(), 2);
    assert_eq!(config(&node, "get -j -f fence").code(), 2);
}

#[test]
fn without_a_node_or_a_tree_it_says_what_to_do_and_makes_nothing() {
    let machine = Machine::new();
    insta::assert_snapshot!(config(&machine, "get fence docker/image"), @"
    exit: 1
    ---- stderr
    kato: this machine is not set up as a node: there is no <root>/etc/kato/node.yml
    hint: kato node setup micro
    ");
    insta::assert_snapshot!(config(&machine, "set fence docker/image x"), @"
    exit: 1
    ---- stderr
    kato: this machine is not set up as a node: there is no <root>/etc/kato/node.yml
    hint: kato node setup micro
    ");
    assert_eq!(machine.root().read_dir().expect("the root").count(), 0);
    let node = node();
    let tree = Paths::from_root(Some(node.root())).kato_lib();
    std::fs::remove_dir_all(&tree).expect("the tree goes");
    insta::assert_snapshot!(config(&node, "set fence docker/image x"), @"
    exit: 1
    ---- stderr
    kato: could not open the configuration: there is no store at <root>/var/lib/kato/tree.db
    hint: kato node setup micro
    ");
    assert!(!tree.exists());
}
