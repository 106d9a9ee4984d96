//! Has the node's fence try the image that is wished to be tried, once.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{info, warn};

use super::super::told::{MAX_LINES, Trial, TrialState, short};
use super::super::wish;
use super::Node;

/// How soon what is left of a trial is cleared away again, where that failed.
const AGAIN: Duration = Duration::from_secs(5);

impl Node {
    /// Try what is wished, for ever.
    pub(super) async fn have_tried(&self) {
        let mut wishes = self.wishes.clone();
        loop {
            let wanted = wishes.borrow_and_update().trial.clone();
            let is_gone = async {
                let _ = wishes.wait_for(|now| now.trial != wanted).await;
            };
            let do_it = async {
                match &wanted {
                    None => self.clear_away().await,
                    Some(trial) => self.have_tried_one(trial).await,
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = do_it => {}
                () = is_gone => {}
            }
            if wishes.has_changed().is_err() {
                return;
            }
        }
    }

    async fn clear_away(&self) {
        self.state().trial = None;
        self.stir();
        while !self.parts.fence.clear().await {
            sleep(AGAIN).await;
        }
    }

    async fn have_tried_one(&self, wanted: &wish::Trial) {
        let told = |state| Trial {
            job: wanted.job,
            state,
            problem: String::new(),
            log: Vec::new(),
        };
        info!(image = wanted.exact, "tries an image");
        self.state().trial = Some(told(TrialState::Running));
        self.stir();
        let told = match self.parts.fence.try_out(wanted).await {
            Ok(()) => told(TrialState::Passed),
            Err(not) => {
                warn!(image = wanted.exact, problem = not.problem, "the image did not pass");
                let last = not.log.len().saturating_sub(MAX_LINES);
                Trial {
                    problem: short(&not.problem),
                    log: not.log[last..].iter().map(|line| short(line)).collect(),
                    ..told(TrialState::Failed)
                }
            }
        };
        self.state().trial = Some(told);
        self.stir();
        self.restocked.notify_one();
    }
}
