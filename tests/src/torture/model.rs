//! What one client knows for sure of one container.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// A container that is there.
#[derive(Clone, Debug, Default)]
pub struct Container {
    pub handle: String,
    pub instance: String,
    pub stopped: bool,
    /// The process `main` runs.
    pub started: bool,
    /// Host port to container port.
    pub ports: BTreeMap<u16, u16>,
    pub note: Option<String>,
    /// Processes that run until they are stopped.
    pub sleepers: BTreeSet<String>,
}

/// What the daemon's own API says of a container.
#[derive(Clone, Debug, Deserialize)]
pub struct Shown {
    pub instance: String,
    pub image: String,
    pub state: String,
    pub started: bool,
    pub ports: Vec<Port>,
    pub properties: BTreeMap<String, String>,
    pub processes: Vec<Process>,
}

/// A port of it.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Port {
    pub host_port: u16,
    pub container_port: u16,
}

/// A process of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Process {
    pub id: String,
    pub state: String,
}

impl Shown {
    /// Its ports.
    pub fn ports(&self) -> BTreeMap<u16, u16> {
        self.ports
            .iter()
            .map(|port| (port.host_port, port.container_port))
            .collect()
    }

    /// The processes that run and are not main.
    pub fn sleepers(&self) -> BTreeSet<String> {
        let running = self.processes.iter().filter(|process| process.state == "running");
        running
            .map(|process| process.id.clone())
            .filter(|id| id.starts_with("sleep"))
            .collect()
    }

    /// Whether state and main fit together; where they do not, the daemon has yet to see to it.
    pub fn is_settled(&self) -> bool {
        match self.state.as_str() {
            "active" => true,
            "stopped" => !self.started,
            _ => false,
        }
    }
}

/// What is different from what was acknowledged; nothing = all is as it should be.
pub fn differences(known: &Container, shown: &Shown, note: Option<&String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, expected: String, actual: String| {
        if expected != actual {
            found.push(format!(
                "{what} of {}: {expected} was acknowledged, {actual} is shown",
                known.handle
            ));
        }
    };
    let state = if known.stopped { "stopped" } else { "active" };
    compare("the instance", known.instance.clone(), shown.instance.clone());
    compare("the state", state.into(), shown.state.clone());
    compare("main", known.started.to_string(), shown.started.to_string());
    compare(
        "the ports",
        format!("{:?}", known.ports),
        format!("{:?}", shown.ports()),
    );
    compare("the note", format!("{:?}", known.note.as_ref()), format!("{note:?}"));
    let running = shown.sleepers();
    if !known.sleepers.is_subset(&running) {
        let (handle, known) = (&known.handle, &known.sleepers);
        found.push(format!(
            "processes of {handle}: {known:?} were acknowledged, {running:?} run"
        ));
    }
    found
}
