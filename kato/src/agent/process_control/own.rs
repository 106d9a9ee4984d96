//! Processes that the agent starts itself, each in a group of its own.
//!
//! They outlive the agent. The next one watches them by pidfd, which needs no parenthood; only the exit code is lost
//! then. Output goes straight to a file, so that nothing breaks with the agent.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{Ask, End, Error, Identity, Launch, ProcessControl, Result};

/// What the kernel puts behind the name of a running program whose file is no longer there.
const REPLACED: &[u8] = b" (deleted)";

/// Processes of the agent's own.
#[derive(Default)]
pub struct OwnProcesses {
    /// Those this agent is the parent of, to be collected when they end.
    children: Mutex<HashMap<Identity, Child>>,
}

impl OwnProcesses {
    fn children(&self) -> MutexGuard<'_, HashMap<Identity, Child>> {
        // The map is whole after each of its operations.
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Collect a child that ended; `None` where it is not ours.
    fn collect(&self, process: &Identity) -> io::Result<Option<ExitStatus>> {
        let child = self.children().remove(process);
        child.map(|mut child| child.wait()).transpose()
    }
}

#[async_trait]
impl ProcessControl for OwnProcesses {
    async fn start(&self, launch: &Launch) -> Result<Identity> {
        let failed = |source| Error {
            attempt: format!("start {}", launch.program.display()),
            source,
        };
        let boot = boot_id().map_err(failed)?;
        let mut child = spawn(launch).map_err(failed)?;
        let pid = child.id();
        // Not collected yet, so that its pid is still its own even if it has ended.
        let ticks = match stat(pid) {
            Ok(found) => found.ticks,
            Err(source) => {
                // A process that cannot be told from others later must not stay.
                child.kill().and_then(|()| child.wait()).map_err(failed)?;
                return Err(failed(source));
            }
        };
        let process = Identity { pid, ticks, boot };
        self.children().insert(process.clone(), child);
        Ok(process)
    }

    async fn identify(&self, pid: u32) -> Result<Option<Identity>> {
        let failed = |source| Error {
            attempt: format!("look at process {pid}"),
            source,
        };
        let found = match stat(pid) {
            Ok(found) if !found.is_dead() => found,
            Ok(_) => return Ok(None),
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        Ok(Some(Identity {
            pid,
            ticks: found.ticks,
            boot: boot_id().map_err(failed)?,
        }))
    }

    async fn runs(&self, process: &Identity, launch: &Launch) -> Result<bool> {
        let runs = match runs_program(process.pid, &launch.program) {
            Ok(runs) => runs,
            Err(error) if is_gone(&error) => false,
            Err(source) => {
                let attempt = format!("look at process {}", process.pid);
                return Err(Error { attempt, source });
            }
        };
        // Looked at afterwards: if it is the right process now, the answer is about that process.
        Ok(runs && self.is_alive(process).await?)
    }

    async fn ended(&self, process: &Identity) -> Result<End> {
        let failed = |source| Error {
            attempt: format!("wait for process {}", process.pid),
            source,
        };
        if let Some(handle) = self.open(process).await? {
            // SAFETY: an owned descriptor stays open and the same until it is dropped, which is after it was deregistered.
            let handle = unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) };
            let handle = handle.map_err(|error| failed(error.into()))?;
            // Readable means ended; the guard's readiness is of no further use.
            drop(handle.readable().await.map_err(failed)?);
        }
        Ok(match self.collect(process).map_err(failed)? {
            None => End::Unknown,
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => End::Code(code),
                (_, Some(signal)) => End::Signal(signal),
                _ => End::Unknown,
            },
        })
    }

    async fn ask(&self, process: &Identity, ask: Ask) -> Result<()> {
        let Some(handle) = self.open(process).await? else {
            return Ok(());
        };
        let signal = match ask {
            Ask::End => Signal::TERM,
            Ask::Die => Signal::KILL,
        };
        match pidfd_send_signal(handle, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(Error {
                attempt: format!("signal process {}", process.pid),
                source: errno.into(),
            }),
        }
    }
}

impl OwnProcesses {
    /// A handle of this very process, `None` where it has ended.
    async fn open(&self, process: &Identity) -> Result<Option<OwnedFd>> {
        let failed = |source| Error {
            attempt: format!("open process {}", process.pid),
            source,
        };
        let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        let handle = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(errno) => return Err(failed(errno.into())),
        };
        // Looked at after the handle was opened: if it is the right process now, the handle is of that process.
        Ok(self.is_alive(process).await?.then_some(handle))
    }
}

