//! Start and stop: the image's command as the process `main`, and the end of all processes.
//!
//! A stopped container keeps its first process and its files; `start` runs the image's command in it again.

use std::sync::Arc;
use std::time::Duration;

use engine::{ContainerId, ContainerState};
use nix::libc::{SIGKILL, SIGTERM};
use tokio::time::Instant;

use super::entry::Entry;
use super::pea::is_alone;
use super::process::{check_not_paused, init_failed};
use super::{Error, Result, Supervisor};
use crate::container::{ContainerInfo, Handle, MainInfo, ProcessId, ProcessSpec, State};
use crate::fault;
use crate::inventory::Record;

/// How often TERM is sent again while stopping (Garden's own server does the same).
const TERM_AGAIN: Duration = Duration::from_secs(1);
/// How long killed processes may take to be gone.
const KILLED: Duration = Duration::from_secs(10);
/// How often to look whether they are.
const LOOK: Duration = Duration::from_millis(10);

impl Supervisor {
    /// Run the image's command, or another one, as the process `main`. One that runs already is left alone, and no
    /// other is run beside it.
    pub async fn start(&self, handle: &Handle, command: Vec<String>) -> Result<ContainerInfo> {
        let entry = self.entry(handle)?;
        let supervisor = self.clone();
        self.to_the_end(async move { supervisor.start_entry(&entry, command).await })
            .await
    }

    async fn start_entry(&self, entry: &Arc<Entry>, command: Vec<String>) -> Result<ContainerInfo> {
        let _life = entry.life.lock().await;
        self.check_alive(entry)?;
        check_not_paused(entry, "start the main process")?;
        let main = entry.link.process(&ProcessId::main());
        if main.is_some_and(|main| main.exit().is_none()) {
            if !command.is_empty() && command != entry.record().main.command {
                return Err(Error::WrongState {
                    handle: entry.handle.clone(),
                    attempt: "start another command",
                    state: "running one already",
                });
            }
            // Also one whose start could not be acknowledged.
            let note = |record: &mut Record| (record.started, record.state) = (true, State::Active);
            if !entry.record().started || entry.record().state != State::Active {
                entry.change(&self.parts().inventory, note).await?;
            }
            return Ok(self.describe(entry));
        }
        self.check_in_service()?;
        let has_ended = entry.link.process(&ProcessId::main()).is_some();
        if has_ended && entry.record().started {
            // How the last one ended is recorded before it is forgotten.
            self.note_stopped(entry, "its main process ended", None).await?;
        }
        self.revive(entry).await?;
        fault::point("start/first-process-runs");
        self.spawn_main(entry, command).await?;
        entry
            .change(&self.parts().inventory, |record| record.state = State::Active)
            .await?;
        fault::point("start/active");
        self.tell_started(entry);
        Ok(self.describe(entry))
    }

    /// End all processes of a container: TERM, and KILL for what is left after a while; or KILL at once.
    pub async fn stop(&self, handle: &Handle, kill: bool) -> Result<()> {
        let entry = self.entry(handle)?;
        let supervisor = self.clone();
        self.to_the_end(async move {
            let _life = entry.life.lock().await;
            supervisor.stop_entry(&entry, kill, "a client asked for it").await
        })
        .await
    }

    /// The same, by whoever holds the entry's life.
    pub(super) async fn stop_entry(&self, entry: &Arc<Entry>, kill: bool, reason: &str) -> Result<()> {
        let state = entry.record().state;
        match state {
            State::Active | State::Stopped => {}
            State::Creating | State::Lost | State::Destroying => {
                return self.check_running(entry, "stop the processes");
            }
        }
        if entry.record().paused {
            self.resume_entry(entry).await?;
        }
        if entry.record().pid != 0 {
            self.end_processes(entry, kill)
                .await
                .map_err(|error| init_failed(&entry.handle, error))?;
        }
        fault::point("stop/ended");
        self.note_stopped(entry, reason, None).await?;
        fault::point("stop/recorded");
        Ok(())
    }

    /// The container is stopped for this reason, with an event for its owner where there is one.
    pub(super) async fn note_stopped(&self, entry: &Arc<Entry>, reason: &str, event: Option<String>) -> Result<()> {
        let main = entry.link.process(&ProcessId::main()).and_then(|main| main.exit());
        self.tell_stopped(entry, main, reason);
        entry
            .change(&self.parts().inventory, |record| {
                record.state = State::Stopped;
                record.comes_back = false;
                if record.started {
                    record.main.exit_status = main.map(crate::init::Exit::status);
                }
                record.started = false;
                record.events.extend(event);
            })
            .await
    }

