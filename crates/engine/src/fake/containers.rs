//! The fake's containers: what Docker would do to them, without doing it.

use std::net::Ipv4Addr;
use std::path::Path;

use super::{News, now_ns, random_hex};
use crate::{
    Container, ContainerId, ContainerSpec, ContainerState, Error, EventKind, ImageId, IpcMode, Labels, Limits,
    NetworkMode, ProcessMode, Result, Stats,
};

/// Above every pid that a Linux kernel gives.
const FIRST_PID: i32 = 5_000_000;
const BRIDGE: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);
/// What Docker takes for the least memory that a container can start with.
const LEAST_MEMORY: u64 = 6 << 20;
const SIGKILL: i32 = 9;

#[derive(Default)]
pub(super) struct Containers {
    all: Vec<Entry>,
    started: i32,
}

pub(super) struct Entry {
    pub shown: Container,
    pub spec: ContainerSpec,
    pub signals: Vec<i32>,
    pub stats: Stats,
}

impl Containers {
    /// By id or name, as engines look containers up.
    pub(super) fn get(&self, id: &ContainerId) -> Option<&Entry> {
        self.all.iter().find(|entry| entry.is(id))
    }

    pub(super) fn get_mut(&mut self, id: &ContainerId) -> Option<&mut Entry> {
        self.all.iter_mut().find(|entry| entry.is(id))
    }

    pub(super) fn find(&mut self, id: &ContainerId) -> Result<&mut Entry> {
        self.get_mut(id).ok_or_else(|| Error::NotFound {
            what: format!("container {}", id.0),
        })
    }

    pub(super) fn create(
        &mut self,
        name: &str,
        spec: &ContainerSpec,
        image: ImageId,
        news: &News,
    ) -> Result<ContainerId> {
        let attempt = format!("create container {name}");
        check(&attempt, name, spec)?;
        if let Some(taken) = self.all.iter().find(|entry| entry.shown.name == name) {
            let reason = format!("the name {name} is in use by container {}", taken.shown.id.0);
            return Err(Error::Conflict { attempt, reason });
        }
        let id = ContainerId(random_hex());
        let shown = Container {
            id: id.clone(),
            name: name.to_owned(),
            labels: spec.labels.clone(),
            image,
            state: ContainerState::Created,
            pid: 0,
            created: now_ns() / 1_000_000_000,
            ip: String::new(),
            gateway: String::new(),
            oom_killed: false,
            exit_code: None,
            ports: Vec::new(),
        };
        let stats = Stats {
            memory_bytes: 1 << 20,
            pids: 1,
            ..Stats::default()
        };
        self.all.push(Entry {
            shown,
            spec: spec.clone(),
            signals: Vec::new(),
            stats,
        });
        news.container(&spec.labels, EventKind::Created(id.clone()));
        Ok(id)
    }

    /// A pid that no real process has.
    pub(super) fn next_pid(&mut self) -> i32 {
        self.started += 1;
        FIRST_PID + self.started
    }

    pub(super) fn started(&mut self, id: &ContainerId, pid: i32, news: &News) -> Result<()> {
        self.check_ports(id)?;
        self.check_joined(id)?;
        let address = Ipv4Addr::from(u32::from(BRIDGE) + 1 + u32::try_from(self.started).unwrap_or(0));
        let entry = self.find(id)?;
        let shown = &mut entry.shown;
        (shown.state, shown.pid, shown.exit_code, shown.oom_killed) = (ContainerState::Running, pid, None, false);
        if entry.spec.network == NetworkMode::Bridge {
            (shown.ip, shown.gateway) = (address.to_string(), BRIDGE.to_string());
        }
        news.container(&shown.labels, EventKind::Started(shown.id.clone()));
        shown.ports.clone_from(&entry.spec.ports);
        shown.ports.sort_unstable();
        if let Some(code) = ends_with(&entry.spec.command) {
            entry.end(code, news);
        }
        Ok(())
    }

