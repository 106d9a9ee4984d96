//! Orders to processes of other nodes, by way of the tree: placed, and waited for until each node's report confirms them.
//!
//! Nodes do them at the same time, each its processes one after the other. A dead node is told at once; one that dies
//! or does not confirm costs no more than the bound.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cluster::nodes::{Role, State, States};
use cluster::process::{self, Observed, OrderAction, Process, Wanted, in_start_order, in_stop_order, of_roles};
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{Cloud, Context, Seen, by};
use crate::error::{Error, Exit, Kind, Result, chain};
use crate::ui::Progress;

/// How soon a store that failed is read again.
const AGAIN: Duration = Duration::from_millis(500);
/// How much longer than the agent's own bound its answer is waited for.
const GRACE: Duration = Duration::from_secs(2);

/// What is ordered.
pub struct Orders {
    /// What is to be done.
    pub action: OrderAction,
    /// With which processes, where they were named; nodes that do not have one are left alone with it.
    pub processes: Vec<Process>,
    /// Else with those of which roles that their agent starts and stops; none = all, but the config store.
    pub roles: Vec<Role>,
    /// How long one process may take.
    pub within: Duration,
}

/// Give these orders to these nodes and say what became of them.
pub async fn give(context: &Context, cloud: &Cloud, nodes: &[Seen], orders: &Orders) -> Result<Exit> {
    check(orders)?;
    let sender = watch::Sender::new(None);
    let waiting = Waiting::new(context, nodes);
    let one = |node: &Seen| {
        let (node, states, waiting) = (node.clone(), sender.subscribe(), &waiting);
        async move {
            let done = on_node(cloud, &node, orders, states).await;
            waiting.no_more_for(&node);
            (node, done)
        }
    };
    // Members of the config store one after the other, so that it stays up.
    let all = async {
        if orders.names(Process::Config) {
            let mut all = Vec::new();
            for node in nodes {
                all.push(one(node).await);
            }
            return all;
        }
        join_all(nodes.iter().map(one)).await
    };
    let results = tokio::select! {
        results = all => results,
        () = follow(cloud, &sender) => Vec::new(),
    };
    drop(waiting);
    tell(context, orders, results)
}

/// The nodes that are still waited for, shown on a terminal.
struct Waiting {
    progress: Progress,
    open: Mutex<BTreeSet<String>>,
}

impl Waiting {
    fn new(context: &Context, nodes: &[Seen]) -> Self {
        let open: BTreeSet<String> = nodes.iter().map(|node| node.record.name.to_string()).collect();
        Waiting {
            progress: context.ui.progress(&text(&open)),
            open: Mutex::new(open),
        }
    }

    fn no_more_for(&self, node: &Seen) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(node.record.name.as_str());
        self.progress.update(&text(&open));
    }
}

fn text(open: &BTreeSet<String>) -> String {
    let names: Vec<&str> = open.iter().map(String::as_str).collect();
    format!("waiting for {}", names.join(", "))
}

type Done = Result<Vec<Observed>>;

fn check(orders: &Orders) -> Result<()> {
    if orders.processes.contains(&Process::Agent) {
        let message = "the agent of another node cannot be started and stopped from here";
        return Err(Error::refused(message).hint("on that node: kato process restart agent"));
    }
    if orders.action == OrderAction::Stop && orders.names(Process::Config) {
        let message = "the config store of another node cannot be stopped from here: orders go through it";
        return Err(Error::refused(message).hint("kato role remove -n NODE config"));
    }
    Ok(())
}

/// Say what became of the orders; the exit code of all of them.
fn tell(context: &Context, orders: &Orders, results: Vec<(Seen, Done)>) -> Result<Exit> {
    let (mut failed, total) = (Vec::new(), results.len());
    for (node, done) in results {
        let name = &node.record.name;
        match done {
            Ok(seen) => {
                for seen in seen {
                    let pid = seen.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
                    let word = past(orders.action);
                    context.ui.say(&format!("{name}: {} {word}{pid}", seen.process));
                }
            }
            // Who may not order this node may order none.
            Err(why) if why.kind() == Kind::Refused => return Err(why),
            Err(why) => failed.push(format!("{name}: {}", chain(&why))),
        }
    }
    unless_failed(failed, total)
}

