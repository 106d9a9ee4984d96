//! What fence asks for, and the answers. A request that cannot be granted is answered with a failure; only what no
//! honest peer would send ends the connection.

use fence_init::protocol::{Failure, FailureKind, FromInit, SpawnSpec, Stream, ToInit, WindowSize};
use nix::errno::Errno;

use crate::failure::{failure, system};
use crate::init::Init;
use crate::link::Lost;
use crate::process::Process;
use crate::signals;
use crate::spawn;

impl Init {
    /// Does what one message asks for.
    pub(crate) fn request(&mut self, message: ToInit) -> Result<(), Lost> {
        match message {
            ToInit::Spawn { seq, attachment, spec } => match self.spawn(seq, attachment, &spec) {
                // Answered when it executes.
                Ok(()) => Ok(()),
                Err(error) => self.link.send(&FromInit::Failed { seq, error }),
            },
            ToInit::Attach {
                seq,
                attachment,
                id,
                log,
            } => {
                let answer = self.attach(seq, attachment, &id, log);
                self.answer(seq, answer)
            }
            ToInit::Detach { attachment } => {
                self.table.detach(attachment);
                Ok(())
            }
            ToInit::Ack {
                attachment,
                stream,
                upto,
            } => self.ack(attachment, stream, upto),
            ToInit::CloseInput { process } => {
                if let Some(known) = self.table.get(process) {
                    known.input.close();
                }
                self.write_input(process);
                Ok(())
            }
            ToInit::Signal { seq, id, signal } => {
                let done = self.signal(&id, signal);
                self.answer(seq, done.map(|()| FromInit::Done { seq }))
            }
            ToInit::SignalAll { seq, signal } => {
                let done = signals::check(signal).and_then(|()| {
                    self.reach
                        .signal(signal)
                        .map_err(|errno| system("signal all processes", errno))
                });
                self.answer(seq, done.map(|()| FromInit::Done { seq }))
            }
            ToInit::Resize { seq, id, columns, rows } => {
                let done = self.resize(&id, WindowSize { columns, rows });
                self.answer(seq, done.map(|()| FromInit::Done { seq }))
            }
            ToInit::InputSource { seq, process, source } => {
                let known = self.table.get(process).map(|known| known.input.has_of(source));
                // What is not there reads nothing, and needs nothing again.
                let upto = known.unwrap_or(0);
                self.link.send(&FromInit::InputSource { seq, upto })
            }
            ToInit::Collect { id } => {
                let told = self.table.collect(&id);
                self.link.send_each(&told)
            }
            ToInit::List { seq } => {
                // Whoever reads that nothing lives has been told of every exit before.
                self.reap()?;
                let others = self.reach.count(self.table.live());
                self.link.send(&FromInit::Listed {
                    seq,
                    processes: self.table.entries(),
                    others,
                })
            }
        }
    }

    fn answer(&mut self, seq: u64, answer: Result<FromInit, Failure>) -> Result<(), Lost> {
        self.link
            .send(&answer.unwrap_or_else(|error| FromInit::Failed { seq, error }))
    }

    fn spawn(&mut self, seq: u64, attachment: u32, spec: &SpawnSpec) -> Result<(), Failure> {
        if self.stop.is_some() {
            return Err(failure(
                FailureKind::System,
                "start a process: the container is stopping",
            ));
        }
        spawn::check(spec)?;
        self.table.check(spec, attachment)?;
        let child = spawn::spawn(spec, self.files)?;
        let pid = child.pid;
        let number = self.table.next_number();
        let process = Process::new(self.poll(), number, seq, spec, child).inspect_err(|_| {
            // It cannot be looked after, so it must not run.
            signals::kill_group(pid);
        })?;
        self.table.insert(process, attachment);
        Ok(())
    }

    fn attach(&mut self, seq: u64, attachment: u32, id: &str, log: bool) -> Result<FromInit, Failure> {
        let (process, [stdout_from, stderr_from]) = self.table.attach(attachment, id, log)?;
        process.refresh();
        let (tty, exit) = (process.tty, process.exit());
        Ok(FromInit::Attached {
            seq,
            process: process.number,
            stdout_from,
            stderr_from,
            tty,
            exit,
        })
    }

    fn ack(&mut self, attachment: u32, stream: Stream, upto: u64) -> Result<(), Lost> {
        // It may have been collected or detached while the ack was on its way.
        let Some(process) = self.table.attached(attachment) else {
            return Ok(());
        };
        let output = process.output(stream);
        output.backlog.ack(attachment, upto).map_err(|_| Lost)?;
        output.refresh();
        self.outbox.output_changed(process, stream);
        Ok(())
    }

    fn signal(&mut self, id: &str, signal: i32) -> Result<(), Failure> {
        signals::check(signal)?;
        let pid = self.table.alive(id)?.pid;
        match signals::send(pid, signal) {
            // A member of the group that it was not allowed to signal is no reason to fail.
            Ok(()) | Err(Errno::EPERM) => Ok(()),
            Err(errno) => Err(system(&format!("signal process {id}"), errno)),
        }
    }

    fn resize(&mut self, id: &str, size: WindowSize) -> Result<(), Failure> {
        self.table.alive(id)?.resize(size).map_err(|errno| match errno {
            Errno::ENOTTY => failure(FailureKind::Invalid, format!("process {id} has no terminal")),
            errno => system(&format!("resize the terminal of process {id}"), errno),
        })
    }
}
