//! What is there of a node, seen from outside: Docker, the kernel's rules, ports, directories, sockets, mounts,
//! network namespaces.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::docker::{docker, labelled};
use crate::harness::{Node, run};

/// A container as it should be found.
#[derive(Clone, Debug)]
pub struct Expected {
    pub instance: String,
    /// Host port to container port.
    pub ports: BTreeMap<u16, u16>,
}

/// What is there beyond or short of this; nothing = all is as it should be.
pub fn differences(node: &Node, expected: &[Expected], foreign: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, expected: BTreeSet<String>, actual: BTreeSet<String>| {
        let left: Vec<&String> = actual.difference(&expected).collect();
        let missing: Vec<&String> = expected.difference(&actual).collect();
        if !left.is_empty() || !missing.is_empty() {
            found.push(format!("{what}: left over {left:?}, missing {missing:?}"));
        }
    };
    let instances = || expected.iter().map(|it| it.instance.clone());
    compare("containers", instances().collect(), running(node));
    let folder = node.root().join("run/fence/c");
    compare("directories", instances().collect(), names(&folder));
    let mut sockets: BTreeSet<String> = instances()
        .map(|instance| folder.join(instance).join("init.sock").display().to_string())
        .collect();
    sockets.insert(node.socket().display().to_string());
    compare("sockets", sockets, sockets_below(node.root()));
    let ports = || expected.iter().flat_map(|it| it.ports.clone());
    let led: BTreeSet<String> = ports().map(|(host, inside)| format!("{host} to {inside}")).collect();
    compare("rules", led, rules(node));
    compare(
        "bound ports",
        ports().map(|(host, _)| host.to_string()).collect(),
        bound(node),
    );
    let own = owned_by_nobody().difference(foreign).cloned().collect();
    compare("mounts and namespaces", BTreeSet::new(), own);
    found
}

/// Of network namespaces and mounts of Docker those that belong to no container.
pub fn owned_by_nobody() -> BTreeSet<String> {
    let there = mounts();
    // Asked after that, so that what belongs to a new container is known to.
    let ids = docker(&["ps", "-aq", "--no-trunc"]).ok();
    let format = "{{.NetworkSettings.SandboxKey}}\n{{.GraphDriver.Data.MergedDir}}";
    let mut asked = vec!["inspect", "--format", format];
    asked.extend(ids.lines());
    // One that goes away meanwhile makes an error of the whole; what was found is printed all the same.
    let owned = docker(&asked).out();
    let owned: BTreeSet<&str> = owned.lines().collect();
    there.into_iter().filter(|it| !owned.contains(it.as_str())).collect()
}

/// Docker removes the file of a namespace much later than the namespace, which is there as long as it is mounted.
fn mounts() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    let of_docker = points.filter_map(|point| match point.rsplit_once("/docker/netns/") {
        // Docker's own word for the folder, whether or not it is reached by a link.
        Some((_, name)) => Some(format!("/var/run/docker/netns/{name}")),
        None if point.contains("/overlay2/") && point.ends_with("/merged") => Some(point.to_owned()),
        None => None,
    });
    // The namespace of the host itself is there for its containers.
    of_docker.filter(|point| !point.ends_with("/default")).collect()
}

/// The instances of the node's containers; one that does not run is said to.
fn running(node: &Node) -> BTreeSet<String> {
    let ids = labelled("io.fence.node", &node.id().unwrap_or_default());
    if ids.is_empty() {
        return BTreeSet::new();
    }
    let format = "{{index .Config.Labels \"io.fence.instance\"}} {{.State.Status}}";
    let mut asked = vec!["inspect", "--format", format];
    asked.extend(ids.iter().map(String::as_str));
    let lines = docker(&asked).out();
    lines
        .lines()
        .map(|line| line.trim_end_matches(" running").to_owned())
        .collect()
}

/// The table's map of ports; there is none where no port is led anywhere.
pub fn rules(node: &Node) -> BTreeSet<String> {
    let id = node.id().unwrap_or_default();
    let short: String = id.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    let table = format!("fence_{short}");
    let listed = run(Command::new("nft").args(["-j", "list", "map", "ip", &table, "netin"])).out();
    let listed: Value = serde_json::from_str(&listed).unwrap_or_default();
    let maps = listed["nftables"].as_array().into_iter().flatten();
    let elements = maps.filter_map(|map| map["map"]["elem"].as_array()).flatten();
    elements
        .map(|element| format!("{} to {}", element[0], element[1]["concat"][1]))
        .collect()
}

/// The node's ports that nobody else can have.
fn bound(node: &Node) -> BTreeSet<String> {
    node.ports()
        .filter(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_err())
        .map(|port| port.to_string())
        .collect()
}

/// The names in a folder.
pub fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn sockets_below(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_socket() => drop(found.insert(entry.path().display().to_string())),
                Ok(_) | Err(_) => {}
            }
        }
    }
    found
}
