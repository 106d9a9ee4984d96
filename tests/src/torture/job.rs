//! A process that runs to its end across kills: its output is complete and its exit code arrives.
//!
//! Over Garden's API output counts as delivered once it is in the client's socket. Where a kill falls into the middle of
//! attaching, this client has sockets that it never came to read, as any client of that API may have: then no piece can
//! be said to be missing, only that each is a part of the whole.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::client::{Client, Done, is_answered};
use super::model::Container;
use crate::garden::{Error, Process, ProcessSpec, Result as Answer};

/// How long the process may take.
const LIMIT: Duration = Duration::from_secs(60);
const SCRIPT: &str = "echo one; echo two >&2; usleep 2000; echo three; seq 1 200; exit 7";
const CODE: i32 = 7;

impl Client {
    /// Run a process, and attach to it again where the daemon was killed meanwhile.
    pub(super) fn run_to_its_end(&mut self, container: Container) -> Done<Container> {
        let id = self.fresh("job");
        let spec = ProcessSpec {
            id: id.clone(),
            ..ProcessSpec::script(SCRIPT)
        };
        let handle = &container.handle;
        let starts = self.shared.starts.load(Ordering::Acquire);
        let answer = self.garden.run(handle, &spec);
        let acknowledged = self.note(&format!("run {handle} {id}"), &answer);
        if answer.as_ref().is_err_and(is_answered) {
            return Err(format!("a process was refused in {handle}: {answer:?}"));
        }
        let mut outputs = Outputs::new();
        let mut process = outputs.of(answer);
        let mut ended = false;
        loop {
            match process.map(|process| outputs.follow(&process)).transpose()?.flatten() {
                // The code may have been told and the end of the output not, which looks like its end to a client.
                Some(CODE) if outputs.is_whole() => break,
                Some(CODE) => ended = true,
                Some(other) => return Err(format!("{id} in {handle} ended with {other}")),
                None => {}
            }
            let attached = self.ask_noting(|garden| garden.attach(handle, &id), |error| outputs.note(error))?;
            if ended && self.shared.starts.load(Ordering::Acquire) == starts {
                return Err(format!("output of {id} in {handle} is missing: {}", outputs.so_far()));
            }
            process = match attached {
                Ok(process) => Some(process),
                // It never ran, or nobody was told that it did.
                Err(_) if !acknowledged => return Ok(container),
                Err(error) => return Err(format!("{id} in {handle} was acknowledged and is gone: {error}")),
            };
        }
        Ok(container)
    }
}

struct Outputs {
    stdout: Pieces,
    stderr: Pieces,
    /// Some of it may lie in a socket that was never read.
    torn: bool,
}

impl Outputs {
    fn new() -> Outputs {
        let numbers: String = (1..=200).map(|number| format!("{number}\n")).collect();
        Outputs {
            stdout: Pieces::new(format!("one\nthree\n{numbers}")),
            stderr: Pieces::new("two\n".into()),
            torn: false,
        }
    }

    fn of(&mut self, answer: Answer<Process>) -> Option<Process> {
        answer.inspect_err(|error| self.note(error)).ok()
    }

    /// An attempt failed: did it get as far as to a connection?
    fn note(&mut self, error: &Error) {
        let never_began = matches!(error, Error::Connection { source, .. }
            if matches!(source.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound));
        self.torn |= !never_began;
    }

    /// Read until the process or the daemon ends; gives the exit code, where it was told.
    fn follow(&mut self, process: &Process) -> Done<Option<i32>> {
        let code = process.wait_within(LIMIT).ok();
        for (output, pieces) in [(&process.stdout, &mut self.stdout), (&process.stderr, &mut self.stderr)] {
            // What came before the end counts, also where that was a kill.
            let _ = output.wait_for_end(LIMIT);
            pieces.add(&output.text(), self.torn)?;
        }
        Ok(code)
    }

    fn is_whole(&self) -> bool {
        let mut both = [&self.stdout, &self.stderr].into_iter();
        self.torn || both.all(|pieces| pieces.covered == pieces.expected.len())
    }

    fn so_far(&self) -> String {
        let both = [&self.stdout, &self.stderr].map(|pieces| &pieces.expected[..pieces.covered]);
        format!("{both:?}")
    }
}

/// Pieces of an output, of which each may repeat the end of the one before.
struct Pieces {
    expected: String,
    covered: usize,
}

impl Pieces {
    fn new(expected: String) -> Pieces {
        Pieces { expected, covered: 0 }
    }

    fn add(&mut self, piece: &str, torn: bool) -> Done {
        let last = if torn { self.expected.len() } else { self.covered };
        let fits = (0..=last).filter(|at| self.expected[*at..].starts_with(piece));
        match fits.map(|at| at + piece.len()).max() {
            Some(end) => {
                self.covered = self.covered.max(end);
                Ok(())
            }
            None => Err(format!(
                "output is missing: {piece:?} came after {:?}",
                &self.expected[..self.covered]
            )),
        }
    }
}
