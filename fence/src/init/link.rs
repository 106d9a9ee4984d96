//! The lasting tie to one container's init, over as many connections as it takes.
//!
//! A link owns the container's socket and its table of processes. Its task accepts connections from the container's
//! first process alone, keeps the newest one as the session, and reports through [`LinkEvent`]s.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fence_init::protocol::{Exit, Failure, FailureKind, FromInit, ProcessEntry, SpawnSpec, Stream, ToInit};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::attachment::{Attachment, Lease};
use super::listener;
use super::output::OutputReader;
use super::process::Process;
use super::session::{Driver, MAX_STRANGERS, Notice, Session};
use super::{Error, Result};
use crate::container::ProcessId;

/// How long a request waits for init to be connected.
const CONNECTED: Duration = Duration::from_secs(10);
/// How long an ended process whose end was told is kept for whoever still comes for its output.
const KEEP_ENDED: Duration = Duration::from_secs(60);
/// The most connections to one container's socket that are looked at at a time.
const MAX_GREETINGS: usize = 8;
/// The most ended processes kept without anyone having come for them; init keeps no more either.
const MAX_ENDED: usize = 1024;

/// Something the container's owner should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// Init is there, with these processes ended since somebody last looked.
    Connected,
    /// A process ended.
    Ended { id: ProcessId, exit: Exit },
}

/// The processes below one init.
#[derive(Default)]
struct Table {
    processes: HashMap<ProcessId, Arc<Process>>,
    /// Those whose start was asked for. One may end before the task that asked hears that it started.
    starting: HashMap<ProcessId, Option<Exit>>,
}

/// The tie to one container's init. Clones are the same tie; its task ends with [`Link::close`].
#[derive(Clone)]
pub struct Link {
    inner: Arc<Inner>,
}

struct Inner {
    session: watch::Sender<Option<Session>>,
    /// The pid of the container's first process, once it is known.
    expected: watch::Sender<Option<i32>>,
    table: Mutex<Table>,
    events: mpsc::UnboundedSender<LinkEvent>,
    /// Ends the session in force; a new one replaces the one before.
    serving: Mutex<CancellationToken>,
    /// Connections that are being looked at.
    greetings: Semaphore,
    refusal_told: AtomicBool,
    stop: CancellationToken,
}

