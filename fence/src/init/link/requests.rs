//! What init is asked for: to start a process, to attach to one, to forget one, to signal all.

use std::sync::Arc;

use fence_init::protocol::{Exit, Failure, FailureKind, FromInit, ProcessEntry, SpawnSpec, Stream, ToInit};

use super::{Link, LinkEvent};
use crate::container::ProcessId;
use crate::init::attachment::Attachment;
use crate::init::lease::{Begun, Granted, Lease, Leases};
use crate::init::process::Process;
use crate::init::session::Session;
use crate::init::{Error, Result};

impl Link {
    /// Start a process and attach to it from its first byte. Returns once its program runs.
    pub async fn spawn(&self, spec: SpawnSpec, id: ProcessId) -> Result<Attachment> {
        let lifetime = self.lifetime();
        let session = self.session().await?;
        if self.table().starting.insert(id.clone(), None).is_some() {
            let message = format!("process id {id} is being started already");
            return Err(Error::Refused(Failure {
                kind: FailureKind::ProcessExists,
                message,
            }));
        }
        let (lease, outlets) = Lease::open(&session);
        let (attachment, tty) = (lease.number, spec.tty.is_some());
        let log = if session.knows_logs() { spec.log } else { 0 };
        let spec = Box::new(spec);
        let answer = session.ask(|seq| ToInit::Spawn { seq, attachment, spec }).await;
        let (number, pid) = match answer {
            Ok(FromInit::Spawned { process, pid, .. }) => (process, pid),
            other => {
                self.table().starting.remove(&id);
                let error = other.err().unwrap_or_else(unexpected);
                if error.refusal().is_none() {
                    // It may run all the same, and nobody was told of it.
                    let (id, signal) = (id.to_string(), nix::libc::SIGKILL);
                    session.tell(&ToInit::Signal { seq: 0, id, signal });
                }
                return Err(error);
            }
        };
        let entry = ProcessEntry {
            id: id.to_string(),
            process: number,
            pid,
            tty,
            exit: None,
            log,
        };
        let process = Arc::new(Process::new(entry, id.clone()));
        let ended = {
            let mut table = self.table();
            table.processes.insert(id.clone(), process.clone());
            table.starting.remove(&id).flatten()
        };
        let begun = outlets.map(|(stream, items)| Begun { stream, from: 0, items });
        Ok(self.attachment(lifetime, self.granted(lease, process, ended, tty, begun)))
    }

    /// Attach to a process that runs, or ended and was not collected.
    pub async fn attach(&self, id: &ProcessId) -> Result<Attachment> {
        let lifetime = self.lifetime();
        let session = self.session().await?;
        let granted = self.lease(&session, id, false).await?;
        Ok(self.attachment(lifetime, granted))
    }

    /// Attach as the log to a process that has one. To others it is as if nobody were.
    pub async fn attach_log(&self, id: &ProcessId) -> Result<Attachment> {
        let lifetime = self.lifetime();
        let session = self.session().await?;
        let granted = self.lease(&session, id, true).await?;
        Ok(self.attachment(lifetime, granted))
    }

    /// An attachment to a process over this connection, a client's or the log's.
    pub(in crate::init) async fn lease(&self, session: &Session, id: &ProcessId, log: bool) -> Result<Granted> {
        let (mut lease, [(_, out), (_, err)]) = Lease::open(session);
        lease.is_log = log;
        let (attachment, name) = (lease.number, id.to_string());
        let attach = |seq| ToInit::Attach {
            seq,
            attachment,
            id: name,
            log,
        };
        let FromInit::Attached {
            process: number,
            stdout_from,
            stderr_from,
            tty,
            exit,
            ..
        } = session.ask(attach).await?
        else {
            return Err(unexpected());
        };
        let process = {
            let mut table = self.table();
            let entry = table.processes.entry(id.clone());
            let new = || ProcessEntry {
                id: id.to_string(),
                process: number,
                pid: 0,
                tty,
                exit,
                log: 0,
            };
            entry.or_insert_with(|| Process::new(new(), id.clone()).into()).clone()
        };
        let begun = [(Stream::Stdout, stdout_from, out), (Stream::Stderr, stderr_from, err)];
        let begun = begun.map(|(stream, from, items)| Begun { stream, from, items });
        Ok(self.granted(lease, process, exit, tty, begun))
    }

    fn granted(
        &self,
        lease: Lease,
        process: Arc<Process>,
        exit: Option<Exit>,
        tty: bool,
        begun: [Begun; 2],
    ) -> Granted {
        if let Some(exit) = exit {
            self.process_ended(&process, exit);
        }
        let lease = lease.of(process.clone());
        if process.exit().is_some() {
            // Its end was told before anyone was attached.
            self.collect_later(process.clone());
        }
        Granted {
            lease: Arc::new(lease),
            process,
            tty,
            begun: begun.into(),
        }
    }

    fn attachment(&self, lifetime: u64, granted: Granted) -> Attachment {
        let (session, process, tty) = (granted.lease.session.clone(), granted.process.clone(), granted.tty);
        let readers = Leases::readers(self.clone(), lifetime, granted);
        Attachment::new(self.clone(), lifetime, session, process, tty, readers)
    }

    /// Forget an ended process at once.
    pub async fn collect(&self, id: &ProcessId) -> Result<()> {
        let session = self.session().await?;
        self.table().processes.remove(id);
        session.tell(&ToInit::Collect { id: id.to_string() });
        let _ = self.inner.events.send(LinkEvent::Collected { id: id.clone() });
        Ok(())
    }

    /// Signal every process but init.
    pub async fn signal_all(&self, signal: i32) -> Result<()> {
        let session = self.session().await?;
        session.ask(|seq| ToInit::SignalAll { seq, signal }).await.map(drop)
    }

    /// How many processes live besides init.
    pub async fn others(&self) -> Result<u32> {
        let session = self.session().await?;
        match session.ask(|seq| ToInit::List { seq }).await? {
            FromInit::Listed { others, .. } => Ok(others),
            _ => Err(unexpected()),
        }
    }
}

fn unexpected() -> Error {
    Error::Unreachable("it gave an answer to another question".into())
}