/// Done, unless these of `total` nodes failed.
pub fn unless_failed(failed: Vec<String>, total: usize) -> Result<Exit> {
    match failed.len() {
        0 => Ok(Exit::Done),
        1 if total == 1 => Err(Error::unreachable(failed.join(", ")).hint("kato status")),
        some => {
            let kind = if some == total { Kind::Unreachable } else { Kind::Partly };
            let message = format!("{some} of {total} nodes did not do it");
            Err(Error::new(kind, message).detail(failed).hint("kato status"))
        }
    }
}

fn past(action: OrderAction) -> &'static str {
    match action {
        OrderAction::Start => "started",
        OrderAction::Stop => "stopped",
        OrderAction::Restart => "restarted",
    }
}

impl Orders {
    /// Whether a process is meant by its name or its role's.
    fn names(&self, process: Process) -> bool {
        self.processes.contains(&process) || of_roles(&self.roles).contains(&process)
    }
}

/// The processes of a node that are meant.
fn processes(node: &Seen, orders: &Orders) -> Vec<Process> {
    let report = node.state.report.as_ref();
    let is_external = |process: Process| {
        let seen = report.and_then(|report| report.process(process));
        seen.is_some_and(|seen| seen.wanted == Wanted::External)
    };
    let is_meant = |process: &Process| match (orders.processes.is_empty(), orders.roles.is_empty()) {
        (false, _) => orders.processes.contains(process),
        (true, false) => orders.names(*process) && *process != Process::Agent && !is_external(*process),
        (true, true) => !matches!(process, Process::Agent | Process::Config) && !is_external(*process),
    };
    let mut meant = of_roles(&node.record.roles);
    meant.retain(is_meant);
    match orders.action {
        OrderAction::Stop => in_stop_order(&meant),
        _ => in_start_order(&meant),
    }
}

async fn on_node(cloud: &Cloud, node: &Seen, orders: &Orders, mut states: watch::Receiver<Option<States>>) -> Done {
    let mut done = Vec::new();
    for process in processes(node, orders) {
        if !node.is_alive() {
            return Err(Error::unreachable(node.life()));
        }
        let by = by();
        let give = process::give(
            cloud.store.as_ref(),
            node.record.id,
            process,
            orders.action,
            orders.within,
            &by,
        );
        let number = timeout(super::WITHIN, give)
            .await
            .map_err(|_| Error::unreachable("the config tree gave no answer"))?
            .map_err(|error| super::store(error, "the order could not be given".to_owned()))?;
        let seen = confirmed(node, process, number, orders, &mut states)
            .await
            .map_err(Error::unreachable)?;
        done.extend(seen);
    }
    Ok(done)
}

/// Wait until the node's report has the answer to an order.
async fn confirmed(
    node: &Seen,
    process: Process,
    number: u64,
    orders: &Orders,
    states: &mut watch::Receiver<Option<States>>,
) -> std::result::Result<Option<Observed>, String> {
    let deadline = Instant::now() + orders.within + GRACE;
    let answer = |state: &State| {
        let report = state.report.as_ref()?;
        let answered = report
            .orders
            .get(&process)
            .filter(|answered| answered.number >= number)?;
        Some((answered.problem.clone(), report.process(process).cloned()))
    };
    let state_of = |states: &Option<States>| states.as_ref().map(|states| states.of(node.record.id));
    let over = |states: &Option<States>| {
        state_of(states).is_some_and(|state| state.alive.is_none() || answer(&state).is_some())
    };
    let found = match timeout_at(deadline, states.wait_for(over)).await {
        Ok(Ok(found)) => state_of(&found),
        _ => None,
    };
    match found.as_ref().map(|state| (answer(state), state)) {
        Some((Some((problem, seen)), _)) if problem.is_empty() => Ok(seen),
        Some((Some((problem, _)), _)) => Err(problem),
        Some((None, state)) => Err(Seen {
            record: node.record.clone(),
            state: state.clone(),
        }
        .life()),
        None => Err(format!(
            "{process} was not confirmed within {} s",
            orders.within.as_secs()
        )),
    }
}

/// Follow the states of all nodes; never returns.
pub async fn follow(cloud: &Cloud, told: &watch::Sender<Option<States>>) {
    loop {
        // What is wrong with the store shows by what is not confirmed.
        let _ = follow_once(cloud, told).await;
        sleep(AGAIN).await;
    }
}

async fn follow_once(cloud: &Cloud, told: &watch::Sender<Option<States>>) -> cluster::store::Result<()> {
    let mut states = States::read(cloud.store.as_ref()).await?;
    let mut watch = states.watch(cloud.store.as_ref()).await?;
    loop {
        told.send_replace(Some(states.clone()));
        states.apply(watch.next().await?);
    }
}