    /// A port of the host leads to one container.
    fn check_ports(&mut self, id: &ContainerId) -> Result<()> {
        let wanted = self.find(id)?.spec.ports.clone();
        let others = self.all.iter().filter(|entry| entry.runs() && !entry.is(id));
        let mut taken = others.flat_map(|entry| &entry.spec.ports);
        match taken.find(|port| wanted.iter().any(|wanted| wanted.host == port.host)) {
            Some(port) => Err(Error::Failed {
                attempt: format!("start container {}", id.0),
                reason: format!("the port {} is allocated already", port.host),
            }),
            None => Ok(()),
        }
    }

    /// What belongs to another container can be had only while that one runs, and gives it away.
    fn check_joined(&mut self, id: &ContainerId) -> Result<()> {
        let spec = self.find(id)?.spec.clone();
        let network = match &spec.network {
            NetworkMode::Of(other) => Some(other),
            NetworkMode::Bridge | NetworkMode::None => None,
        };
        let processes = match &spec.processes {
            ProcessMode::Of(other) => Some(other),
            ProcessMode::Own => None,
        };
        let ipc = match &spec.ipc {
            IpcMode::Of(other) => Some(other),
            IpcMode::Own | IpcMode::Open => None,
        };
        let refused = |what: &str| {
            Err(Error::Failed {
                attempt: format!("start container {}", id.0),
                reason: format!("cannot join {what} of the other container"),
            })
        };
        for (what, other) in [("the network", network), ("the processes", processes), ("the IPC", ipc)] {
            if other.is_some_and(|other| !self.get(other).is_some_and(Entry::runs)) {
                return refused(what);
            }
        }
        match ipc.and_then(|other| self.get(other)) {
            Some(other) if other.spec.ipc == IpcMode::Own => refused("the IPC"),
            _ => Ok(()),
        }
    }

    pub(super) fn end(&mut self, id: &ContainerId, code: i64, news: &News) {
        if let Some(entry) = self.get_mut(id) {
            entry.end(code, news);
            let ended = entry.shown.id.clone();
            self.end_guests(&ended, news);
        }
    }

    /// What shares the processes of a container ends with it.
    fn end_guests(&mut self, of: &ContainerId, news: &News) {
        let guests = ProcessMode::Of(of.clone());
        for entry in self.all.iter_mut().filter(|entry| entry.spec.processes == guests) {
            entry.end(128 + i64::from(SIGKILL), news);
        }
    }

    /// Passes a signal on to a container that runs.
    pub(super) fn signal(&mut self, id: &ContainerId, signal: i32, news: &News) -> Result<()> {
        let entry = self.find(id)?;
        if entry.runs() {
            entry.signal(signal, news);
            let (id, runs) = (entry.shown.id.clone(), entry.runs());
            if !runs {
                self.end_guests(&id, news);
            }
        }
        Ok(())
    }

    pub(super) fn run_out_of_memory(&mut self, id: &ContainerId, news: &News) {
        if let Some(entry) = self.get_mut(id).filter(|entry| entry.runs()) {
            entry.shown.oom_killed = true;
            news.container(&entry.shown.labels, EventKind::OutOfMemory(entry.shown.id.clone()));
            entry.end(128 + i64::from(SIGKILL), news);
        }
    }

    /// A running container is frozen, or goes on.
    pub(super) fn freeze(&mut self, attempt: &str, id: &ContainerId, state: ContainerState) -> Result<()> {
        let entry = self.find(id)?;
        if !entry.runs() {
            let attempt = attempt.to_owned();
            let reason = "it does not run".to_owned();
            return Err(Error::Conflict { attempt, reason });
        }
        entry.shown.state = state;
        Ok(())
    }

    pub(super) fn remove(&mut self, id: &ContainerId, news: &News) {
        let Some(at) = self.all.iter().position(|entry| entry.is(id)) else {
            return;
        };
        let mut entry = self.all.remove(at);
        entry.end(128 + i64::from(SIGKILL), news);
        self.end_guests(&entry.shown.id, news);
        news.container(&entry.shown.labels, EventKind::Removed(entry.shown.id));
    }

