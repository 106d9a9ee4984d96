//! Making a container: a list of steps, and whatever fails, the earlier ones are undone.
//!
//! The record is in the inventory before the engine is asked, so that a crash at any point leaves either a container
//! that was acknowledged, or a record by which the next start cleans up.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use engine::{ContainerId, IpcMode, NetworkMode, RegistryAuth};
use fence_init::protocol::{BIN_DIR, BIN_NAME, RUN_DIR};
use tokio::sync::mpsc;

use super::entry::Entry;
use super::{Error, LABEL_INSTANCE, Policy, Result, Slot, Supervisor};
use crate::container::{
    BindMount, ContainerInfo, ContainerSpec, Handle, ImageSource, Limits, MainInfo, PortMapping, State,
};
use crate::fault;
use crate::image::{self, InUse};
use crate::init::Link;
use crate::inventory::{ImageRecord, Record};
use crate::network::PortGuard;

/// What a container's root keeps of root's capabilities: enough to set up an app as its own user and to serve a low
/// port; nothing that reaches beyond the container.
const CAPABILITIES: [&str; 9] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
    "SYS_CHROOT",
];

impl Supervisor {
    /// Make a container. It is active, and in [`Supervisor::list`], when this returns.
    pub async fn create(&self, spec: ContainerSpec) -> Result<ContainerInfo> {
        spec.check()?;
        self.check_in_service()?;
        self.check_policy(&spec)?;
        let reserved = self.reserve(spec.handle.clone())?;
        fault::point("create/reserved");
        let supervisor = self.clone();
        self.to_the_end(async move { supervisor.make(reserved, spec).await })
            .await
    }

    fn check_policy(&self, spec: &ContainerSpec) -> Result<()> {
        if spec.privileged && !self.policy().privileged_allowed {
            let hint = "kato config set fence docker/privileged true";
            return Err(Error::NotAllowed {
                what: "a privileged container".into(),
                hint,
            });
        }
        check_sources(&spec.mounts)
    }

    /// Reserve a handle, this one or one of fence's own making, for a container that is new.
    fn reserve(&self, wanted: Option<Handle>) -> Result<Reservation> {
        let max = self.policy().max_containers;
        let table = self.table();
        if table.len() >= max {
            return Err(Error::Exhausted {
                what: format!("room for containers ({max} is its limit)"),
            });
        }
        let handle = match wanted {
            Some(handle) => handle,
            None => fresh_handle()?,
        };
        self.reserve_in(table, handle)
    }

    /// Reserve a handle for a container that is there.
    pub(super) fn reserve_found(&self, handle: Handle) -> Result<Reservation> {
        self.reserve_in(self.table(), handle)
    }

    fn reserve_in(&self, mut table: MutexGuard<'_, HashMap<Handle, Slot>>, handle: Handle) -> Result<Reservation> {
        if table.contains_key(&handle) || self.unadopted().iter().any(|record| record.handle == handle) {
            return Err(Error::HandleInUse { handle });
        }
        let number = self.inner.reservations.fetch_add(1, Ordering::Relaxed);
        table.insert(handle.clone(), Slot::Reserved(number));
        drop(table);
        Ok(Reservation {
            supervisor: self.clone(),
            handle,
            number,
        })
    }

    async fn make(&self, reserved: Reservation, spec: ContainerSpec) -> Result<ContainerInfo> {
        let policy = self.policy();
        let image = self.image_for(&spec.image).await?;
        // An image may take its time.
        self.check_in_service()?;
        let (mappings, guards) = self.take_ports(&spec.ports)?;
        fault::point("create/ports-taken");
        let record = self.record_for(&reserved.handle, spec, &image, mappings, &policy);
        let directory = self.parts().run_dir.join(&record.instance);
        let (link, events) = Link::listen(&directory).map_err(|error| {
            // What was made of it; where that cannot be removed either, the next comparison does.
            let _ = std::fs::remove_dir_all(&directory);
            listen_failed(&record.handle, error)
        })?;
        fault::point("create/directory-made");
        let start = record.spec.start;
        let log = self.parts().logs.log(&record.instance);
        let entry = Arc::new(Entry::new(record, link, directory, guards, log));
        // Held before anyone can find the entry, so that a comparison does not take it for one that was cut off.
        let _life = entry.life.lock().await;
        self.table().insert(entry.handle.clone(), Slot::Taken(entry.clone()));
        match self.bring_up(&entry, start).await {
            Ok(()) => {
                self.watch_entry(&entry, events);
                self.watch_grace(&entry);
                self.tell_created(&entry);
                Ok(self.describe(&entry))
            }
            Err(error) => {
                if let Error::ImageMissing { .. } = error {
                    self.parts().images.lost(&image);
                }
                self.undo(&entry).await;
                Err(error)
            }
        }
    }