impl Link {
    /// Listen for the init of the container that `directory` is (or will be) mounted into. Nobody is let in before
    /// [`Link::expect`] said who.
    pub fn listen(directory: &Path) -> Result<(Link, mpsc::UnboundedReceiver<LinkEvent>)> {
        let listener = listener::listen(directory)?;
        let (events, receiver) = mpsc::unbounded_channel();
        let inner = Inner {
            session: watch::Sender::new(None),
            expected: watch::Sender::new(None),
            table: Mutex::default(),
            events,
            serving: Mutex::default(),
            greetings: Semaphore::new(MAX_GREETINGS),
            refusal_told: AtomicBool::new(false),
            stop: CancellationToken::new(),
        };
        let link = Link { inner: Arc::new(inner) };
        let task = link.clone();
        tokio::spawn(async move {
            let stop = task.inner.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = task.accept(listener) => {}
            }
            task.inner.session.send_replace(None);
        });
        Ok((link, receiver))
    }

    /// The container's first process is this one.
    pub fn expect(&self, pid: i32) {
        self.inner.expected.send_if_modified(|known| {
            let new = *known != Some(pid);
            *known = Some(pid);
            new
        });
    }

    /// The container's first process is no more, and with it all others.
    pub fn ended(&self) {
        self.inner.expected.send_replace(None);
        self.inner.session.send_replace(None);
        self.serving().cancel();
        let ended: Vec<Arc<Process>> = self.table().processes.drain().map(|(_, process)| process).collect();
        for process in ended {
            process.vanished();
            self.process_ended(&process, Exit::Signal(nix::libc::SIGKILL));
        }
    }

    /// The container is no more: end the tie.
    pub fn close(&self) {
        self.ended();
        self.inner.stop.cancel();
    }

    /// Wait until init is connected.
    pub async fn connected(&self) -> Result<()> {
        self.session().await.map(drop)
    }

    /// Whether init is connected at this moment.
    pub fn is_connected(&self) -> bool {
        self.inner.session.borrow().is_some()
    }

    /// The processes that run, or ended and were not collected.
    pub fn list(&self) -> Vec<Arc<Process>> {
        let mut list: Vec<_> = self.table().processes.values().cloned().collect();
        list.sort_by_key(|process| process.number);
        list
    }

    /// One process.
    pub fn process(&self, id: &ProcessId) -> Option<Arc<Process>> {
        self.table().processes.get(id).cloned()
    }

    /// Start a process and attach to it from its first byte. Returns once its program runs.
    pub async fn spawn(&self, spec: SpawnSpec, id: ProcessId) -> Result<Attachment> {
        let session = self.session().await?;
        if self.table().starting.insert(id.clone(), None).is_some() {
            let message = format!("process id {id} is being started already");
            return Err(Error::Refused(Failure {
                kind: FailureKind::ProcessExists,
                message,
            }));
        }
        let attachment = session.next_attachment();
        let outlets = [Stream::Stdout, Stream::Stderr].map(|stream| (stream, session.open_outlet(attachment, stream)));
        let tty = spec.tty.is_some();
        let spec = Box::new(spec);
        let answer = session.ask(|seq| ToInit::Spawn { seq, attachment, spec }).await;
        let (number, pid) = match answer {
            Ok(FromInit::Spawned { process, pid, .. }) => (process, pid),
            other => {
                self.table().starting.remove(&id);
                session.close_outlets(attachment);
                let error = other.err().unwrap_or_else(unexpected);
                if error.refusal().is_none() {
                    // It may run all the same, and nobody was told of it.
                    let (id, signal) = (id.to_string(), nix::libc::SIGKILL);
                    session.tell(&ToInit::Signal { seq: 0, id, signal });
                }
                return Err(error);
            }
        };
        let process = Arc::new(Process::new(id.clone(), number, pid, tty, None));
        let ended = {
            let mut table = self.table();
            table.processes.insert(id.clone(), process.clone());
            table.starting.remove(&id).flatten()
        };
        if let Some(exit) = ended {
            self.process_ended(&process, exit);
        }
        let readers = outlets.map(|(stream, items)| (stream, 0, items));
        Ok(self.attachment(process, session, attachment, tty, readers))
    }

    /// Attach to a process that runs, or ended and was not collected.
    pub async fn attach(&self, id: &ProcessId) -> Result<Attachment> {
        let session = self.session().await?;
        let attachment = session.next_attachment();
        let [out, err] = [Stream::Stdout, Stream::Stderr].map(|stream| session.open_outlet(attachment, stream));
        let name = id.to_string();
        let answer = session
            .ask(|seq| ToInit::Attach {
                seq,
                attachment,
                id: name,
            })
            .await;
        let (number, from, tty, exit) = match answer {
            Ok(FromInit::Attached {
                process,
                stdout_from,
                stderr_from,
                tty,
                exit,
                ..
            }) => (process, (stdout_from, stderr_from), tty, exit),
            other => {
                session.close_outlets(attachment);
                let error = other.err().unwrap_or_else(unexpected);
                return Err(error);
            }
        };
        let process = {
            let mut table = self.table();
            let entry = table.processes.entry(id.clone());
            entry
                .or_insert_with(|| Process::new(id.clone(), number, 0, tty, exit).into())
                .clone()
        };
        if let Some(exit) = exit {
            self.process_ended(&process, exit);
        }
        let readers = [(Stream::Stdout, from.0, out), (Stream::Stderr, from.1, err)];
        Ok(self.attachment(process, session, attachment, tty, readers))
    }

    /// Forget an ended process at once.
    pub async fn collect(&self, id: &ProcessId) -> Result<()> {
        let session = self.session().await?;
        self.table().processes.remove(id);
        session.tell(&ToInit::Collect { id: id.to_string() });
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

    fn attachment(
        &self,
        process: Arc<Process>,
        session: Session,
        number: u32,
        tty: bool,
        readers: [(Stream, u64, mpsc::UnboundedReceiver<super::output::Item>); 2],
    ) -> Attachment {
        let lease = Lease::new(session.clone(), number, process.clone());
        let outputs =
            readers.map(|(stream, from, items)| (stream, OutputReader::new(lease.clone(), stream, from, items)));
        if process.exit().is_some() {
            // Its end was told before anyone was attached.
            self.collect_later(process.clone());
        }
        Attachment::new(process, session, tty, outputs.into())
    }

    async fn session(&self) -> Result<Session> {
        let stopped = || Error::Unreachable("the container does not run".into());
        let mut sessions = self.inner.session.subscribe();
        // Nobody will connect where no first process is expected.
        if sessions.borrow().is_none() && self.inner.expected.borrow().is_none() {
            return Err(stopped());
        }
        let found = tokio::time::timeout(CONNECTED, sessions.wait_for(Option::is_some)).await;
        match found {
            Ok(Ok(session)) => session.clone().ok_or_else(stopped),
            Ok(Err(_)) => Err(stopped()),
            Err(_) => Err(Error::Unreachable(format!(
                "it is not connected, also after {} s",
                CONNECTED.as_secs()
            ))),
        }
    }

    async fn accept(&self, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let link = self.clone();
                    tokio::spawn(async move { link.greet(stream).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection from a container");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Let the peer in if it is the container's first process, and serve it until the connection ends.
    async fn greet(&self, stream: UnixStream) {
        // Whoever floods the socket waits for its own earlier tries.
        let Ok(greeting) = self.inner.greetings.try_acquire() else {
            return;
        };
        let pid = listener::peer_pid(&stream);
        let mut expected = self.inner.expected.subscribe();
        let is_init = async { matches!(expected.wait_for(Option::is_some).await, Ok(known) if *known == pid) };
        if !tokio::time::timeout(CONNECTED, is_init).await.unwrap_or(false) {
            // Once: processes of the container can try this as often as they like.
            if !self.inner.refusal_told.swap(true, Ordering::AcqRel) {
                tracing::warn!(
                    ?pid,
                    "refused a connection to a container's socket: not its first process"
                );
            }
            return;
        }
        let opened = Session::open(stream).await;
        drop(greeting);
        match opened {
            Ok((session, processes, driver)) => self.serve(session, processes, driver).await,
            Err(error) => tracing::warn!(%error, ?pid, "a container's first process was refused"),
        }
    }

    async fn serve(&self, session: Session, processes: Vec<ProcessEntry>, driver: Driver) {
        let serving = CancellationToken::new();
        let before = std::mem::replace(&mut *self.serving(), serving.clone());
        before.cancel();
        self.take_over(&processes);
        self.inner.session.send_replace(Some(session.clone()));
        let _ = self.inner.events.send(LinkEvent::Connected);
        let link = self.clone();
        let stop = self.inner.stop.clone();
        let mut strangers = 0;
        tokio::select! {
            reason = driver.run(|notice| link.notice(notice, &mut strangers)) => tracing::debug!(reason, "a container's first process is disconnected"),
            () = serving.cancelled() => {}
            () = stop.cancelled() => {}
        }
        session.close();
        self.inner.session.send_if_modified(|current| {
            let own = current.as_ref().is_some_and(|current| current.is(&session));
            if own {
                *current = None;
            }
            own
        });
    }

    /// The table is what init says it is.
    fn take_over(&self, listed: &[ProcessEntry]) {
        let mut fresh = HashMap::new();
        for entry in listed {
            let Ok(id) = entry.id.parse::<ProcessId>() else {
                continue;
            };
            let process = Process::new(id.clone(), entry.process, entry.pid, entry.tty, entry.exit);
            fresh.insert(id, Arc::new(process));
        }
        let old = std::mem::replace(&mut self.table().processes, fresh);
        for (id, process) in old {
            match self.process(&id).map(|known| known.exit()) {
                // Waiters hold the old entry: pass on to them what comes.
                Some(Some(exit)) => self.process_ended(&process, exit),
                Some(None) => self.follow(process, &id),
                None => self.process_ended(&process, Exit::Signal(nix::libc::SIGKILL)),
            }
        }
    }

    fn follow(&self, old: Arc<Process>, id: &ProcessId) {
        if let Some(new) = self.process(id) {
            tokio::spawn(async move { old.ended(new.wait().await) });
        }
    }

    fn notice(&self, notice: Notice, strangers: &mut u32) -> bool {
        match notice {
            Notice::Exited { id, exit } => {
                let Ok(id) = id.parse::<ProcessId>() else { return false };
                let process = {
                    let mut table = self.table();
                    let known = table
                        .processes
                        .get(&id)
                        .filter(|process| process.exit().is_none())
                        .cloned();
                    // A second process of that name may have been asked for, which init refuses.
                    if let (None, Some(starting)) = (&known, table.starting.get_mut(&id)) {
                        *starting = Some(exit);
                        return true;
                    }
                    known
                };
                match process {
                    Some(process) => {
                        self.process_ended(&process, exit);
                        if process.is_attached() {
                            self.collect_later(process);
                        }
                        self.bound_ended();
                    }
                    // Its start was given up; nobody will ever come for it.
                    None => {
                        *strangers += 1;
                        self.forget(&id);
                    }
                }
                *strangers <= MAX_STRANGERS
            }
            Notice::InputAck { process, upto } => {
                let found = self
                    .table()
                    .processes
                    .values()
                    .find(|known| known.number == process)
                    .cloned();
                found.is_none_or(|process| process.input_acked(upto))
            }
        }
    }

    fn process_ended(&self, process: &Process, exit: Exit) {
        if process.ended(exit) {
            let _ = self.inner.events.send(LinkEvent::Ended {
                id: process.id.clone(),
                exit,
            });
        }
    }

    fn forget(&self, id: &ProcessId) {
        if let Some(session) = self.inner.session.borrow().as_ref() {
            session.tell(&ToInit::Collect { id: id.to_string() });
        }
    }

    /// Forget the process a while after its end was told, once nobody reads its output any more.
    fn collect_later(&self, process: Arc<Process>) {
        // How main ended is for the supervisor, who may not be able to write it down for a while.
        if process.id == ProcessId::main() {
            return;
        }
        let link = self.clone();
        let stop = self.inner.stop.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(KEEP_ENDED) => {}
                }
                if !process.is_attached() {
                    break;
                }
            }
            let ours = link
                .process(&process.id)
                .is_some_and(|known| Arc::ptr_eq(&known, &process));
            if ours {
                let _ = link.collect(&process.id).await;
            }
        });
    }

    fn bound_ended(&self) {
        let processes = &mut self.table().processes;
        let mut ended: Vec<_> = processes
            .values()
            .filter(|p| p.exit().is_some() && !p.is_attached())
            .cloned()
            .collect();
        if ended.len() > MAX_ENDED {
            ended.sort_by_key(|process| process.number);
            for process in &ended[..ended.len() - MAX_ENDED] {
                processes.remove(&process.id);
            }
        }
    }

    fn serving(&self) -> MutexGuard<'_, CancellationToken> {
        self.inner.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.inner.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unexpected() -> Error {
    Error::Unreachable("it gave an answer to another question".into())
}