    pub(super) fn list(&self, labels: &Labels) -> Vec<Container> {
        let carries = |entry: &&Entry| {
            labels
                .iter()
                .all(|(key, value)| entry.shown.labels.get(key) == Some(value))
        };
        self.all.iter().filter(carries).map(Entry::listed).collect()
    }

    pub(super) fn update(&mut self, id: &ContainerId, limits: &Limits) -> Result<()> {
        let entry = self.find(id)?;
        check_memory(&format!("change the limits of container {}", id.0), limits)?;
        entry.spec.limits = limits.clone();
        Ok(())
    }

    pub(super) fn stats(&mut self, id: &ContainerId) -> Result<Stats> {
        let entry = self.find(id)?;
        if !entry.runs() {
            let attempt = format!("read the figures of container {}", id.0);
            return Err(Error::Conflict {
                attempt,
                reason: "it does not run".to_owned(),
            });
        }
        let memory_limit_bytes = entry.spec.limits.memory_bytes.unwrap_or(0);
        Ok(Stats {
            memory_limit_bytes,
            ..entry.stats.clone()
        })
    }

    /// A container made of this image.
    pub(super) fn user_of(&self, image: &ImageId) -> Option<&ContainerId> {
        self.all
            .iter()
            .find(|entry| entry.shown.image == *image)
            .map(|entry| &entry.shown.id)
    }
}

impl Entry {
    fn is(&self, id: &ContainerId) -> bool {
        self.shown.id == *id || self.shown.name == id.0
    }

    pub(super) fn runs(&self) -> bool {
        matches!(self.shown.state, ContainerState::Running | ContainerState::Paused)
    }

    /// Takes a signal: SIGKILL ends the first process, what any other does is its own affair.
    fn signal(&mut self, signal: i32, news: &News) {
        self.signals.push(signal);
        if signal == SIGKILL {
            self.end(128 + i64::from(SIGKILL), news);
        }
    }

    fn end(&mut self, code: i64, news: &News) {
        if !self.runs() {
            return;
        }
        let shown = &mut self.shown;
        (shown.state, shown.pid, shown.exit_code) = (ContainerState::Exited, 0, Some(code));
        shown.ip.clear();
        shown.gateway.clear();
        shown.ports.clear();
        news.container(
            &shown.labels,
            EventKind::Died {
                id: shown.id.clone(),
                exit_code: code,
            },
        );
    }

    /// As in a list, which tells less.
    fn listed(&self) -> Container {
        let (ip, gateway) = (String::new(), String::new());
        Container {
            pid: 0,
            ip,
            gateway,
            oom_killed: false,
            exit_code: None,
            ports: Vec::new(),
            ..self.shown.clone()
        }
    }
}

fn check(attempt: &str, name: &str, spec: &ContainerSpec) -> Result<()> {
    let refused = |reason: String| {
        Err(Error::Refused {
            attempt: attempt.to_owned(),
            reason,
        })
    };
    let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-');
    if name.len() < 2 || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.bytes().all(good) {
        return refused(format!("{name:?} is not a container name"));
    }
    for mount in &spec.mounts {
        if !Path::new(&mount.source).exists() {
            return refused(format!("the mount's source {} does not exist", mount.source));
        }
        if !mount.target.starts_with('/') {
            return refused(format!("the mount's target {:?} is not an absolute path", mount.target));
        }
    }
    check_memory(attempt, &spec.limits)
}

fn check_memory(attempt: &str, limits: &Limits) -> Result<()> {
    match limits.memory_bytes {
        Some(bytes) if bytes < LEAST_MEMORY => {
            let reason = format!("the least memory that can be given is {LEAST_MEMORY} bytes");
            Err(Error::Refused {
                attempt: attempt.to_owned(),
                reason,
            })
        }
        _ => Ok(()),
    }
}

/// The one program that the fake knows: `… -c "exit N"` ends at once with N.
fn ends_with(command: &[String]) -> Option<i64> {
    match command {
        [.., flag, script] if flag == "-c" => script.strip_prefix("exit ")?.parse().ok(),
        _ => None,
    }
}