    /// The steps that can be seen from outside; the caller holds the entry's life.
    async fn bring_up(&self, entry: &Arc<Entry>, start: bool) -> Result<()> {
        let parts = self.parts();
        entry.change(&parts.inventory, |_| ()).await?;
        fault::point("create/recorded");
        let id = self.engine_create(entry).await?;
        fault::point("create/engine-created");
        self.run_first_process(entry, &id).await?;
        if !entry.record().ports.is_empty() {
            self.apply_forwards().await?;
            fault::point("create/rules-applied");
        }
        if start {
            self.spawn_main(entry, Vec::new()).await?;
        } else {
            entry
                .link
                .connected()
                .await
                .map_err(|error| super::process::init_failed(&entry.handle, error))?;
        }
        fault::point("create/init-connected");
        entry
            .change(&parts.inventory, |record| record.state = State::Active)
            .await?;
        fault::point("create/active");
        Ok(())
    }

    async fn engine_create(&self, entry: &Arc<Entry>) -> Result<ContainerId> {
        let (name, spec) = {
            let record = entry.record();
            (format!("fence-{}", record.instance), self.engine_spec(&record))
        };
        entry.unanswered.store(true, Ordering::Release);
        let created = self.parts().engine.create(&name, &spec).await;
        let unanswered = created.as_ref().is_err_and(engine::Error::is_temporary);
        entry.unanswered.store(unanswered, Ordering::Release);
        created.map_err(|source| match source.is_not_found() {
            true => Error::ImageMissing {
                name: entry.record().image.name.clone(),
                reason: source.to_string(),
                temporary: true,
            },
            false => self.engine_failed("create the container", entry, source),
        })
    }

    /// Have the engine run the container's first process, and let that process in.
    pub(super) async fn run_first_process(&self, entry: &Arc<Entry>, id: &ContainerId) -> Result<()> {
        let parts = self.parts();
        let started = parts.engine.start(id).await;
        started.map_err(|source| self.engine_failed("start the container", entry, source))?;
        fault::point("boot/engine-started");
        let seen = parts.engine.inspect(id).await;
        let seen = seen.map_err(|source| self.engine_failed("look at the container", entry, source))?;
        fault::point("boot/engine-inspected");
        self.note_first_process(entry, seen).await?;
        fault::point("boot/recorded");
        Ok(())
    }

    /// Let the container's first process in, and record it.
    pub(super) async fn note_first_process(&self, entry: &Arc<Entry>, seen: engine::Container) -> Result<()> {
        entry.link.expect(seen.pid);
        entry
            .change(&self.parts().inventory, |record| {
                record.engine_id = seen.id.0;
                record.pid = seen.pid;
                record.paused = false;
                record.ip = seen.ip;
                record.gateway = seen.gateway;
            })
            .await
    }

    pub(super) fn engine_failed(&self, attempt: &'static str, entry: &Entry, source: engine::Error) -> Error {
        Error::Engine {
            attempt,
            what: entry.handle.to_string(),
            source,
        }
    }

    async fn undo(&self, entry: &Arc<Entry>) {
        entry.destroying.store(true, Ordering::Release);
        if let Err(error) = self.take_apart(entry).await {
            // The record still says that it was being made: the next comparison takes what is left away.
            entry.destroying.store(false, Ordering::Release);
            tracing::warn!(handle = %entry.handle, error = error.chain(), "could not undo a failed create; will try again");
        }
    }

    pub(super) async fn image_for(&self, source: &ImageSource) -> Result<InUse> {
        let parts = self.parts();
        let found = match source {
            ImageSource::Configured => {
                return parts
                    .images
                    .current()
                    .await
                    .map_err(|e| image_missing("configured", &e));
            }
            ImageSource::Path(path) => image::rootfs::image_of(&*parts.engine, path)
                .await
                .map(|image| (path, image)),
            ImageSource::Named {
                name,
                username,
                password,
            } => {
                let auth = RegistryAuth {
                    username: username.clone(),
                    password: password.clone(),
                };
                // Who names no account asks as this node does.
                let auth = match auth.username.is_empty() {
                    true => parts.images.account(name),
                    false => Some(auth),
                };
                // Nobody reads the progress of a pull that a create waits for.
                let (progress, _) = mpsc::channel(1);
                image::find_or_pull(&*parts.engine, name, auth.as_ref(), progress)
                    .await
                    .map(|image| (name, image))
            }
        };
        let (name, image) = found.map_err(|error| image_missing(source_name(source), &error))?;
        Ok(InUse {
            name: name.clone(),
            image,
        })
    }

    fn take_ports(&self, wanted: &[PortMapping]) -> Result<(Vec<PortMapping>, Vec<PortGuard>)> {
        let taken = wanted
            .iter()
            .map(|port| self.take_port(*port))
            .collect::<Result<Vec<_>>>()?;
        Ok(taken.into_iter().unzip())
    }

