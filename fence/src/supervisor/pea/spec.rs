//! The container of a pea in the engine's words: that of its container, with another image and other mounts, and with what
//! it shares taken from there.

use engine::{ContainerId, IpcMode, NetworkMode, ProcessMode};
use fence_init::protocol::{GUEST, RUN_DIR};

use super::super::entry::Entry;
use super::super::{Result, Supervisor};
use super::LABEL_PEA;
use crate::container::{Limits, PeaSpec};
use crate::image::InUse;
use crate::inventory::PeaRecord;

impl Supervisor {
    pub(super) async fn pea_container(
        &self,
        entry: &Entry,
        pea: &PeaRecord,
        image: &InUse,
        wanted: &PeaSpec,
    ) -> Result<engine::ContainerSpec> {
        let mut record = entry.record().clone();
        let of = ContainerId(record.engine_id.clone());
        let parent = match wanted.limits {
            Some(_) => None,
            None => self.cgroup_to_nest_in(entry, record.pid).await?,
        };
        record.limits = match (&wanted.limits, &parent) {
            // A fork bomb is the node's trouble, whatever else is lifted.
            (Some(own), _) => Limits {
                pids: record.limits.pids,
                ..own.clone()
            },
            // The limits of what is above hold for all together.
            (None, Some(_)) => Limits::default(),
            (None, None) => record.limits,
        };
        record.image.id.clone_from(&image.image.id.0);
        record.spec.mounts.clone_from(&wanted.mounts);
        let mut spec = self.engine_spec(&record);
        let directory = self.parts().run_dir.join(&pea.instance);
        for mount in spec.mounts.iter_mut().filter(|mount| mount.target == RUN_DIR) {
            mount.source = directory.display().to_string();
        }
        spec.labels.insert(LABEL_PEA.to_owned(), pea.instance.clone());
        spec.command.push(GUEST.to_owned());
        // The host name comes with the network.
        spec.hostname.clear();
        spec.network = NetworkMode::Of(of.clone());
        spec.ipc = match record.shares_ipc {
            true => IpcMode::Of(of.clone()),
            false => IpcMode::Own,
        };
        spec.processes = ProcessMode::Of(of);
        spec.cgroup_parent = parent.unwrap_or_default();
        Ok(spec)
    }

    /// The container's cgroup, where another one can be made below it.
    async fn cgroup_to_nest_in(&self, entry: &Entry, pid: i32) -> Result<Option<String>> {
        let host = self.parts().engine.host().await;
        let host = host.map_err(|source| self.engine_failed("ask about the host of", entry, source))?;
        if !host.nests_cgroups {
            return Ok(None);
        }
        let lines = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        Ok(memory_cgroup(&lines))
    }
}

/// The path of the cgroup for memory, in the words of /proc/PID/cgroup.
fn memory_cgroup(lines: &str) -> Option<String> {
    let mut found = lines.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers
            .split(',')
            .any(|controller| controller == "memory")
            .then_some(path)
    });
    // What is the root of all, or outside of what is seen here, is no container's.
    found
        .next()
        .filter(|path| path.len() > 1 && !path.contains("/.."))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::memory_cgroup;

    #[test]
    fn the_cgroup_is_that_of_memory() {
        let lines = "9:cpuset:/a\n8:memory,pids:/docker/0123\n1:name=systemd:/b\n0::/c\n";
        assert_eq!(memory_cgroup(lines).as_deref(), Some("/docker/0123"));
        for none in ["", "8:memory:/", "8:memory:/../x", "0::/docker/0123", "8:memorial:/x"] {
            assert_eq!(memory_cgroup(none), None, "{none}");
        }
    }
}
