//! Taking away, lists, and what is known of keys.

use super::{config, node, printed, unchanged};
use crate::harness::Machine;

#[test]
fn a_removed_key_has_its_default_again() {
    let node = node();
    printed(config(&node, "set fence max_containers 3"));
    insta::assert_snapshot!(config(&node, "del fence max_containers"), @"
    exit: 0
    ");
    assert_eq!(printed(config(&node, "get fence max_containers")), "256\n");
    printed(config(&node, "set other a/b x"));
    insta::assert_snapshot!(config(&node, "del other /"), @"
    exit: 0
    ");
    assert_eq!(config(&node, "get other").code(), 4);
}

#[test]
fn push_and_pop_print_the_list() {
    let node = node();
    insta::assert_snapshot!(config(&node, "push cloud_controller_ng allowed_repos deb_one"), @"
    exit: 0
    ---- stdout
    - deb_one
    ---- stderr
    WARNING: Assumed type string
    WARNING: cloud_controller_ng is not a known component
    ");
    insta::assert_snapshot!(config(&node, "push -j cloud_controller_ng allowed_repos 25"), @"
    exit: 0
    ---- stdout
    - deb_one
    - 25
    ---- stderr
    WARNING: cloud_controller_ng is not a known component
    ");
    insta::assert_snapshot!(config(&node, "pop cloud_controller_ng allowed_repos 25"), @"
    exit: 0
    ---- stdout
    - deb_one
    ---- stderr
    WARNING: cloud_controller_ng is not a known component
    ");
    insta::assert_snapshot!(config(&node, "pop cloud_controller_ng allowed_repos deb_one"), @"
    exit: 0
    ---- stdout
    []
    ---- stderr
    WARNING: cloud_controller_ng is not a known component
    ");
    insta::assert_snapshot!(config(&node, "pop cloud_controller_ng allowed_repos deb_one"), @"
    exit: 4
    ---- stderr
    kato: the list cloud_controller_ng allowed_repos has no such entry
    hint: kato config get cloud_controller_ng allowed_repos
    ");
    printed(config(&node, "set fence docker/image one:1"));
    insta::assert_snapshot!(config(&node, "push fence docker/images two:2"), @"
    exit: 0
    ---- stdout
    - one:1
    - two:2
    ---- stderr
    WARNING: Assumed type string
    ");
    insta::assert_snapshot!(unchanged(&node, || config(&node, "push fence docker/images two:2")), @"
    exit: 3
    ---- stderr
    WARNING: Assumed type string
    kato: fence docker/image refuses the value: two:2 is in the list twice; accepted: an image name such as registry.example.com:5000/team/image:tag, or a list of 1 to 16 of them
    hint: kato config schema fence docker/image
    ");
    insta::assert_snapshot!(unchanged(&node, || config(&node, "push fence max_containers 2")), @"
    exit: 3
    ---- stderr
    WARNING: Assumed type string
    kato: fence max_containers is of type number, and only lists can be pushed to and popped from
    hint: kato config get fence max_containers
    ");
}

#[test]
fn the_schema_explains_keys_without_a_tree() {
    let machine = Machine::new();
    insta::assert_snapshot!(config(&machine, "schema cluster"), @r#"
    exit: 0
    ---- stdout
    COMPONENT  KEY                    TYPE     DEFAULT       APPLIES  WHAT IT IS
    cluster    name                   string   "micro"       live     the cluster's name, for people
    cluster    endpoint               string   "localhost"   live     the host name under which clients reach the cluster
    cluster    certificates/lifetime  integer  2592000       live     how many seconds a node's certificate is good; it is renewed after two thirds of that
    cluster    history/keep           integer  1000          live     how many changes of the tree are remembered; older ones are forgotten with the next changes
    cluster    images/wave            integer  4             live     how many nodes pull an image, or take it up in a rollout, at a time
    cluster    registry/image         string   "registry:2"  live     the image of the cluster's registry; where it is not in reach, Debian's docker-registry is packed into one
    cluster    registry/port          integer  5000          live     the port of the core at which the next kato registry setup has the registry answer; one that runs stays where it is
    cluster    registry/location      string   ""            live     where the cluster's registry answers; kato registry setup writes it, empty is nowhere
    cluster    registry/credentials   string   ""            live     accounts at other registries, which the core hands to its nodes; kato registry login writes it
    "#);
    insta::assert_snapshot!(config(&machine, "schema fence docker/images"), @r#"
    exit: 0
    ---- stdout
    fence docker/image (also docker/images): the image new containers are made of; of a list the first one, the others are fallbacks
    type: image or list of images
    default: "fence/base:0.1.0"
    accepted: an image name such as registry.example.com:5000/team/image:tag, or a list of 1 to 16 of them
    applies: live
    "#);
    insta::assert_snapshot!(config(&machine, "schema -j fence ports/count"), @r#"
    exit: 0
    ---- stdout
    {
      "component": "fence",
      "key": "ports/count",
      "aliases": [],
      "type": "integer",
      "default": 4500,
      "accepted": "a whole number from 1 to 64512",
      "applies": "needs restart",
      "secret": false,
      "help": "how many such ports there are"
    }
    "#);
    insta::assert_snapshot!(config(&machine, "schema fence docker/imag"), @"
    exit: 4
    ---- stderr
    kato: fence docker/imag is not a known key
    hint: kato config schema fence docker/image
    ");
    assert!(printed(config(&machine, "schema --markdown")).starts_with("# Config keys\n"));
}
