//! All processes that init started and has not been told to forget, and who is attached to them. Bounded in every
//! direction; does not talk to anybody.

use std::collections::{BTreeMap, HashMap, VecDeque};

use fence_init::protocol::{Failure, FailureKind, FromInit, ProcessEntry, SpawnSpec, Stream};

use crate::failure::{failure, no_process};
use crate::poll::{Token, Watched};
use crate::process::{Process, Stage};

/// The most processes that have not ended.
const MAX_LIVE: usize = 1024;
/// The most ended processes whose exit is kept; beyond it the oldest are forgotten, first those nobody is attached to.
const MAX_ENDED: usize = 1024;
/// The most attachments.
const MAX_ATTACHMENTS: usize = 4096;
/// The most output kept for all processes together before no more are started, in bytes.
const MAX_KEPT: usize = 256 * 1024 * 1024;
/// The most pipes of forgotten processes that are still read; beyond it their writers get an error.
const MAX_LEFTOVERS: usize = 1024;

/// The processes by number, with the ways to find them.
#[derive(Debug, Default)]
pub struct Table {
    processes: BTreeMap<u32, Process>,
    ids: HashMap<String, u32>,
    pids: HashMap<i32, u32>,
    /// Attachment to process.
    attachments: HashMap<u32, u32>,
    /// In the order they ended.
    ended: VecDeque<u32>,
    leftovers: HashMap<Token, Watched>,
    last_number: u32,
}

impl Table {
    /// Whether one more process of this name and its attachment may be added.
    pub fn check(&self, spec: &SpawnSpec, attachment: u32) -> Result<(), Failure> {
        if self.ids.contains_key(&spec.id) {
            return Err(failure(
                FailureKind::ProcessExists,
                format!("process id {} already in use", spec.id),
            ));
        }
        if self.processes.len() - self.ended.len() >= MAX_LIVE {
            return Err(failure(
                FailureKind::Limit,
                format!("start a process: {MAX_LIVE} are running"),
            ));
        }
        let kept: usize = self.processes.values().map(Process::kept).sum();
        if kept > MAX_KEPT {
            return Err(failure(
                FailureKind::Limit,
                format!("start a process: {kept} bytes of output wait to be read"),
            ));
        }
        self.check_attachment(attachment)
    }

    fn check_attachment(&self, attachment: u32) -> Result<(), Failure> {
        if self.attachments.contains_key(&attachment) {
            return Err(failure(
                FailureKind::Invalid,
                format!("attachment {attachment} already in use"),
            ));
        }
        if self.attachments.len() >= MAX_ATTACHMENTS {
            return Err(failure(
                FailureKind::Limit,
                format!("attach: there are {MAX_ATTACHMENTS} attachments"),
            ));
        }
        Ok(())
    }

    /// A number no process has had before, as far as there are any.
    pub fn next_number(&mut self) -> u32 {
        loop {
            self.last_number = self.last_number.wrapping_add(1);
            if !self.processes.contains_key(&self.last_number) {
                return self.last_number;
            }
        }
    }

    /// Adds a process with its first attachment, for both of which [`check`](Self::check) found room.
    pub fn insert(&mut self, mut process: Process, attachment: u32) {
        let number = process.number;
        for stream in [Stream::Stdout, Stream::Stderr] {
            process.output(stream).backlog.attach(attachment);
        }
        self.attachments.insert(attachment, number);
        self.ids.insert(process.id.clone(), number);
        self.pids.insert(process.pid, number);
        self.processes.insert(number, process);
    }

    /// The process with this number.
    pub fn get(&mut self, number: u32) -> Option<&mut Process> {
        self.processes.get_mut(&number)
    }

    /// The process of this name, if it has started.
    pub fn named(&mut self, id: &str) -> Result<&mut Process, Failure> {
        self.ids
            .get(id)
            .and_then(|number| self.processes.get_mut(number))
            .filter(|process| process.visible())
            .ok_or_else(|| no_process(id))
    }

    /// The process of this name, if it has started and not ended.
    pub fn alive(&mut self, id: &str) -> Result<&mut Process, Failure> {
        self.named(id).and_then(|process| match process.stage {
            Stage::Ended(_) => Err(no_process(id)),
            Stage::Starting { .. } | Stage::Running => Ok(process),
        })
    }

    /// The process an attachment belongs to.
    pub fn attached(&mut self, attachment: u32) -> Option<&mut Process> {
        self.processes.get_mut(self.attachments.get(&attachment)?)
    }

    /// Attaches and says where the two outputs begin.
    pub fn attach(&mut self, attachment: u32, id: &str, log: bool) -> Result<(&mut Process, [u64; 2]), Failure> {
        let number = self.named(id)?.number;
        self.check_attachment(attachment)?;
        self.attachments.insert(attachment, number);
        let process = self.named(id)?;
        let from = [Stream::Stdout, Stream::Stderr].map(|stream| {
            let backlog = &mut process.output(stream).backlog;
            match log {
                true => backlog.attach_log(attachment),
                false => backlog.attach(attachment),
            }
        });
        Ok((process, from))
    }

    /// Ends an attachment.
    pub fn detach(&mut self, attachment: u32) {
        if let Some(process) = self.attached(attachment) {
            for stream in [Stream::Stdout, Stream::Stderr] {
                process.output(stream).backlog.detach(attachment);
            }
            process.refresh();
        }
        self.attachments.remove(&attachment);
    }