    async fn end_processes(&self, entry: &Entry, kill: bool) -> crate::init::Result<()> {
        let link = &entry.link;
        if !kill {
            let deadline = Instant::now() + self.policy().stop_timeout;
            while Instant::now() < deadline {
                link.signal_all(SIGTERM).await?;
                fault::point("stop/asked");
                let again = (Instant::now() + TERM_AGAIN).min(deadline);
                if gone_before(entry, again).await? {
                    return Ok(());
                }
            }
        }
        let deadline = Instant::now() + KILLED;
        while Instant::now() < deadline {
            link.signal_all(SIGKILL).await?;
            fault::point("stop/killed");
            if gone_before(entry, (Instant::now() + TERM_AGAIN).min(deadline)).await? {
                return Ok(());
            }
        }
        Err(crate::init::Error::Unreachable(
            "its processes do not end, although they were killed".into(),
        ))
    }

    /// See to it that the container's first process runs.
    async fn revive(&self, entry: &Arc<Entry>) -> Result<()> {
        let id = ContainerId(entry.record().engine_id.clone());
        let seen = self.parts().engine.inspect(&id).await;
        let seen = seen.map_err(|source| self.engine_failed("look at the container", entry, source))?;
        if seen.state == ContainerState::Running && seen.pid != 0 && seen.pid == entry.record().pid {
            return Ok(());
        }
        // What they shared is gone with the first process that they had it from.
        self.remove_peas(entry).await;
        self.run_first_process(entry, &id).await?;
        self.apply_forwards().await
    }

    fn check_alive(&self, entry: &Entry) -> Result<()> {
        let state = entry.record().state;
        match state {
            State::Active | State::Stopped if !entry.is_being_destroyed() => Ok(()),
            _ => self.check_running(entry, "start the image's command"),
        }
    }

    /// Start the process `main`; the caller holds the entry's life.
    pub(super) async fn spawn_main(&self, entry: &Arc<Entry>, command: Vec<String>) -> Result<()> {
        let spec = main_spec(&entry.record(), command)?;
        spec.check()?;
        let command = [std::slice::from_ref(&spec.path), &spec.args].concat();
        let inventory = &self.parts().inventory;
        let before = entry.record().main.clone();
        // Noted first: a start that cannot be acknowledged must not leave a main process that stops nothing.
        let started = |record: &mut Record| {
            record.started = true;
            record.main = MainInfo {
                command,
                exit_status: None,
            };
        };
        entry.change(inventory, started).await?;
        fault::point("start/main-recorded");
        match self.spawn_anew(entry, spec).await {
            Ok(()) => {
                fault::point("start/main-spawned");
                Ok(())
            }
            Err(error) => {
                let undone = |record: &mut Record| {
                    // One that comes back is to run main whenever it can.
                    record.started = record.comes_back;
                    record.main = before;
                };
                entry.change(inventory, undone).await?;
                fault::point("start/undone");
                Err(error)
            }
        }
    }

    async fn spawn_anew(&self, entry: &Arc<Entry>, spec: ProcessSpec) -> Result<()> {
        // With it goes what is not read of its output.
        self.logs_settled(entry, &ProcessId::main()).await;
        // The end of an earlier one was told; its name is needed.
        let collected = entry.link.collect(&ProcessId::main()).await;
        collected.map_err(|error| init_failed(&entry.handle, error))?;
        fault::point("start/main-collected");
        let attachment = self.spawn(entry, spec).await?;
        // Nobody reads by it: all of the output is for whoever attaches first, also of a command that has ended by now.
        attachment.leave();
        Ok(())
    }
}

/// The process `main` of a container: the command given, else the one it was made with, else the image's.
fn main_spec(record: &Record, command: Vec<String>) -> Result<ProcessSpec> {
    let chosen = [command, record.spec.command.clone(), record.image.command.clone()];
    let command = chosen
        .into_iter()
        .find(|command| !command.is_empty())
        .unwrap_or_default();
    let Some((path, args)) = command.split_first() else {
        let image = &record.image.name;
        let message = format!("the image {image} names no command to start, and none was given");
        return Err(Error::ExecutableNotFound {
            handle: record.handle.clone(),
            message,
        });
    };
    Ok(ProcessSpec {
        id: Some(ProcessId::main()),
        path: path.clone(),
        args: args.to_vec(),
        dir: record.image.working_dir.clone(),
        user: record.image.user.clone(),
        log: true,
        ..ProcessSpec::default()
    })
}

async fn gone_before(entry: &Entry, deadline: Instant) -> crate::init::Result<bool> {
    loop {
        if is_alone(entry).await? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
}
