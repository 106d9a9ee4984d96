//! Docker through its own command, as an administrator would look at it: independent of the client that fence uses.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use super::command::{Captured, run};

/// Where the names of images begin that fence makes of a client's files.
const IMPORTED: &str = "fence/rootfs";

/// `docker ARGS…`, to its end.
#[track_caller]
pub fn docker(args: &[&str]) -> Captured {
    run(Command::new("docker").args(args))
}

/// The ids of all containers with this label, running or not.
pub fn labelled(label: &str, value: &str) -> Vec<String> {
    let filter = format!("label={label}={value}");
    let ids = docker(&["ps", "-aq", "--no-trunc", "--filter", &filter]).ok();
    ids.lines().map(str::to_owned).collect()
}

/// The ids of those that carry the second label too, whatever its value.
pub fn labelled_with(label: &str, value: &str, second: &str) -> Vec<String> {
    let (first, second) = (format!("label={label}={value}"), format!("label={second}"));
    let ids = docker(&["ps", "-aq", "--no-trunc", "--filter", &first, "--filter", &second]).ok();
    ids.lines().map(str::to_owned).collect()
}

/// The one container of the instance, as `docker inspect` shows it.
#[track_caller]
pub fn instance(instance: &str) -> Value {
    // Processes with an image of their own have helpers with the label too.
    let helpers = labelled_with("io.fence.instance", instance, "io.fence.pea");
    let mut ids = labelled("io.fence.instance", instance);
    ids.retain(|id| !helpers.contains(id));
    assert_eq!(ids.len(), 1, "containers with the label io.fence.instance={instance}");
    inspect(&ids[0])
}

/// What `docker inspect` shows of a container or image.
#[track_caller]
pub fn inspect(name: &str) -> Value {
    let shown = docker(&["inspect", name]).ok();
    let all: Value = serde_json::from_str(&shown).unwrap_or_else(|error| panic!("docker inspect {name}: {error}"));
    all[0].clone()
}

/// The labels of an inspected container.
pub fn labels(inspected: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(inspected["Config"]["Labels"].clone()).unwrap_or_default()
}

/// The container's first process on the host; 0 = it does not run.
pub fn pid(inspected: &Value) -> i32 {
    inspected["State"]["Pid"]
        .as_i64()
        .and_then(|pid| i32::try_from(pid).ok())
        .unwrap_or(0)
}

/// Remove all containers with this label, whatever they do, and the images that were made for them alone.
pub fn remove_labelled(label: &str, value: &str) {
    let ids = labelled(label, value);
    if ids.is_empty() {
        return;
    }
    let names: Vec<&str> = ids.iter().map(String::as_str).collect();
    let images = docker(&[&["inspect", "--format", "{{.Image}}"], names.as_slice()].concat()).out();
    let images: Vec<&str> = images.lines().collect();
    let tags = docker(
        &[
            &["inspect", "--format", "{{join .RepoTags \"\\n\"}}"],
            images.as_slice(),
        ]
        .concat(),
    )
    .out();
    // One that fence removes at the same time is as wanted.
    docker(&[&["rm", "-f", "-v"], names.as_slice()].concat());
    for imported in tags.lines().filter(|tag| tag.starts_with(IMPORTED)) {
        docker(&["rmi", imported]);
    }
}