fn spawn(launch: &Launch) -> io::Result<Child> {
    if let Some(directory) = launch.log.parent() {
        fs::create_dir_all(directory)?;
    }
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(&launch.log)?;
    let mut directory = Path::new("/");
    if let Some(place) = &launch.place {
        directory = &place.directory;
        match fs::remove_file(&place.socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Command::new(&launch.program)
        .args(&launch.args)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
}

/// Whether the process was started as this program, or is of a file of that name: the program may have been replaced
/// since, or its path a link.
fn runs_program(pid: u32, program: &Path) -> io::Result<bool> {
    let command = fs::read(format!("/proc/{pid}/cmdline"))?;
    let first = command.split(|byte| *byte == 0).next().unwrap_or_default();
    if first == program.as_os_str().as_encoded_bytes() {
        return Ok(true);
    }
    let running = fs::read_link(format!("/proc/{pid}/exe"))?;
    let program = fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
    let name = |path: &Path| path.file_name().map(|name| name.as_encoded_bytes().to_vec());
    let running = name(&running).map(|name| name.strip_suffix(REPLACED).map(<[u8]>::to_vec).unwrap_or(name));
    Ok(running.is_some() && running == name(&program))
}

/// What `/proc/<pid>/stat` says.
struct Stat {
    state: u8,
    ticks: u64,
}

impl Stat {
    fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

fn stat(pid: u32) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&text)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the state of the process is not readable"))
}

/// The program's name is in parentheses and may hold anything, so that fields are counted from the last one: the
/// state is the 3rd field, the start the 22nd.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let ticks = fields.nth(18)?.parse().ok()?;
    Some(Stat { state, ticks })
}

fn is_gone(error: &io::Error) -> bool {
    // ESRCH: it ended between opening the file and reading it.
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;
    use cluster::process::Process;
    use std::path::PathBuf;

    #[test]
    fn a_program_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let fields: Vec<String> = (4..=21).map(|n| n.to_string()).collect();
        let text = format!("7 (a) b ( c) S {} 4711 23 24", fields.join(" "));
        let stat = parse_stat(&text).unwrap();
        assert_eq!((stat.state, stat.ticks), (b'S', 4711));
        assert!(parse_stat("7 (a").is_none());
    }

    #[tokio::test]
    async fn own_processes_keep_the_promises() {
        let directory = tempfile::tempdir().unwrap();
        let launch = |script: &str| Launch {
            process: Process::Fence,
            unit: String::new(),
            program: PathBuf::from("/bin/sh"),
            args: ["-c", script].map(Into::into).to_vec(),
            log: directory.path().join("log"),
            place: None,
        };
        let programs = conformance::Programs {
            obedient: Launch {
                program: PathBuf::from("/usr/bin/tail"),
                args: ["-f", "/dev/null"].map(Into::into).to_vec(),
                ..launch("")
            },
            stubborn: launch("trap '' TERM; exec tail -f /dev/null"),
            ends_with_3: launch("exit 3"),
            missing: Launch {
                program: directory.path().join("no-such-program"),
                ..launch("")
            },
        };
        conformance::run(&OwnProcesses::default(), &programs).await;
    }

    #[tokio::test]
    async fn a_program_is_known_though_it_was_replaced_and_by_another_path() {
        let directory = tempfile::tempdir().unwrap();
        let (program, link) = (directory.path().join("sleeper"), directory.path().join("link"));
        fs::copy("/usr/bin/tail", &program).unwrap();
        std::os::unix::fs::symlink(&program, &link).unwrap();
        let launch = |program: &Path| Launch {
            process: Process::Fence,
            unit: String::new(),
            program: program.to_owned(),
            args: ["-f", "/dev/null"].map(Into::into).to_vec(),
            log: directory.path().join("log"),
            place: None,
        };
        let control = OwnProcesses::default();
        let process = control.start(&launch(&program)).await.unwrap();
        assert!(control.runs(&process, &launch(&link)).await.unwrap());
        fs::remove_file(&program).unwrap();
        fs::copy("/usr/bin/tail", &program).unwrap();
        assert!(control.runs(&process, &launch(&link)).await.unwrap());
        assert!(
            !control
                .runs(&process, &launch(Path::new("/usr/bin/head")))
                .await
                .unwrap()
        );
        control.ask(&process, Ask::Die).await.unwrap();
        control.ended(&process).await.unwrap();
    }

    #[tokio::test]
    async fn another_agent_watches_and_ends_what_the_first_one_started() {
        let directory = tempfile::tempdir().unwrap();
        let launch = Launch {
            process: Process::Fence,
            unit: String::new(),
            program: PathBuf::from("/bin/sh"),
            args: ["-c", "echo said; exec tail -f /dev/null"].map(Into::into).to_vec(),
            log: directory.path().join("log"),
            place: None,
        };
        let first = OwnProcesses::default();
        let process = first.start(&launch).await.unwrap();
        let second = OwnProcesses::default();
        assert!(second.is_alive(&process).await.unwrap());
        second.ask(&process, Ask::Die).await.unwrap();
        assert_eq!(second.ended(&process).await.unwrap(), End::Unknown);
        assert_eq!(first.ended(&process).await.unwrap(), End::Signal(9));
    }
}
