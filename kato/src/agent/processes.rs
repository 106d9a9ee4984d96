//! Which processes the agent looks after, each with its worker: taken on and let go while the agent runs.
//!
//! What may be ordered and in which order is the supervisor's matter.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use cluster::process::{Observed, Process, Wanted};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::backoff::Timing;
use super::external;
use super::memory::{Memory, Wish};
use super::probe::Probe;
use super::process_control::ProcessControl;
use super::table::Entry;
use super::worker::Worker;

/// What all workers share.
pub struct Shared {
    /// What outlives the agent.
    pub memory: Arc<Memory>,
    /// Who starts and ends processes.
    pub control: Arc<dyn ProcessControl>,
    /// The times to go by.
    pub timing: Timing,
    /// Told whenever something is seen anew of a process.
    pub stirred: watch::Sender<()>,
}

/// What is needed to deal with one process. Its worker ends with it; the process stays.
pub struct Desk {
    /// `None` where somebody else starts and stops it.
    pub wish: Option<watch::Sender<Wish>>,
    /// What is seen of it.
    pub seen: watch::Receiver<Observed>,
    /// How it is asked.
    pub probe: Arc<dyn Probe>,
    /// Where its output goes.
    pub log: PathBuf,
    _tasks: [AbortOnDropHandle<()>; 2],
}

/// All that are looked after.
pub struct Processes {
    desks: RwLock<BTreeMap<Process, Arc<Desk>>>,
    /// What all workers share.
    pub shared: Shared,
}

impl Processes {
    /// None yet.
    pub fn new(shared: Shared) -> Self {
        let desks = RwLock::default();
        Processes { desks, shared }
    }

    /// Begin to look after a process; those that it needs must be there already. One that is looked after stays as it is.
    pub fn take_on(&self, entry: Entry) {
        let mut desks = self.desks.write().unwrap_or_else(PoisonError::into_inner);
        if !desks.contains_key(&entry.process) {
            let process = entry.process;
            let desk = Desk::open(entry, &desks, &self.shared);
            desks.insert(process, Arc::new(desk));
        }
    }

    /// Look after a process no more. If it runs, it goes on.
    pub fn let_go(&self, process: Process) {
        let mut desks = self.desks.write().unwrap_or_else(PoisonError::into_inner);
        desks.remove(&process);
        drop(desks);
        self.shared.stirred.send_replace(());
    }

    /// One of them.
    pub fn get(&self, process: Process) -> Option<Arc<Desk>> {
        self.read().get(&process).cloned()
    }

    /// All of them, in the order of starting.
    pub fn all(&self) -> BTreeMap<Process, Arc<Desk>> {
        self.read().clone()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Process, Arc<Desk>>> {
        // The map is changed by single calls, so that it is sound whoever panicked.
        self.desks.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    /// Begin to look after one process; `others` may be among those that it needs.
    fn open(entry: Entry, others: &BTreeMap<Process, Arc<Desk>>, shared: &Shared) -> Self {
        let process = entry.process;
        let (probe, log) = (entry.probe, entry.log);
        let Some(launch) = entry.launch else {
            let (show, seen) = watch::channel(Observed::stopped(process, Wanted::External));
            let look = external::watch_over(Arc::clone(&probe), show, shared.timing);
            let _tasks = [spawn(look), spawn(tell(seen.clone(), shared.stirred.clone()))];
            let wish = None;
            return Desk {
                wish,
                seen,
                probe,
                log,
                _tasks,
            };
        };
        let (show, seen) = watch::channel(Observed::stopped(process, Wanted::Running));
        let (wish, wishes) = watch::channel(shared.memory.wish(process));
        let needs = process.needs().iter();
        let needs = needs.filter_map(|need| Some(others.get(need)?.seen.clone())).collect();
        let worker = Worker {
            launch,
            probe: Arc::clone(&probe),
            control: Arc::clone(&shared.control),
            memory: Arc::clone(&shared.memory),
            timing: shared.timing,
            needs,
            wish: wishes,
            seen: show,
        };
        let _tasks = [spawn(worker.run()), spawn(tell(seen.clone(), shared.stirred.clone()))];
        Desk {
            wish: Some(wish),
            seen,
            probe,
            log,
            _tasks,
        }
    }
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
}

/// Tell whoever waits that something was seen, for as long as it is looked at.
async fn tell(mut seen: watch::Receiver<Observed>, stirred: watch::Sender<()>) {
    while seen.changed().await.is_ok() {
        stirred.send_replace(());
    }
}
