//! Records that were lost, by a damaged or missing inventory: a container of this node without one is then no stray.
//!
//! It gets its record back from its copy, which is as good as the record was. Where there is no copy either, and only
//! while the inventory is new and the engine was not compared yet, a record is made of what the engine says. Such a
//! container is never removed by itself; what of it could not be had is told in its events and in the status, until
//! somebody removes the file that the status names, or destroys it.

use std::collections::BTreeSet;
use std::path::Path;

use engine::{Container, ContainerState};
use fence_init::protocol::{BIN_DIR, RUN_DIR};
use tokio::time::Instant;

use super::repair::Subject;
use super::{Error, LABEL_INSTANCE, Problem, Result, Supervisor};
use crate::container::{BindMount, ContainerSpec, Handle, ImageSource, Limits, MainInfo, Properties, State};
use crate::inventory::{self, Guessed, ImageRecord, Rebuilt, Record};

/// What the engine does not know of a container.
const LOST: &str = "its properties, ports, environment, command and grace time are lost, and its handle is a guess \
                    from its host name";

impl Supervisor {
    /// Give containers their records back, given what the engine had a moment ago. Says whether what has no record
    /// after this is nobody's.
    pub(super) async fn recover(&self, found: &[Container]) -> inventory::Result<bool> {
        let inventory = &self.parts().inventory;
        let rebuilt = inventory.rebuilt().await?;
        let recorded = inventory.instances().await?;
        let mut pending = rebuilt.clone().filter(|rebuilt| !rebuilt.complete);
        let mut complete = true;
        for container in found {
            if let Some(instance) = container.labels.get(LABEL_INSTANCE)
                && !recorded.contains(instance)
                && !self.repairs().is_late(instance)
            {
                complete &= self.recover_one(container, instance, pending.as_mut()).await?;
            }
        }
        if complete {
            let instances = found
                .iter()
                .filter_map(|container| container.labels.get(LABEL_INSTANCE));
            let instances: BTreeSet<String> = instances.cloned().collect();
            inventory.prune_copies(instances).await?;
        }
        match (pending, rebuilt) {
            (Some(pending), _) => self.note_progress(pending, complete).await?,
            (None, Some(rebuilt)) => self.note_seen(&rebuilt).await?,
            (None, None) => {}
        }
        Ok(complete)
    }

