//! The node's report, written soon after something has changed, and now and then although nothing has.

use std::time::Duration;

use cluster::nodes::Report;
use cluster::nodes::report::{REPORT_EVERY, report_key};
use cluster::store::{Error, Result, Txn};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Member, Patience, observe};

/// How long more changes are waited for after one.
const GATHER: Duration = Duration::from_millis(100);
/// How soon a fence that is behind, or that is being retired, is asked again.
const BEHIND: Duration = Duration::from_secs(1);

/// Keep the report, for ever.
pub async fn keep(member: &Member) {
    let mut patience = Patience::new("report how this node is");
    let mut stirred = member.desk.supervisor.stirred().subscribe();
    let mut record_seen = member.record_seen.subscribe();
    let (mut written, mut due) = (None::<Report>, Instant::now());
    loop {
        // What is stirred from here on makes another report.
        stirred.mark_unchanged();
        // Who removes a node removes its report as well; one that is let in again needs it.
        let anew = record_seen.has_changed().unwrap_or(false);
        record_seen.mark_unchanged();
        let report = observe::report(member).await;
        let is_news = anew || !written.as_ref().is_some_and(|written| report.says_the_same(written));
        if is_news || Instant::now() >= due {
            if let Err(error) = write(member, &report).await {
                written = None;
                patience.wait(&error).await;
                continue;
            }
            patience.restore();
            due = Instant::now() + REPORT_EVERY;
        }
        let is_behind = report.config_revision < *member.config_revision.borrow();
        let is_emptied = report.retiring.is_some_and(|retiring| retiring.active > 0);
        written = Some(report);
        let look_again = if is_behind || is_emptied {
            due.min(Instant::now() + BEHIND)
        } else {
            due
        };
        tokio::select! {
            () = sleep_until(look_again) => {}
            _ = stirred.changed() => sleep(GATHER).await,
        }
    }
}

async fn write(member: &Member, report: &Report) -> Result<()> {
    let key = report_key(member.node.borrow().id);
    let value = serde_json::to_vec(report).map_err(|source| Error::Failed {
        attempt: "write a report",
        place: key.clone(),
        source: Box::new(source),
    })?;
    member.store.txn(Txn::new().put(key, value)).await.map(drop)
}
