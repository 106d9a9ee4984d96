//! Processes that are units of systemd, started and stopped over D-Bus.
//!
//! The units are installed with the programs; none but the agent's own is enabled, so that the agent alone says what
//! runs. systemd is asked to start and stop, and how a process ended; everything else about a process is the same as of
//! [`OwnProcesses`], so that one which an agent without systemd started is taken over like any other. A unit is held for
//! as long as its process is waited for; a bus that was restarted costs no more than knowing how that process ended.

mod bus;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cluster::nodes::Paths;
use tokio::time::{Instant, sleep};
use zbus::OwnedObjectPath;

use self::bus::{Seen, Systemd, bounded};
use super::own::OwnProcesses;
use super::{Ask, End, Error, Identity, Launch, ProcessControl, Result};

/// The unit of the agent itself.
pub const AGENT_UNIT: &str = "kato-agent.service";
/// Where administrators, local installations and packages put units.
const UNIT_PLACES: [&str; 4] = [
    "etc/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
/// How long a unit may take until its process is there; being ready is another matter.
const APPEARS: Duration = Duration::from_secs(30);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(10);
/// The exit code of systemd's own child that could not become the program (systemd.exec(5), EXIT_EXEC).
const NOT_EXECUTED: i32 = 203;

/// Whether this node's processes are units: systemd runs here, the node is the machine's own, its agent's unit is there.
pub fn manages(paths: &Paths) -> bool {
    let root = paths.root();
    root == Path::new("/")
        && Path::new("/run/systemd/system").is_dir()
        && UNIT_PLACES
            .iter()
            .any(|place| root.join(place).join(AGENT_UNIT).is_file())
}

/// Have systemd start the agent's unit, and wait until its process is there.
pub async fn start_agent() -> Result<()> {
    let attempt = format!("start {AGENT_UNIT}");
    let manager = Systemd::connect().await.map_err(|error| failed(&attempt, error))?;
    let asked = bounded(manager.start(AGENT_UNIT)).await;
    asked.map_err(|error| failed(&attempt, error))?;
    Ok(())
}

/// Processes that are units.
#[derive(Default)]
pub struct SystemdUnits {
    /// What systemd need not be asked about.
    pids: OwnProcesses,
    /// The unit of each process that was started or waited for and whose end was not told yet.
    units: Mutex<HashMap<Identity, Arc<HeldUnit>>>,
}

impl SystemdUnits {
    fn units(&self) -> MutexGuard<'_, HashMap<Identity, Arc<HeldUnit>>> {
        // The map is whole after each of its operations.
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The unit whose main process this very process is; `None` where it is none's, or has ended.
    async fn unit_of(&self, process: &Identity) -> Result<Option<Arc<HeldUnit>>> {
        if let Some(unit) = self.units().get(process) {
            return Ok(Some(unit.clone()));
        }
        let attempt = format!("find the unit of process {}", process.pid);
        let systemd = Systemd::connect().await.map_err(|error| failed(&attempt, error))?;
        let found = bounded(systemd.unit_of_main_pid(process.pid)).await;
        let found = found.map_err(|error| failed(&attempt, error))?;
        // Looked at afterwards: if it is the right process now, the answer is about that process.
        if !self.pids.is_alive(process).await? {
            return Ok(None);
        }
        let Some(path) = found else { return Ok(None) };
        let unit = Arc::new(HeldUnit { systemd, path });
        self.units().insert(process.clone(), Arc::clone(&unit));
        Ok(Some(unit))
    }

    /// Wait until the unit's process is there, and be sure that it is the program.
    async fn appeared(
        &self,
        systemd: &Systemd,
        unit: &OwnedObjectPath,
        started: u64,
        launch: &Launch,
    ) -> Result<Identity> {
        let attempt = attempt_of(launch);
        let deadline = Instant::now() + APPEARS;
        loop {
            let seen = bounded(systemd.look(unit))
                .await
                .map_err(|error| failed(&attempt, error))?;
            if seen.main_pid != 0
                && let Some(process) = self.pids.identify(seen.main_pid).await?
                && (seen.active == "active" || self.pids.runs(&process, launch).await?)
            {
                return Ok(process);
            }
            if seen.main_pid == 0 && seen.started != started && seen.exec_pid != 0 {
                return self.ended_at_once(&seen, launch).await;
            }
            if seen.is_at_rest() && seen.main_pid == 0 {
                return Err(refused(
                    &attempt,
                    &format!("systemd says {} ({})", seen.active, seen.result),
                ));
            }
            if Instant::now() >= deadline {
                return Err(refused(&attempt, &format!("no process within {} s", APPEARS.as_secs())));
            }
            sleep(LOOK).await;
        }
    }

    /// The identity of a process that had ended before it was looked at.
    async fn ended_at_once(&self, seen: &Seen, launch: &Launch) -> Result<Identity> {
        if seen.exec_status == NOT_EXECUTED {
            return Err(refused(&attempt_of(launch), "systemd could not execute it"));
        }
        let attempt = attempt_of(launch);
        let source = |source| Error { attempt, source };
        let boot = super::own::boot_id().map_err(source)?;
        Ok(Identity {
            pid: seen.exec_pid,
            ticks: 0,
            boot,
        })
    }
}

#[async_trait]
impl ProcessControl for SystemdUnits {
    async fn start(&self, launch: &Launch) -> Result<Identity> {
        let attempt = attempt_of(launch);
        let systemd = Systemd::connect().await.map_err(|error| failed(&attempt, error))?;
        let asked = bounded(systemd.start(&launch.unit)).await;
        let (path, started) = asked.map_err(|error| failed(&attempt, error))?;
        let process = self.appeared(&systemd, &path, started, launch).await?;
        self.units()
            .insert(process.clone(), Arc::new(HeldUnit { systemd, path }));
        Ok(process)
    }

    async fn identify(&self, pid: u32) -> Result<Option<Identity>> {
        self.pids.identify(pid).await
    }

    async fn runs(&self, process: &Identity, launch: &Launch) -> Result<bool> {
        self.pids.runs(process, launch).await
    }

    async fn ended(&self, process: &Identity) -> Result<End> {
        // Without systemd's word it is still known when it ended.
        let unit = self.unit_of(process).await.unwrap_or_default();
        let end = self.pids.ended(process).await?;
        let Some(unit) = unit else { return Ok(end) };
        self.units().remove(process);
        // How it ended is good to know and no reason to fail: it has ended.
        let asked = async { Ok(unit.systemd.end_of(&unit.path, process.pid).await) };
        Ok(bounded(asked).await.unwrap_or(End::Unknown))
    }

    async fn ask(&self, process: &Identity, ask: Ask) -> Result<()> {
        let unit = match ask {
            // systemd must know that the unit shall not run, or it may start it again.
            Ask::End => self.unit_of(process).await?,
            Ask::Die => None,
        };
        let Some(unit) = unit else {
            return self.pids.ask(process, ask).await;
        };
        if !self.pids.is_alive(process).await? {
            return Ok(());
        }
        let attempt = format!("stop process {}", process.pid);
        // Over a connection of its own: the one that holds the unit may be older than the bus.
        let stopped = async { Systemd::connect().await?.stop(&unit.path).await };
        bounded(stopped).await.map_err(|error| failed(&attempt, error))
    }
}

/// A unit that systemd does not forget while this is there.
struct HeldUnit {
    systemd: Systemd,
    path: OwnedObjectPath,
}

fn attempt_of(launch: &Launch) -> String {
    format!("start {} as {}", launch.program.display(), launch.unit)
}

fn failed(attempt: &str, error: zbus::Error) -> Error {
    Error {
        attempt: attempt.to_owned(),
        source: io::Error::other(error),
    }
}

fn refused(attempt: &str, why: &str) -> Error {
    Error {
        attempt: attempt.to_owned(),
        source: io::Error::other(why.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use cluster::process::Process;

    use super::super::conformance;
    use super::*;

    /// Says to this test's program that it runs inside a test node.
    const INSIDE: &str = "FENCE_IN_TEST_NODE";
    const TEST: &str = "agent::process_control::systemd::tests::units_keep_the_promises";

    /// systemd is none of this machine's parts: a test node has one, and this test goes there.
    #[tokio::test]
    async fn units_keep_the_promises() {
        if std::env::var_os(INSIDE).is_some() {
            return keep_the_promises().await;
        }
        let own = std::env::current_exe().unwrap();
        let (place, name) = (own.parent().unwrap(), own.file_name().unwrap().to_str().unwrap());
        let node = Node::run(place);
        let within = format!("{INSIDE}=1");
        let program = format!("/programs/{name}");
        node.exec(&["--env", &within], &[&program, "--exact", TEST, "--nocapture"]);
    }

    async fn keep_the_promises() {
        let launch = |unit: &str, program: &str, args: &str| {
            let text = format!("[Service]\nType=exec\nExecStart={program} {args}\n");
            std::fs::write(format!("/run/systemd/system/{unit}"), text).unwrap();
            Launch {
                process: Process::Fence,
                program: PathBuf::from(program),
                args: Vec::new(),
                unit: unit.to_owned(),
                log: PathBuf::from("/dev/null"),
                place: None,
            }
        };
        let programs = conformance::Programs {
            obedient: launch("obedient.service", "/usr/bin/tail", "-f /dev/null"),
            stubborn: launch(
                "stubborn.service",
                "/bin/sh",
                "-c \"trap '' TERM; exec tail -f /dev/null\"",
            ),
            ends_with_3: launch("ends.service", "/bin/sh", "-c 'exit 3'"),
            missing: launch("missing.service", "/no/such/program", ""),
        };
        let reloaded = Command::new("systemctl").arg("daemon-reload").status().unwrap();
        assert!(reloaded.success());
        conformance::run(&SystemdUnits::default(), &programs).await;
        another_agent_sees_how_a_unit_ended(&programs.obedient).await;
        let unknown = Launch {
            unit: "not-there.service".into(),
            ..programs.obedient
        };
        let error = SystemdUnits::default().start(&unknown).await.unwrap_err();
        assert!(
            crate::error::chain(&error).contains("not-there.service is not-found"),
            "{error:?}"
        );
    }

    async fn another_agent_sees_how_a_unit_ended(launch: &Launch) {
        let process = SystemdUnits::default().start(launch).await.unwrap();
        // Started again while it runs, it is the same.
        assert_eq!(SystemdUnits::default().start(launch).await.unwrap(), process);
        let second = SystemdUnits::default();
        let (end, asked) = tokio::join!(second.ended(&process), async {
            // An end before it was asked whose process it is would be nobody's to tell.
            let known = async {
                while !second.units().contains_key(&process) {
                    sleep(LOOK).await;
                }
            };
            tokio::time::timeout(APPEARS, known).await.unwrap();
            OwnProcesses::default().ask(&process, Ask::Die).await
        });
        asked.unwrap();
        assert_eq!(end.unwrap(), End::Signal(9));
    }

    /// A test node, taken away when dropped.
    struct Node {
        id: String,
    }

    impl Node {
        fn run(programs: &Path) -> Node {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/node/run");
            let mount = format!("{}:/programs:ro", programs.display());
            let ran = Command::new(script).args(["-v", &mount]).output().unwrap();
            assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
            let id = String::from_utf8(ran.stdout).unwrap().trim().to_owned();
            Node { id }
        }

        fn exec(&self, options: &[&str], command: &[&str]) {
            let ran = Command::new("docker")
                .arg("exec")
                .args(options)
                .arg(&self.id)
                .args(command)
                .output()
                .unwrap();
            let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert!(ran.status.success(), "{}\n{}", said(&ran.stdout), said(&ran.stderr));
        }
    }

    impl Drop for Node {
        fn drop(&mut self) {
            // What remains is seen by whoever cleans up; a test that failed must tell why it did.
            let _ = Command::new("docker").args(["rm", "-f", "-v", &self.id]).output();
        }
    }
}
