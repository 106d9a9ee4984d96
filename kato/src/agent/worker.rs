//! Keeps one process as it is wanted: starts or adopts it, watches it, starts it again with back-off, ends it.
//!
//! A task of its own per process owns that process; nobody else starts or ends it. Wishes come in, what is seen goes
//! out, each by a `watch`. The states are drawn in [`cluster::process`].

use std::sync::Arc;
use std::time::Duration;

use cluster::process::{Observed, Process, State, Wanted};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::backoff::Timing;
use super::memory::{Memory, Running, Wish};
use super::probe::{Answer, Probe};
use super::process_control::{Ask, Identity, Launch, ProcessControl};
use crate::error::chain;

/// One process and what is needed to look after it.
pub struct Worker {
    /// How it is started.
    pub launch: Launch,
    /// How it is asked whether it is ready.
    pub probe: Arc<dyn Probe>,
    /// Who starts and ends it.
    pub control: Arc<dyn ProcessControl>,
    /// What outlives the agent.
    pub memory: Arc<Memory>,
    /// The times to go by.
    pub timing: Timing,
    /// Those that should be ready before it is started.
    pub needs: Vec<watch::Receiver<Observed>>,
    /// What is wanted.
    pub wish: watch::Receiver<Wish>,
    /// What is seen.
    pub seen: watch::Sender<Observed>,
}

/// Why a process is no longer looked after as it was.
enum Left {
    /// Something else is wanted now, or the agent ends.
    Wish,
    /// It died or could not be started, after it had lived as long.
    Died { problem: String, lived: Duration },
}

impl Worker {
    /// Look after the process until the agent ends. The process stays.
    pub async fn run(mut self) {
        let mut deaths = 0;
        while self.wish.has_changed().is_ok() {
            let wish = *self.wish.borrow_and_update();
            if !wish.run {
                deaths = 0;
                self.rest(wish).await;
                continue;
            }
            match self.keep(wish).await {
                Left::Wish => deaths = 0,
                Left::Died { problem, lived } => {
                    deaths = if lived >= self.timing.healthy_after {
                        1
                    } else {
                        deaths + 1
                    };
                    self.back_off(wish, deaths, problem).await;
                }
            }
        }
    }

    fn process(&self) -> Process {
        self.launch.process
    }

    /// End the process, then wait until it is wanted again.
    async fn rest(&mut self, wish: Wish) {
        let again = match self.end_running().await {
            Ok(()) => {
                self.show(wish, State::Stopped, None, String::new());
                Duration::MAX
            }
            Err(problem) => {
                self.show(
                    wish,
                    State::Stopping,
                    self.memory.running(self.process()).as_ref(),
                    problem,
                );
                self.timing.longest_wait
            }
        };
        // Either end of the wait leads to another look; an error means that the agent ends.
        let _ = timeout(again, self.wish.changed()).await;
    }

    /// Have the process run until it dies or something else is wanted.
    async fn keep(&mut self, wish: Wish) -> Left {
        let running = match self.adopt_or_start(wish).await {
            Ok(Some(running)) => running,
            Ok(None) => return Left::Wish,
            Err(problem) => {
                return Left::Died {
                    problem,
                    lived: Duration::ZERO,
                };
            }
        };
        self.show(wish, State::Starting, Some(&running), String::new());
        let begun = Instant::now();
        let control = Arc::clone(&self.control);
        let ended = control.ended(&running.identity);
        tokio::pin!(ended);
        let mut wait = Duration::ZERO;
        loop {
            tokio::select! {
                end = &mut ended => {
                    let problem = end.map_or_else(|error| chain(&error), |end| end.to_string());
                    return Left::Died { problem, lived: begun.elapsed() };
                }
                changed = self.wish.changed() => {
                    if changed.is_err() || *self.wish.borrow_and_update() != wish {
                        return Left::Wish;
                    }
                }
                answer = ask_after(wait, &*self.probe, self.timing.answer_within) => {
                    wait = self.take_answer(wish, &running, answer, wait);
                }
            }
        }
    }

    /// Show what the answer means; the wait until the next question.
    fn take_answer(&self, wish: Wish, running: &Running, answer: Answer, waited: Duration) -> Duration {
        let was_ready = self.seen.borrow().state == State::Running;
        let is_ready = answer.problem.is_empty();
        if is_ready && !was_ready {
            info!(process = %self.process(), pid = running.identity.pid, "ready");
        }
        let state = if is_ready || was_ready {
            State::Running
        } else {
            State::Starting
        };
        self.show(wish, state, Some(running), answer.problem);
        if is_ready {
            self.timing.ask_running
        } else {
            self.timing.next_question(waited)
        }
    }

    /// The process that runs for this wish: the one that does already, or a new one. `None`: the wish changed.
    async fn adopt_or_start(&mut self, wish: Wish) -> Result<Option<Running>, String> {
        if let Some(running) = self.alive().await?
            && running.generation == wish.generation
        {
            return Ok(Some(running));
        }
        self.end_running().await?;
        if let Some(running) = self.found_by_its_answer(wish).await? {
            return Ok(Some(running));
        }
        self.show(wish, State::Starting, None, String::new());
        if !self.wait_for_what_is_missing(wish).await || !self.wait_for_needs(wish).await {
            return Ok(None);
        }
        let identity = self.control.start(&self.launch).await.map_err(|error| chain(&error))?;
        info!(process = %self.process(), pid = identity.pid, "started");
        let running = Running {
            identity,
            generation: wish.generation,
            since: Timestamp::now(),
        };
        match self.remember(running.clone()) {
            Ok(()) => Ok(Some(running)),
            Err(problem) => {
                // What the next agent would not know of must not stay.
                self.end(&running).await?;
                Err(problem)
            }
        }
    }

