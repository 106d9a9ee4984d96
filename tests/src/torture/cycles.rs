//! A container made, used and destroyed many times: whether anything of the daemon or of the node grows.

use std::fmt;
use std::fs;
use std::path::Path;

use super::world;
use crate::garden::{ContainerSpec, PortMapping, ProcessSpec, Result};
use crate::harness::docker::{docker, labelled};
use crate::harness::{LIMIT, Node, until};

/// How many of the daemon's resources may be in use at one time and not at another, without a leak.
const SLACK: Figures = Figures {
    memory_kb: 16 << 10,
    descriptors: 4,
    threads: 8,
    mounts: 0,
    namespaces: 0,
    rules: 0,
    directories: 0,
    containers: 0,
    images: 0,
    volumes: 0,
};

/// What is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Of the daemon, as are the next two.
    pub memory_kb: u64,
    pub descriptors: u64,
    pub threads: u64,
    /// In the daemon's view of the host that belong to no container.
    pub mounts: u64,
    pub namespaces: u64,
    /// Of the node, as are the next two.
    pub rules: u64,
    pub directories: u64,
    pub containers: u64,
    /// Of Docker, which other tests use too: counted where nothing else runs.
    pub images: u64,
    pub volumes: u64,
}

impl Figures {
    /// What the node uses at this moment.
    pub fn of(node: &Node, alone: bool) -> Figures {
        let process = format!("/proc/{}", node.fence_pid());
        let status = fs::read_to_string(format!("{process}/status")).unwrap_or_default();
        let value = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok())
                .unwrap_or(0)
        };
        let count = |folder: &str| world::names(Path::new(folder)).len() as u64;
        let lines = |asked: &[&str]| docker(asked).ok().lines().count() as u64;
        let nobodys = world::owned_by_nobody();
        let (namespaces, mounts): (Vec<_>, Vec<_>) = nobodys.iter().partition(|name| name.contains("/netns/"));
        Figures {
            memory_kb: value("VmRSS:"),
            descriptors: count(&format!("{process}/fd")),
            threads: value("Threads:"),
            mounts: mounts.len() as u64,
            namespaces: namespaces.len() as u64,
            rules: world::rules(node).len() as u64,
            directories: count(&node.root().join("run/fence/c").display().to_string()),
            containers: labelled("io.fence.node", &node.id().unwrap_or_default()).len() as u64,
            images: if alone { lines(&["images", "-aq"]) } else { 0 },
            volumes: if alone { lines(&["volume", "ls", "-q"]) } else { 0 },
        }
    }

    /// What there is more of than before, beyond what comes and goes by itself.
    pub fn growth_since(&self, before: &Figures) -> Vec<String> {
        let rows = self.rows().into_iter().zip(before.rows()).zip(SLACK.rows());
        let grown = rows.filter(|(((_, now), (_, then)), (_, slack))| *now > then + slack);
        grown
            .map(|(((what, now), (_, then)), _)| format!("{what}: {then} before, {now} now"))
            .collect()
    }

    fn rows(&self) -> [(&'static str, u64); 10] {
        [
            ("memory in KiB", self.memory_kb),
            ("descriptors", self.descriptors),
            ("threads", self.threads),
            ("mounts of nobody", self.mounts),
            ("network namespaces of nobody", self.namespaces),
            ("rules", self.rules),
            ("directories", self.directories),
            ("containers", self.containers),
            ("images", self.images),
            ("volumes", self.volumes),
        ]
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows().map(|(what, value)| format!("{value} {what}"));
        f.write_str(&rows.join(", "))
    }
}

/// Make, use and destroy one container after the other.
pub fn turn(node: &Node, times: u64) -> Result<()> {
    let garden = node.garden();
    for number in 0..times {
        let port = PortMapping {
            host_port: 0,
            container_port: 80,
        };
        let handle = garden.create(&ContainerSpec {
            netin: if number % 2 == 0 { vec![port] } else { Vec::new() },
            ..ContainerSpec::default()
        })?;
        let (status, out, _) = garden.output(&handle, &ProcessSpec::script("echo turn; exit 3"))?;
        assert_eq!((status, out.as_str()), (3, "turn\n"));
        garden.destroy(&handle)?;
    }
    Ok(())
}

/// What the node uses once nothing is under way any more that grew since the figures before.
#[track_caller]
pub fn settled(node: &Node, before: &Figures, alone: bool) -> Figures {
    let mut last = Figures::default();
    let limit = LIMIT * 4;
    let calm = crate::harness::poll(limit, || {
        last = Figures::of(node, alone);
        last.growth_since(before).is_empty().then_some(())
    });
    assert!(
        calm.is_some(),
        "{:?} have grown\n{before}\n{last}",
        last.growth_since(before)
    );
    last
}

/// What the node uses after it has done everything a few times, so that what is made once is there.
#[track_caller]
pub fn warmed_up(node: &Node, times: u64, alone: bool) -> Result<Figures> {
    turn(node, times)?;
    let mut last = Figures::of(node, alone);
    Ok(until("the figures stay as they are", LIMIT * 4, || {
        let now = Figures::of(node, alone);
        let calm = now.growth_since(&last).is_empty() && last.growth_since(&now).is_empty();
        last = now;
        calm.then_some(now)
    }))
}