    /// Whether this container needs no more looking at.
    async fn recover_one(
        &self,
        container: &Container,
        instance: &str,
        rebuilt: Option<&mut Rebuilt>,
    ) -> inventory::Result<bool> {
        if container.state == ContainerState::Removing {
            return Ok(true);
        }
        let subject = Subject::Lost(container.id.0.clone());
        let record = match (self.parts().inventory.copy(instance).await?, &rebuilt) {
            (Some(copy), _) => Ok(copy),
            (None, Some(_)) => self.guess(container, instance).await,
            (None, None) => return Ok(true),
        };
        let taken = match record {
            Ok(record) => self.take_back(record, instance, rebuilt).await,
            Err(error) => Err(error),
        };
        match taken {
            Ok(()) => self.repairs().done(&subject),
            Err(Error::Engine { source, .. }) if source.is_not_found() => {}
            Err(error) => {
                let what = format!("container {} has lost its record and is left alone", container.name);
                self.repairs().failed(&subject, Instant::now(), what, error.chain());
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Record the container, and take it over as after a restart.
    async fn take_back(&self, mut record: Record, instance: &str, rebuilt: Option<&mut Rebuilt>) -> Result<()> {
        let reserved = match self.reserve_found(record.handle.clone()) {
            Err(Error::HandleInUse { handle }) => self.reserve_found(another(&handle, instance)?)?,
            reserved => reserved?,
        };
        record.handle = reserved.handle.clone();
        let (handle, is_guess) = (record.handle.to_string(), record.version == 0);
        record.version += 1;
        let written = self.parts().inventory.put(&record).await;
        written.map_err(|source| Error::Inventory {
            what: handle.clone(),
            source,
        })?;
        tracing::warn!(handle, instance, is_guess, "a container has its record back");
        self.adopt_or_keep(record);
        if let Some(rebuilt) = rebuilt {
            let instance = instance.to_owned();
            match is_guess {
                true => rebuilt.guessed.push(Guessed { instance, handle }),
                false => rebuilt.restored.push(handle),
            }
        }
        Ok(())
    }

    /// What the engine says of a container, as a record. Version 0: it never was one.
    async fn guess(&self, container: &Container, instance: &str) -> Result<Record> {
        let engine = &self.parts().engine;
        let failed = |source| Error::Engine {
            attempt: "look at",
            what: format!("container {}", container.name),
            source,
        };
        let seen = engine.inspect(&container.id).await.map_err(failed)?;
        let made = engine.spec(&container.id).await.map_err(failed)?;
        let image = match engine.image(&seen.image.0).await {
            Ok(image) => Some(image),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(failed(error)),
        };
        let runs = seen.state == ContainerState::Running;
        let limits = Limits {
            memory_bytes: made.limits.memory_bytes,
            cpu_shares: made.limits.cpu_shares,
            pids: made.limits.pids,
        };
        let handle: Handle = match made.hostname.parse() {
            Ok(handle) => handle,
            Err(_) => parsed(instance)?,
        };
        Ok(Record {
            instance: instance.to_owned(),
            engine_id: seen.id.0,
            pid: seen.pid,
            state: if runs { State::Active } else { State::Stopped },
            created: jiff::Timestamp::from_second(seen.created)
                .unwrap_or_default()
                .to_string(),
            spec: ContainerSpec {
                handle: Some(handle.clone()),
                image: ImageSource::Named {
                    name: seen.image.0.clone(),
                    username: String::new(),
                    password: String::new(),
                },
                limits: limits.clone(),
                mounts: mounts(made.mounts),
                privileged: made.privileged,
                ..ContainerSpec::default()
            },
            handle,
            image: image_record(seen.image.0, image),
            limits,
            ports: Vec::new(),
            ip: seen.ip,
            gateway: seen.gateway,
            properties: Properties::default(),
            grace_time_ns: 0,
            main: MainInfo::default(),
            // Its init tells whether it was.
            started: runs,
            comes_back: false,
            paused: false,
            events: vec![format!("its record was lost; {LOST}")],
            shares_ipc: false,
            peas: Vec::new(),
            version: 0,
        })
    }

    async fn note_progress(&self, mut rebuilt: Rebuilt, complete: bool) -> inventory::Result<()> {
        let inventory = &self.parts().inventory;
        if complete && !rebuilt.is_of_interest() {
            return inventory.forget_rebuilt().await;
        }
        // One that was open while the file was found damaged has containers whose records are only in its memory.
        for entry in self.entries() {
            if let Err(error) = entry.change(inventory, |_| ()).await {
                tracing::error!(handle = %entry.handle, error = error.chain(), "could not record a container again");
            }
        }
        rebuilt.complete = complete;
        inventory.put_rebuilt(rebuilt).await
    }

    /// What was told and acknowledged is history.
    async fn note_seen(&self, rebuilt: &Rebuilt) -> inventory::Result<()> {
        match is_seen(rebuilt) {
            true => self.parts().inventory.forget_rebuilt().await,
            false => Ok(()),
        }
    }

    /// What the status says of an inventory that was made anew.
    pub(super) async fn rebuild_problems(&self) -> Vec<Problem> {
        let rebuilt = match self.parts().inventory.rebuilt().await {
            Ok(Some(rebuilt)) if rebuilt.is_of_interest() && !is_seen(&rebuilt) => rebuilt,
            Ok(_) => return Vec::new(),
            Err(error) => {
                let what = "the inventory cannot be read".to_owned();
                return vec![told(what, crate::chain::chain(&error), String::new())];
            }
        };
        let reason = match rebuilt.reason.as_str() {
            "" => "there was none",
            reason => reason,
        };
        let kept = rebuilt.kept.as_str();
        let why = format!(
            "{reason}; {} containers are as they were, {} are known from the engine alone; \
             remove {kept} when this has been seen",
            rebuilt.restored.len(),
            rebuilt.guessed.len()
        );
        let mut problems = vec![told("the inventory was made anew".to_owned(), why, rebuilt.at.clone())];
        let there = |guessed: &&Guessed| self.entries().iter().any(|entry| entry.instance == guessed.instance);
        problems.extend(rebuilt.guessed.iter().filter(there).map(|guessed| {
            let what = format!("container {} has lost its record", guessed.handle);
            told(what, LOST.to_owned(), rebuilt.at.clone())
        }));
        problems
    }
}

/// Something that nobody tries to put right.
fn told(what: String, why: String, since: String) -> Problem {
    Problem {
        what,
        why,
        since,
        tries: 0,
    }
}

fn is_seen(rebuilt: &Rebuilt) -> bool {
    let kept = rebuilt.kept.as_str();
    !kept.is_empty() && matches!(Path::new(kept).try_exists(), Ok(false))
}

fn mounts(made: Vec<engine::Mount>) -> Vec<BindMount> {
    let clients = made
        .into_iter()
        .filter(|mount| mount.target != BIN_DIR && mount.target != RUN_DIR);
    clients
        .map(|mount| BindMount {
            source: mount.source,
            target: mount.target,
            read_only: mount.read_only,
        })
        .collect()
}

fn image_record(id: String, found: Option<engine::Image>) -> ImageRecord {
    let Some(image) = found else {
        return ImageRecord {
            name: id.clone(),
            id,
            ..ImageRecord::default()
        };
    };
    ImageRecord {
        name: image.tags.first().unwrap_or(&id).clone(),
        id,
        command: image.command,
        env: image.env,
        user: image.user,
        working_dir: image.working_dir,
    }
}

/// A handle for a container whose own, or what is guessed to be its own, another one has.
fn another(handle: &Handle, instance: &str) -> Result<Handle> {
    // A label is short, and the two together may not be longer than a handle.
    let head: String = handle.as_str().chars().take(64).collect();
    let tail = instance.rsplit('-').next().unwrap_or(instance);
    parsed(&format!("{head}-{tail}"))
}

fn parsed(text: &str) -> Result<Handle> {
    text.parse()
        .map_err(|error: crate::container::HandleError| Error::Spec(crate::container::SpecError(error.to_string())))
}