    /// The process that an agent before this one started and could not remember any more.
    async fn found_by_its_answer(&self, wish: Wish) -> Result<Option<Running>, String> {
        let answer = ask_after(Duration::ZERO, &*self.probe, self.timing.answer_within).await;
        let Some(pid) = answer.pid else { return Ok(None) };
        let found = self.control.identify(pid).await.map_err(|error| chain(&error))?;
        let Some(identity) = found else { return Ok(None) };
        // A pid that was written down may be another process's by now.
        let ours = self.control.runs(&identity, &self.launch).await;
        if !ours.map_err(|error| chain(&error))? {
            warn!(process = %self.process(), pid, "not adopted: that pid belongs to another program");
            return Ok(None);
        }
        info!(process = %self.process(), pid, "adopted");
        let running = Running {
            identity,
            generation: wish.generation,
            since: Timestamp::now(),
        };
        self.remember(running.clone()).map(|()| Some(running))
    }

    fn remember(&self, running: Running) -> Result<(), String> {
        self.memory
            .set_running(self.process(), Some(running))
            .map_err(|error| chain(&error))
    }

    /// The remembered process, if it lives.
    async fn alive(&self) -> Result<Option<Running>, String> {
        let Some(running) = self.memory.running(self.process()) else {
            return Ok(None);
        };
        let alive = self
            .control
            .is_alive(&running.identity)
            .await
            .map_err(|error| chain(&error))?;
        Ok(alive.then_some(running))
    }

    /// Wait until the process can be started at all; `false` if the wish changed meanwhile.
    async fn wait_for_what_is_missing(&mut self, wish: Wish) -> bool {
        while let Some(missing) = self.probe.missing() {
            self.show(wish, State::Starting, None, missing.to_owned());
            // Not being changed within the time leads to another look; an error means that the agent ends.
            if let Ok(changed) = timeout(self.timing.ask_running, self.wish.changed()).await
                && (changed.is_err() || *self.wish.borrow() != wish)
            {
                return false;
            }
        }
        self.show(wish, State::Starting, None, String::new());
        true
    }

    /// Wait, within bounds, until those it needs are ready; `false` if the wish changed meanwhile.
    async fn wait_for_needs(&mut self, wish: Wish) -> bool {
        let needs = self.needs.clone();
        let all_ready = async {
            for mut need in needs {
                // One that shall not run is not waited for; an error means that the agent ends.
                let _ = need.wait_for(|seen| seen.is_ready() || !seen.wanted.is_running()).await;
            }
        };
        tokio::select! {
            waited = timeout(self.timing.needs_within, all_ready) => {
                if waited.is_err() {
                    warn!(process = %self.process(), "started although what it needs is not ready");
                }
                true
            }
            changed = self.wish.changed() => changed.is_ok() && *self.wish.borrow() == wish,
        }
    }

    /// End the remembered process: in its own time, else at once.
    async fn end_running(&self) -> Result<(), String> {
        if let Some(running) = self.alive().await? {
            let wish = *self.wish.borrow();
            self.show(wish, State::Stopping, Some(&running), String::new());
            self.end(&running).await?;
            info!(process = %self.process(), pid = running.identity.pid, "stopped");
        }
        self.memory
            .set_running(self.process(), None)
            .map_err(|error| chain(&error))
    }

    async fn end(&self, running: &Running) -> Result<(), String> {
        end_process(&*self.control, &running.identity, &self.timing).await
    }

    /// Wait before the next start, unless something else is wanted.
    async fn back_off(&mut self, wish: Wish, deaths: u32, problem: String) {
        let wait = self.timing.wait_after(deaths);
        warn!(process = %self.process(), deaths, ?wait, problem, "not running");
        self.show(wish, self.timing.state_after(deaths), None, problem);
        tokio::select! {
            () = sleep(wait) => {}
            // An error means that the agent ends.
            _ = self.wish.changed() => {}
        }
    }

    fn show(&self, wish: Wish, state: State, running: Option<&Running>, problem: String) {
        let was = self.seen.borrow().clone();
        let since = match running {
            Some(running) => Some(running.since),
            None if was.state == state && was.pid.is_none() => was.since,
            None => Some(Timestamp::now()),
        };
        let seen = Observed {
            process: self.process(),
            state,
            pid: running.map(|running| running.identity.pid),
            since,
            problem,
            wanted: if wish.run { Wanted::Running } else { Wanted::Stopped },
            generation: wish.generation,
        };
        self.seen.send_if_modified(|shown| {
            let changed = *shown != seen;
            *shown = seen;
            changed
        });
    }
}

/// End a process: in its own time, else at once.
pub async fn end_process(control: &dyn ProcessControl, process: &Identity, timing: &Timing) -> Result<(), String> {
    for (ask, within) in [(Ask::End, timing.end_within), (Ask::Die, timing.die_within)] {
        control.ask(process, ask).await.map_err(|error| chain(&error))?;
        if let Ok(ended) = timeout(within, control.ended(process)).await {
            return ended.map(drop).map_err(|error| chain(&error));
        }
        warn!(pid = process.pid, ?ask, ?within, "did not end in time");
    }
    Err(format!("process {} cannot be killed", process.pid))
}

/// Ask after a while; no answer in time is an answer as well.
pub async fn ask_after(wait: Duration, probe: &dyn Probe, within: Duration) -> Answer {
    sleep(wait).await;
    let late = || Answer {
        problem: format!("it gave no answer within {} s", within.as_secs_f32()),
        pid: None,
    };
    timeout(within, probe.ask()).await.unwrap_or_else(|_| late())
}
