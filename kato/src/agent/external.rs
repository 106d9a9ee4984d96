//! Looks at a process that somebody else starts and stops: whether it answers, nothing more.

use std::sync::Arc;
use std::time::Duration;

use cluster::process::{Observed, State, Wanted};
use jiff::Timestamp;
use tokio::sync::watch;

use super::backoff::Timing;
use super::probe::Probe;
use super::worker::ask_after;

/// Look at the process until the agent ends.
pub async fn watch_over(probe: Arc<dyn Probe>, show: watch::Sender<Observed>, timing: Timing) {
    let mut wait = Duration::ZERO;
    loop {
        let answer = ask_after(wait, &*probe, timing.answer_within).await;
        let (state, next) = match answer.problem.is_empty() {
            true => (State::Running, timing.ask_running),
            false => (State::Stopped, timing.next_question(wait)),
        };
        wait = next;
        show.send_if_modified(|shown| {
            let changed = shown.state != state || shown.problem != answer.problem || shown.since.is_none();
            if changed {
                let since = if shown.state == state { shown.since } else { None };
                *shown = Observed {
                    state,
                    pid: answer.pid,
                    since: since.or_else(|| Some(Timestamp::now())),
                    problem: answer.problem.clone(),
                    ..Observed::stopped(shown.process, Wanted::External)
                };
            }
            changed
        });
    }
}