    fn record_for(
        &self,
        handle: &Handle,
        spec: ContainerSpec,
        image: &InUse,
        ports: Vec<PortMapping>,
        policy: &Policy,
    ) -> Record {
        let InUse { name, image } = image;
        let defaults = &policy.default_limits;
        let limits = Limits {
            memory_bytes: spec.limits.memory_bytes.or(defaults.memory_bytes),
            cpu_shares: spec.limits.cpu_shares.or(defaults.cpu_shares),
            pids: spec.limits.pids.or(defaults.pids),
        };
        Record {
            handle: handle.clone(),
            instance: uuid::Uuid::now_v7().to_string(),
            engine_id: String::new(),
            pid: 0,
            state: State::Creating,
            created: jiff::Timestamp::now().to_string(),
            image: ImageRecord {
                name: name.clone(),
                id: image.id.0.clone(),
                command: image.command.clone(),
                env: image.env.clone(),
                user: image.user.clone(),
                working_dir: image.working_dir.clone(),
            },
            limits,
            ports,
            ip: String::new(),
            gateway: String::new(),
            properties: spec.properties.clone(),
            grace_time_ns: spec
                .grace_time_ns
                .unwrap_or(policy.default_grace_time.as_nanos() as u64),
            main: MainInfo::default(),
            started: false,
            comes_back: false,
            paused: false,
            events: Vec::new(),
            shares_ipc: true,
            peas: Vec::new(),
            version: 0,
            spec,
        }
    }

    /// The container in the engine's words. Everything not named is the engine's default, which is safe.
    pub(super) fn engine_spec(&self, record: &Record) -> engine::ContainerSpec {
        let parts = self.parts();
        let mount = |source: String, target: &str, read_only| engine::Mount {
            source,
            target: target.to_owned(),
            read_only,
        };
        let mut mounts = vec![
            mount(parts.init.directory().display().to_string(), BIN_DIR, true),
            mount(
                parts.run_dir.join(&record.instance).display().to_string(),
                RUN_DIR,
                true,
            ),
        ];
        mounts.extend(
            record
                .spec
                .mounts
                .iter()
                .map(|m| mount(m.source.clone(), &m.target, m.read_only)),
        );
        let mut labels = self.labels();
        labels.insert(LABEL_INSTANCE.to_owned(), record.instance.clone());
        engine::ContainerSpec {
            image: record.image.id.clone(),
            command: vec![format!("{BIN_DIR}/{BIN_NAME}")],
            hostname: record.handle.hostname(),
            labels,
            mounts,
            limits: engine::Limits {
                memory_bytes: record.limits.memory_bytes,
                cpu_shares: record.limits.cpu_shares,
                pids: record.limits.pids,
            },
            network: NetworkMode::Bridge,
            ipc: IpcMode::Open,
            capabilities: CAPABILITIES.map(str::to_owned).to_vec(),
            no_new_privileges: !record.spec.privileged,
            privileged: record.spec.privileged,
            ..engine::ContainerSpec::default()
        }
    }
}

/// A handle that is being made a container of. Dropped before it is one, the handle is free again.
pub(super) struct Reservation {
    supervisor: Supervisor,
    pub(super) handle: Handle,
    number: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let is_ours = |slot: &Slot| matches!(slot, Slot::Reserved(number) if *number == self.number);
        self.supervisor.free_slot(&self.handle, is_ours);
    }
}

/// Whether everything that is to be mounted is there.
pub(super) fn check_sources(mounts: &[BindMount]) -> Result<()> {
    for mount in mounts {
        std::fs::metadata(&mount.source).map_err(|source| Error::Files {
            attempt: "mount",
            path: mount.source.clone(),
            source,
        })?;
    }
    Ok(())
}

fn fresh_handle() -> Result<Handle> {
    uuid::Uuid::new_v4()
        .to_string()
        .parse()
        .map_err(|error: crate::container::HandleError| Error::Spec(crate::container::SpecError(error.to_string())))
}

pub(super) fn listen_failed(handle: &Handle, error: crate::init::Error) -> Error {
    match error {
        crate::init::Error::Listen { path, source } => Error::Files {
            attempt: "listen for the first process at",
            path,
            source,
        },
        other => super::process::init_failed(handle, other),
    }
}

fn source_name(source: &ImageSource) -> &str {
    match source {
        ImageSource::Configured => "configured",
        ImageSource::Path(path) => path,
        ImageSource::Named { name, .. } => name,
    }
}

fn image_missing(name: &str, error: &image::Error) -> Error {
    let reason = crate::chain::chain(error);
    Error::ImageMissing {
        name: name.to_owned(),
        reason,
        temporary: error.is_temporary(),
    }
}
