//! What comes to kato from outside while it is attached: signals meant for the process, and sizes of the terminal.
//!
//! From [`Events::listen`] on, none of these signals ends kato by itself.

use std::collections::VecDeque;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::error::{Error, Result};

/// More signals than this at one time are not kept.
const BACKLOG: usize = 64;

/// Something from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A signal, by its number.
    Signal(i32),
    /// The terminal has another size.
    Resized,
}

/// The stream of them; one stays first in line until it is [done](Events::done).
#[derive(Debug)]
pub struct Events {
    arriving: mpsc::Receiver<Event>,
    waiting: VecDeque<Event>,
}

impl Events {
    /// Takes over the signals that are passed on, and the one that tells a new size.
    pub fn listen() -> Result<Self> {
        let (sender, arriving) = mpsc::channel(BACKLOG);
        let passed_on = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
            SignalKind::quit(),
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
        ];
        for kind in passed_on {
            forward(kind, Event::Signal(kind.as_raw_value()), &sender)?;
        }
        forward(SignalKind::window_change(), Event::Resized, &sender)?;
        Ok(Events {
            arriving,
            waiting: VecDeque::new(),
        })
    }

    /// The first in line; waits for one. May be dropped and called again.
    pub async fn next(&mut self) -> Event {
        match self.waiting.front() {
            Some(event) => *event,
            None => self.arrival().await,
        }
    }

    /// The first in line was dealt with.
    pub fn done(&mut self) {
        self.waiting.pop_front();
    }

    /// The next one that was not seen before, which goes to the end of the line.
    pub async fn arrival(&mut self) -> Event {
        match self.arriving.recv().await {
            Some(event) => {
                self.waiting.push_back(event);
                event
            }
            // The senders live in tasks that never end, so this is the end of the runtime.
            None => std::future::pending().await,
        }
    }
}

fn forward(kind: SignalKind, event: Event, sender: &mpsc::Sender<Event>) -> Result<()> {
    let mut signals = signal(kind).map_err(|error| Error::failed("could not listen for signals").because(error))?;
    let sender = sender.clone();
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            let _ = sender.try_send(event);
        }
    });
    Ok(())
}

/// Whether this signal asks a program to end.
pub fn is_ending(signal: i32) -> bool {
    let ending = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
        SignalKind::quit(),
    ];
    ending.iter().any(|kind| kind.as_raw_value() == signal)
}