    /// Ends all attachments. Forgets the processes whose start was not answered and gives their pids: nobody knows of
    /// them, so they must not live.
    pub fn disconnect(&mut self) -> Vec<i32> {
        self.attachments.clear();
        self.processes.values_mut().for_each(Process::disconnect);
        let unanswered = self.processes.values().filter(|process| !process.visible());
        let unanswered: Vec<_> = unanswered.map(|process| (process.number, process.pid)).collect();
        let forget = |(number, pid)| {
            self.remove(number);
            pid
        };
        unanswered.into_iter().map(forget).collect()
    }

    /// The number of the process with this pid, which is over: the pid may be another's from now on.
    pub fn take_pid(&mut self, pid: i32) -> Option<u32> {
        self.pids.remove(&pid)
    }

    /// Notes that a process has ended, and forgets another where there are too many. Gives what is to be told of that.
    pub fn ended(&mut self, number: u32) -> Vec<FromInit> {
        self.ended.push_back(number);
        if self.ended.len() <= MAX_ENDED {
            return Vec::new();
        }
        let is_free = |number: &&u32| self.processes.get(number).is_none_or(|process| !process.is_attached());
        let spare = self.ended.iter().find(is_free).or_else(|| self.ended.front()).copied();
        spare.map(|spare| self.remove(spare)).unwrap_or_default()
    }

    /// Forgets the process of this name if it has ended. Gives what is to be told of that.
    pub fn collect(&mut self, id: &str) -> Vec<FromInit> {
        match self.named(id) {
            Ok(process) if process.exit().is_some() => {
                let number = process.number;
                self.remove(number)
            }
            _ => Vec::new(),
        }
    }

    /// Forgets a process, whatever its stage, and gives what those attached to it are to be told. What it left behind
    /// may still write: that is read on.
    pub fn remove(&mut self, number: u32) -> Vec<FromInit> {
        let Some(process) = self.processes.remove(&number) else {
            return Vec::new();
        };
        let told = process.farewell();
        self.ids.remove(&process.id);
        self.attachments.retain(|_, attached| *attached != number);
        self.ended.retain(|ended| *ended != number);
        if process.exit().is_none() {
            self.pids.remove(&process.pid);
        }
        for source in process.into_sources() {
            if self.leftovers.len() < MAX_LEFTOVERS {
                self.leftovers.insert(source.token(), source);
            }
        }
        told
    }

    /// Reads what a forgotten process left behind.
    pub fn read_leftover(&mut self, token: Token, scratch: &mut [u8]) {
        use nix::errno::Errno;
        if let Some(source) = self.leftovers.get(&token)
            && matches!(nix::unistd::read(source, scratch), Ok(0) | Err(Errno::EIO))
        {
            self.leftovers.remove(&token);
        }
    }

    /// The processes that fence may know of.
    pub fn entries(&self) -> Vec<ProcessEntry> {
        self.processes
            .values()
            .filter(|process| process.visible())
            .map(Process::entry)
            .collect()
    }

    /// How many of them live.
    pub fn live(&self) -> usize {
        self.processes.len() - self.ended.len()
    }

    /// Whether all that any reader asked for has reached it.
    pub fn delivered(&self) -> bool {
        self.processes.values().all(Process::delivered)
    }
}

#[cfg(test)]
mod tests {
    use fence_init::frame;
    use fence_init::protocol::Exit;
    use nix::unistd::pipe;

    use super::*;
    use crate::poll::Poll;
    use crate::spawn::Child;
    use crate::stdio;

    /// Lets a process of this number run and end, and gives what was to be told of one that was forgotten for it.
    fn run(table: &mut Table, poll: &Poll, number: u32) -> Vec<FromInit> {
        let (streams, theirs) = stdio::pipes().unwrap();
        let child = Child {
            pid: i32::try_from(number).unwrap(),
            report: pipe().unwrap().0,
            streams,
        };
        let spec = SpawnSpec {
            id: number.to_string(),
            ..SpawnSpec::default()
        };
        let process = Process::new(poll, number, 0, &spec, child).unwrap();
        table.insert(process, number);
        nix::unistd::write(&theirs.stdout, b"output").unwrap();
        drop(theirs);
        table.take_pid(i32::try_from(number).unwrap());
        table.get(number).unwrap().end(Exit::Code(0), &mut [0; 64]);
        table.ended(number)
    }

    #[test]
    fn of_too_many_ended_ones_those_nobody_is_attached_to_go_first() {
        let poll = Poll::new().unwrap();
        let mut table = Table::default();
        let full = u32::try_from(MAX_ENDED).unwrap();
        for number in 1..=full {
            assert_eq!(run(&mut table, &poll, number), []);
        }
        for free in [700, 5] {
            table.detach(free);
        }
        for (more, gone) in [(1, 5), (2, 700)] {
            assert_eq!(run(&mut table, &poll, full + more), []);
            assert!(table.get(gone).is_none());
        }
        let end = |stream| FromInit::StreamEnd { attachment: 1, stream };
        let dropped = FromInit::Dropped {
            attachment: 1,
            stream: Stream::Stdout,
            from: 0,
            upto: 6,
        };
        let told = [dropped, end(Stream::Stdout), end(Stream::Stderr)];
        assert_eq!(run(&mut table, &poll, full + 3), told);
        assert_eq!(table.entries().len(), MAX_ENDED);
        assert_eq!(table.live(), 0);
    }

    #[test]
    fn the_longest_list_fits_a_frame() {
        let entry = ProcessEntry {
            id: "\"".repeat(128),
            process: u32::MAX,
            pid: i32::MAX,
            tty: false,
            exit: Some(Exit::Code(255)),
            log: u64::MAX,
        };
        let processes = vec![entry; MAX_LIVE + MAX_ENDED];
        assert!(
            frame::encode_control(&FromInit::Listed {
                seq: u64::MAX,
                processes,
                others: u32::MAX
            })
            .is_ok()
        );
    }
}
