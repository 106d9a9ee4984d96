//! One client: does things to containers of its own, and keeps what it asked for and what was acknowledged.
//!
//! A call that was not answered leaves its effect open; the client then looks what came of it, which may be all of it or
//! nothing, never half. Everything it knows for sure it compares after each start of the daemon.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Shared;
use super::model::{Container, Shown, differences};
use super::points::{Deed, Favour, Ports};
use super::random::Random;
use crate::garden::{Client as Garden, Error, ProcessSpec, Result as Answer};

/// How long the daemon may be away, killed again and again, until the client gives up on it.
pub(super) const AWAY: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);
/// The most containers of a client.
const MOST: usize = 2;
/// What is kept of what was done, to be shown with what went wrong.
const LINES: usize = 60;
pub(super) const NOTE: &str = "note";

/// Something that was promised is not so.
pub type Broken = String;
pub(super) type Done<T = ()> = Result<T, Broken>;

/// How often what was asked for was acknowledged, refused, or left open by a kill.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub acknowledged: u64,
    pub refused: u64,
    pub open: u64,
}

/// A client and all it knows.
pub struct Client {
    pub(super) number: usize,
    pub(super) garden: Garden,
    pub(super) shared: Arc<Shared>,
    pub(super) random: Random,
    pub containers: Vec<Container>,
    pub counts: Counts,
    /// Names that were never used before.
    names: u64,
    seen: u64,
    pub log: VecDeque<String>,
}

impl Client {
    pub(super) fn new(number: usize, garden: Garden, shared: Arc<Shared>, seed: u64) -> Client {
        Client {
            number,
            garden,
            shared,
            random: Random::new(seed, number as u64 + 1),
            containers: Vec::new(),
            counts: Counts::default(),
            names: 0,
            seen: 0,
            log: VecDeque::new(),
        }
    }

    /// Do things until told to stop. Ends with everything known and as acknowledged.
    pub(super) fn run(&mut self, favour: Favour) -> Done {
        while !self.shared.stop.load(Ordering::Acquire) {
            let starts = self.shared.starts.load(Ordering::Acquire);
            if starts != self.seen {
                self.seen = starts;
                self.compare_all()?;
            }
            self.act(favour)?;
        }
        self.compare_all()
    }

    /// See to it that there is a container.
    pub(super) fn have_one(&mut self) -> Done {
        while self.containers.is_empty() {
            self.create(Ports::Some)?;
        }
        Ok(())
    }

    /// Destroy everything.
    pub(super) fn destroy_all(&mut self) -> Done {
        while let Some(container) = self.containers.pop() {
            self.destroy(container)?;
        }
        Ok(())
    }

    fn act(&mut self, favour: Favour) -> Done {
        let deed = match favour.deed {
            Some(deed) if !self.random.once_in(3) => deed,
            _ => self.random.one_of(&super::points::DEEDS),
        };
        let room = self.containers.len() < MOST;
        if self.containers.is_empty() || (deed == Deed::Create && room) {
            return self.create(favour.ports);
        }
        let at = usize::try_from(self.random.below(self.containers.len() as u64)).unwrap_or(0);
        let container = self.containers.swap_remove(at);
        if matches!(deed, Deed::Create | Deed::Destroy) {
            return self.destroy(container);
        }
        let container = match deed {
            Deed::Run => self.run_to_its_end(container),
            Deed::Sleep => self.sleep(container),
            Deed::Start => self.start(container, &["sleep", "1000"]),
            Deed::StartInVain => self.start(container, &["/no/such/program"]),
            Deed::Stop => self.stop(container),
            Deed::NetIn if favour.ports != Ports::None => self.net_in(container),
            _ => self.property(container),
        }?;
        self.containers.push(container);
        Ok(())
    }

