//! Making a pea: recorded, made, started, its process run, marked as running; and undone where any of it fails.

use std::sync::Arc;

use engine::ContainerId;

use super::super::entry::Entry;
use super::super::process::{Attachment, process_failed};
use super::super::{Error, Result, Supervisor};
use super::{MAX_PEAS, Pea};
use crate::container::{PeaSpec, ProcessId, ProcessSpec};
use crate::fault;
use crate::image::InUse;
use crate::inventory::PeaRecord;

/// Who a process is that names no user, and where it is that names no directory: unlike in the container's own image no
/// account is asked for.
const USER: &str = "0:0";
const DIR: &str = "/";

impl Supervisor {
    /// Run a process in an image of its own. Returns once its program runs.
    pub(in crate::supervisor) async fn run_pea(
        &self,
        entry: &Arc<Entry>,
        spec: ProcessSpec,
        pea: PeaSpec,
    ) -> Result<Attachment> {
        super::create::check_sources(&pea.mounts)?;
        let image = self.image_for(&pea.image).await?;
        let (supervisor, entry) = (self.clone(), entry.clone());
        self.to_the_end(async move {
            let _life = entry.life.lock().await;
            supervisor.check_running(&entry, "run a process")?;
            supervisor.check_time_left()?;
            supervisor.make_pea(&entry, &image, spec, &pea).await
        })
        .await
    }

    async fn make_pea(
        &self,
        entry: &Arc<Entry>,
        image: &InUse,
        spec: ProcessSpec,
        pea: &PeaSpec,
    ) -> Result<Attachment> {
        let id = spec.id.clone().unwrap_or_else(ProcessId::fresh);
        if entry.knows_process(&id) {
            let handle = entry.handle.clone();
            return Err(Error::ProcessExists { handle, process: id });
        }
        self.make_room(entry).await?;
        let record = PeaRecord::new(&entry.instance, id);
        let recorded = record.clone();
        entry
            .change(&self.parts().inventory, |of| of.peas.push(recorded))
            .await?;
        fault::point("pea/recorded");
        let made = self.bring_up_pea(entry, &record, image, spec, pea).await;
        if made.is_err() {
            self.remove_pea_or_warn(entry, &record.instance).await;
        }
        made
    }

    async fn bring_up_pea(
        &self,
        entry: &Arc<Entry>,
        record: &PeaRecord,
        image: &InUse,
        spec: ProcessSpec,
        wanted: &PeaSpec,
    ) -> Result<Attachment> {
        let pea = self.open_pea(entry, record)?;
        let container = self.pea_container(entry, record, image, wanted).await?;
        let engine = &self.parts().engine;
        let name = format!("fence-{}", record.instance);
        let id = engine.create(&name, &container).await.map_err(|source| {
            if source.is_temporary() {
                // The engine may still be at it.
                self.repairs()
                    .expect_late(&record.instance, tokio::time::Instant::now());
            }
            self.engine_failed("create the container of a process in", entry, source)
        })?;
        fault::point("pea/engine-created");
        self.start_pea(entry, &pea, &id).await?;
        fault::point("pea/started");
        let attachment = self.spawn_in_pea(entry, &pea, image, spec, wanted).await?;
        fault::point("pea/spawned");
        self.change_pea(entry, &record.instance, |of| of.runs = true).await?;
        fault::point("pea/acknowledged");
        Ok(attachment)
    }

    async fn start_pea(&self, entry: &Arc<Entry>, pea: &Pea, id: &ContainerId) -> Result<()> {
        let engine = &self.parts().engine;
        let failed = |source| self.engine_failed("start the container of a process in", entry, source);
        engine.start(id).await.map_err(failed)?;
        let seen = engine.inspect(id).await.map_err(failed)?;
        pea.link.expect(seen.pid);
        self.change_pea(entry, &pea.instance, |of| {
            of.engine_id = seen.id.0;
            of.pid = seen.pid;
        })
        .await
    }

    async fn spawn_in_pea(
        &self,
        entry: &Arc<Entry>,
        pea: &Pea,
        image: &InUse,
        mut spec: ProcessSpec,
        wanted: &PeaSpec,
    ) -> Result<Attachment> {
        if spec.user.is_empty() {
            USER.clone_into(&mut spec.user);
        }
        if spec.dir.is_empty() {
            DIR.clone_into(&mut spec.dir);
        }
        let limits = wanted.limits.clone().unwrap_or_else(|| entry.record().limits.clone());
        let id = &pea.process;
        let spec = self.init_spec(image.image.env.iter(), &limits, id, spec);
        let attachment = pea.link.spawn(spec, id.clone()).await;
        let attachment = attachment.map_err(|error| match process_failed(&entry.handle, id, error) {
            // Garden's own server has no type for it here.
            Error::ExecutableNotFound { handle, message } => Error::ProcessRefused { handle, message },
            other => other,
        })?;
        Ok(Attachment::new(entry.clone(), attachment))
    }

    async fn change_pea(&self, entry: &Entry, instance: &str, change: impl FnOnce(&mut PeaRecord)) -> Result<()> {
        let change_one = |record: &mut crate::inventory::Record| {
            if let Some(pea) = record.peas.iter_mut().find(|pea| pea.instance == instance) {
                change(pea);
            }
        };
        entry.change(&self.parts().inventory, change_one).await
    }

    /// Where there are as many as may be, the one that has ended and that nobody reads goes.
    async fn make_room(&self, entry: &Arc<Entry>) -> Result<()> {
        if entry.record().peas.len() < MAX_PEAS {
            return Ok(());
        }
        let spare = entry.peas().values().find(|pea| pea.is_over()).cloned();
        match spare {
            Some(spare) => self.remove_pea(entry, &spare.instance).await,
            None => Err(Error::Exhausted {
                what: format!("room for processes with an image of their own ({MAX_PEAS} is a container's limit)"),
            }),
        }
    }
}

impl Pea {
    /// Its process has ended and nobody is attached to it.
    fn is_over(&self) -> bool {
        let process = self.link.process(&self.process);
        process.is_some_and(|process| process.exit().is_some() && !process.is_attached())
    }
}
