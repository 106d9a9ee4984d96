//! What is there without a record: containers with this node's label, directories of containers, a container that the
//! engine made although its create was given up. Removed after a grace time; what is not ours is not looked at.
//!
//! A record is written before the engine is asked and forgotten after the engine has let go, so that what has none is
//! nobody's. The grace time is for what that order does not cover: a directory is made before its record. Where records
//! were lost this does not hold, and nothing is removed: see [`super::rebuild`].

use std::collections::BTreeSet;
use std::path::Path;

use engine::Container;
use tokio::time::Instant;

use super::pea::LABEL_PEA;
use super::repair::Subject;
use super::{LABEL_INSTANCE, Supervisor};

impl Supervisor {
    /// Remove what has no record, given what the engine had a moment ago.
    pub(super) async fn sweep(&self, found: &[Container]) {
        let directories = self.directories();
        let logs = self.parts().logs.instances();
        // Before anything is taken for nobody's.
        let own: Vec<Container> = found
            .iter()
            .filter(|seen| !seen.labels.contains_key(LABEL_PEA))
            .cloned()
            .collect();
        let recovered = self.recover(&own).await;
        let recorded = match recovered {
            Ok(true) => self.parts().inventory.instances().await,
            Ok(false) => return,
            Err(error) => Err(error),
        };
        let recorded = match recorded {
            Ok(recorded) => recorded,
            Err(error) => return tracing::warn!(%error, "cannot tell strays; leaving all containers alone"),
        };
        let recorded = self.with_peas(recorded);
        self.forget_settled(found, &directories, &recorded);
        for container in found {
            if let Some(instance) = instance_of(container)
                && !recorded.knows(instance)
            {
                self.remove_stray(container, instance).await;
            }
        }
        for name in directories.iter().filter(|name| !recorded.knows(name)) {
            self.remove_orphan(&self.parts().run_dir.join(name));
        }
        // A log is begun after its record, and goes before it.
        for name in logs.iter().filter(|name| !recorded.knows(name)) {
            if let Err(error) = self.parts().logs.log(name).remove() {
                tracing::warn!(name, %error, "could not remove the log of a container that is gone; will try again");
            }
        }
        self.repairs().looked_for_late(Instant::now());
        self.tell_unreadable().await;
    }

    /// A record that cannot be read keeps its container, its directory and its handle; somebody has to know of it.
    async fn tell_unreadable(&self) {
        let Ok(handles) = self.parts().inventory.unreadable().await else {
            return;
        };
        for handle in handles {
            let what = format!("container {handle} is left alone");
            let why = "its record in the inventory makes no sense".to_owned();
            self.repairs()
                .failed(&Subject::Record(handle), Instant::now(), what, why);
        }
    }

    /// What was out of order and is so no longer, whoever has seen to it.
    fn forget_settled(&self, found: &[Container], directories: &BTreeSet<String>, recorded: &Recorded) {
        let without_record =
            |container: &&Container| instance_of(container).is_some_and(|instance| !recorded.knows(instance));
        let strays: BTreeSet<&str> = found
            .iter()
            .filter(without_record)
            .map(|container| container.id.0.as_str())
            .collect();
        let run_dir = &self.parts().run_dir;
        let in_table = self.instances();
        self.repairs().keep(|subject, _| match subject {
            Subject::Stray(id) => strays.contains(id.as_str()),
            Subject::Directory(path) => {
                let name = path.strip_prefix(run_dir).ok().and_then(Path::to_str);
                name.is_some_and(|name| directories.contains(name) && !recorded.knows(name))
            }
            Subject::CutOff(instance)
            | Subject::Comeback(instance)
            | Subject::Retired(instance)
            | Subject::Ports(instance) => in_table.contains(instance),
            // What is still lost was tried just now.
            Subject::Lost(_) => false,
            Subject::Record(_) | Subject::Late(_) | Subject::Disk(_) | Subject::Rules => true,
        });
    }

    async fn remove_stray(&self, container: &Container, instance: &str) {
        let subject = Subject::Stray(container.id.0.clone());
        let now = Instant::now();
        let due = {
            let mut repairs = self.repairs();
            let due_after_grace = repairs.is_due_after_grace(&subject, now);
            due_after_grace || (repairs.is_late(instance) && !repairs.has_failed(&subject))
        };
        if !due {
            return;
        }
        let engine_id = &container.id.0;
        tracing::warn!(
            instance,
            engine_id,
            "removing a container of this node that no record knows"
        );
        match self.parts().engine.remove(&container.id).await {
            Ok(()) => {
                let mut repairs = self.repairs();
                repairs.done(&subject);
                repairs.done(&Subject::Late(instance.to_owned()));
            }
            Err(error) => {
                let why = crate::chain::chain(&error);
                tracing::warn!(instance, error = why, "could not remove it; will try again");
                let what = format!("container {engine_id} has no record and could not be removed");
                self.repairs().failed(&subject, Instant::now(), what, why);
            }
        }
    }

    fn remove_orphan(&self, path: &Path) {
        let subject = Subject::Directory(path.to_owned());
        if !self.repairs().is_due_after_grace(&subject, Instant::now()) {
            return;
        }
        tracing::warn!(path = %path.display(), "removing the directory of a container that no record knows");
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let what = format!("{} has no record and could not be removed", path.display());
                let why = error.to_string();
                self.repairs().failed(&subject, Instant::now(), what, why);
            }
            Ok(()) | Err(_) => self.repairs().done(&subject),
        }
    }

    fn with_peas(&self, instances: BTreeSet<String>) -> Recorded {
        let entries = self.entries();
        let peas_of = |entry: &std::sync::Arc<super::entry::Entry>| {
            let record = entry.record();
            record.peas.iter().map(|pea| pea.instance.clone()).collect::<Vec<_>>()
        };
        Recorded {
            peas: entries.iter().flat_map(peas_of).collect(),
            in_table: self.instances(),
            instances,
        }
    }

    fn instances(&self) -> BTreeSet<String> {
        self.entries().iter().map(|entry| entry.instance.clone()).collect()
    }

    /// The directories that are named like those of containers and are nobody's in the table.
    fn directories(&self) -> BTreeSet<String> {
        let in_use = self.instances();
        let Ok(entries) = std::fs::read_dir(&self.parts().run_dir) else {
            return BTreeSet::new();
        };
        let names = entries.flatten().filter_map(|entry| {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            entry.file_name().into_string().ok().filter(|_| is_directory)
        });
        names
            .filter(|name| is_instance(name) && !in_use.contains(name))
            .collect()
    }
}

/// What has a record, by instance: containers, and the peas in the records of those.
struct Recorded {
    instances: BTreeSet<String>,
    peas: BTreeSet<String>,
    in_table: BTreeSet<String>,
}

impl Recorded {
    /// Whether it is somebody's. Of a container whose record is there and could not be taken over all peas are.
    fn knows(&self, instance: &str) -> bool {
        match instance.split_once('.') {
            None => self.instances.contains(instance),
            Some((container, _)) => {
                self.peas.contains(instance)
                    || (self.instances.contains(container) && !self.in_table.contains(container))
            }
        }
    }
}

/// The instance of a container or a pea.
fn instance_of(container: &Container) -> Option<&String> {
    let labels = &container.labels;
    labels.get(LABEL_PEA).or_else(|| labels.get(LABEL_INSTANCE))
}

fn is_instance(name: &str) -> bool {
    let container = name.split_once('.').map_or(name, |(container, _)| container);
    uuid::Uuid::try_parse(container).is_ok()
}