    /// Take what is shown for what is, after a call whose effect is open.
    pub(super) fn look_again(&mut self, mut container: Container) -> Done<Container> {
        let handle = container.handle.clone();
        let shown = self.settled(&handle)?;
        container.stopped = shown.state == "stopped";
        container.started = shown.started;
        container.ports = shown.ports();
        container.note = shown.properties.get(NOTE).cloned();
        let running = shown.sleepers();
        container.sleepers = running;
        self.compare(&container)?;
        Ok(container)
    }

    fn compare_all(&mut self) -> Done {
        for container in self.containers.clone() {
            self.compare(&container)?;
        }
        Ok(())
    }

    /// What was acknowledged is so, and the container is whole: a process runs in it.
    pub(super) fn compare(&mut self, container: &Container) -> Done {
        let shown = self.settled(&container.handle)?;
        let found = differences(container, &shown, shown.properties.get(NOTE));
        if found.is_empty() {
            return Ok(());
        }
        Err(found.join("; "))
    }

    /// The container once its first process is connected and the daemon has seen to what that said.
    fn settled(&mut self, handle: &str) -> Done<Shown> {
        let deadline = Instant::now() + AWAY;
        loop {
            let echo = ProcessSpec::new("echo", &["whole"]);
            let answer = self.ask(|garden| garden.output(handle, &echo))?;
            let whole = matches!(&answer, Ok((0, out, _)) if out == "whole\n");
            let shown = self.look(handle)?;
            match shown {
                Some(shown) if whole && shown.is_settled() => return Ok(shown),
                _ if Instant::now() > deadline => {
                    return Err(format!("{handle} is not whole: {answer:?}, {shown:?}"));
                }
                None => return Err(format!("{handle} was acknowledged and is not there")),
                Some(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// The container as the daemon shows it; none = it does not know it.
    pub(super) fn look(&mut self, handle: &str) -> Done<Option<Shown>> {
        let target = format!("/fence/v1/containers/{handle}");
        match self.ask(|garden| garden.call("GET", &target, None))? {
            Ok(value) => serde_json::from_value(value)
                .map(Some)
                .map_err(|error| error.to_string()),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(format!("could not look at {handle}: {error}")),
        }
    }

    /// Ask until there is an answer: whoever kills the daemon starts another one.
    pub(super) fn ask<T>(&mut self, call: impl Fn(&Garden) -> Answer<T>) -> Done<Answer<T>> {
        self.ask_noting(call, |_| ())
    }

    /// The same; `note` is told of each call that was not answered.
    pub(super) fn ask_noting<T>(
        &mut self,
        call: impl Fn(&Garden) -> Answer<T>,
        mut note: impl FnMut(&Error),
    ) -> Done<Answer<T>> {
        let deadline = Instant::now() + AWAY;
        loop {
            match call(&self.garden) {
                Err(error) if !is_answered(&error) => {
                    note(&error);
                    if Instant::now() > deadline {
                        return Err(format!("there is no answer for {AWAY:?}: {error}"));
                    }
                    std::thread::sleep(PAUSE);
                }
                answer => return Ok(answer),
            }
        }
    }

    /// Write down what was asked and how it was answered. True = it was acknowledged.
    pub(super) fn note<T>(&mut self, what: &str, answer: &Answer<T>) -> bool {
        let outcome = match answer {
            Ok(_) => {
                self.counts.acknowledged += 1;
                "done".to_owned()
            }
            Err(error) if is_answered(error) => {
                self.counts.refused += 1;
                format!("refused: {error}")
            }
            Err(error) => {
                self.counts.open += 1;
                format!("no answer: {error}")
            }
        };
        if self.log.len() >= LINES {
            self.log.pop_front();
        }
        let at = self.shared.begun.elapsed().as_secs_f64();
        self.log.push_back(format!("{at:.3} {what}: {outcome}"));
        answer.is_ok()
    }

    pub(super) fn fresh(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}-{}", self.names)
    }
}

/// Whether the daemon has said no, rather than nothing.
pub(super) fn is_answered(error: &Error) -> bool {
    error.status().is_some()
}
