//! Orders from elsewhere, done through the supervisor: one after another for each process, the newest instead of those
//! that came before it.
//!
//! What became of an order is on disk before it is reported, so that it is not done again by the next agent.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster::process::{Answered, Order, OrderAction, Process, orders_prefix, read_orders};
use futures_util::future::join_all;
use tokio::sync::watch;
use tracing::{info, warn};

use super::Member;
use super::follow::follow;
use super::observe::MAX_PROBLEM;
use crate::agent::wire::LONGEST;
use crate::error::chain;

/// Do what is ordered, for ever.
pub async fn obey(member: &Member) {
    let prefix = orders_prefix(member.node.borrow().id);
    let (told, mut entries) = watch::channel(None);
    let orders = watch::Sender::new(BTreeMap::new());
    let read = async {
        while entries.changed().await.is_ok() {
            let now = read_orders(entries.borrow_and_update().as_deref().unwrap_or_default());
            orders.send_replace(now);
        }
    };
    let each = Process::ALL.map(|process| obey_for(member, process, orders.subscribe()));
    tokio::join!(
        follow(member.store.as_ref(), &prefix, "read what is ordered", &told),
        read,
        join_all(each)
    );
}

type Orders = BTreeMap<Process, Order>;

/// Do the orders for one process.
async fn obey_for(member: &Member, process: Process, mut orders: watch::Receiver<Orders>) {
    let memory = member.desk.supervisor.memory();
    let mut last = memory.order(process).map_or(0, |answered| answered.number);
    while let Some(order) = newer(&mut orders, process, last).await {
        info!(%process, action = ?order.action, number = order.number, by = order.by, "ordered from elsewhere");
        last = order.number;
        let mut later = orders.clone();
        let problem = tokio::select! {
            problem = carry_out(member, process, &order) => problem,
            // What is wanted now is another thing; that is answered then.
            _ = newer(&mut later, process, last) => continue,
        };
        let number = order.number;
        let problem = problem.chars().take(MAX_PROBLEM).collect();
        if let Err(error) = memory.set_order(process, Answered { number, problem }) {
            warn!(%process, error = chain(&error), "could not remember that an order was done");
        }
        member.stir();
    }
}

/// Wait for an order with a larger number; `None` when the agent ends.
async fn newer(orders: &mut watch::Receiver<Orders>, process: Process, last: u64) -> Option<Order> {
    let is_newer = |orders: &Orders| orders.get(&process).is_some_and(|order| order.number > last);
    let found = orders.wait_for(is_newer).await.ok()?;
    found.get(&process).cloned()
}

/// Do it; why it did not come about, or "".
async fn carry_out(member: &Member, process: Process, order: &Order) -> String {
    let supervisor = &member.desk.supervisor;
    if process == Process::Agent {
        return "the agent itself is started and stopped on its own node".to_owned();
    }
    let (only, within) = ([process], Duration::from_millis(order.within_ms).min(LONGEST));
    let done = match order.action {
        OrderAction::Start => supervisor.start(&only, within).await,
        OrderAction::Stop => supervisor.stop(&only, within).await,
        OrderAction::Restart => supervisor.restart(&only, within).await,
    };
    done.map_or_else(|error| chain(&error), |()| String::new())
}
