//! systemd over the system's bus: the few questions that the agent has for it, each with a bound. What follows from the
//! answers is [`super`]'s matter.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

use super::{End, LOOK};

/// systemd's name on the bus.
const SYSTEMD: &str = "org.freedesktop.systemd1";
/// How long systemd may take to answer one question.
const ANSWER: Duration = Duration::from_secs(10);
/// How long systemd may take to notice that a process has ended.
const NOTICED: Duration = Duration::from_secs(2);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    #[zbus(name = "GetUnitByPID")]
    fn get_unit_by_pid(&self, pid: u32) -> zbus::Result<OwnedObjectPath>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Unit",
    default_service = "org.freedesktop.systemd1"
)]
trait Unit {
    fn stop(&self, mode: &str) -> zbus::Result<OwnedObjectPath>;
    #[zbus(name = "Ref")]
    fn hold(&self) -> zbus::Result<()>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn active_state(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn triggered_by(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn load_state(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn job(&self) -> zbus::Result<(u32, OwnedObjectPath)>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Service",
    default_service = "org.freedesktop.systemd1"
)]
trait Service {
    #[zbus(property(emits_changed_signal = "false"), name = "MainPID")]
    fn main_pid(&self) -> zbus::Result<u32>;
    #[zbus(property(emits_changed_signal = "false"), name = "ExecMainPID")]
    fn exec_main_pid(&self) -> zbus::Result<u32>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn exec_main_code(&self) -> zbus::Result<i32>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn exec_main_status(&self) -> zbus::Result<i32>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn exec_main_start_timestamp_monotonic(&self) -> zbus::Result<u64>;
}

/// What systemd says of a unit at one moment.
pub(super) struct Seen {
    pub(super) active: String,
    pub(super) result: String,
    pub(super) has_job: bool,
    pub(super) main_pid: u32,
    pub(super) exec_pid: u32,
    pub(super) exec_status: i32,
    pub(super) started: u64,
}

impl Seen {
    /// Nothing runs and nothing is about to.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.has_job && matches!(self.active.as_str(), "inactive" | "failed")
    }
}

/// A connection to systemd over the system's bus.
pub(super) struct Systemd {
    bus: Connection,
}

impl Systemd {
    pub(super) async fn connect() -> zbus::Result<Systemd> {
        bounded(async {
            Ok(Systemd {
                bus: Connection::system().await?,
            })
        })
        .await
    }

    async fn unit(&self, path: &OwnedObjectPath) -> zbus::Result<UnitProxy<'static>> {
        UnitProxy::new(&self.bus, path.clone()).await
    }

    async fn service(&self, path: &OwnedObjectPath) -> zbus::Result<ServiceProxy<'static>> {
        ServiceProxy::new(&self.bus, path.clone()).await
    }

    /// Ask for a unit to be started; the unit, and when its last process was started.
    pub(super) async fn start(&self, name: &str) -> zbus::Result<(OwnedObjectPath, u64)> {
        let manager = ManagerProxy::new(&self.bus).await?;
        let path = manager.load_unit(name).await?;
        let load = self.unit(&path).await?.load_state().await?;
        if load != "loaded" {
            return Err(zbus::Error::Failure(format!("its unit {name} is {load}")));
        }
        // Else systemd forgets how its process ended as soon as it has.
        self.unit(&path).await?.hold().await?;
        let started = self.service(&path).await?.exec_main_start_timestamp_monotonic().await?;
        // Whether too many starts are too many is the agent's to say. A unit that did not fail has nothing to reset.
        let _ = manager.reset_failed_unit(name).await;
        manager.start_unit(name, "replace").await?;
        Ok((path, started))
    }

    pub(super) async fn stop(&self, path: &OwnedObjectPath) -> zbus::Result<()> {
        let unit = self.unit(path).await?;
        let manager = ManagerProxy::new(&self.bus).await?;
        // A socket that starts the unit for whoever connects, such as Docker's, would undo it at once.
        for trigger in unit.triggered_by().await? {
            manager.stop_unit(&trigger, "replace").await?;
        }
        unit.stop("replace").await.map(drop)
    }

    pub(super) async fn look(&self, path: &OwnedObjectPath) -> zbus::Result<Seen> {
        let unit = self.unit(path).await?;
        // The job first: one that is over by now has had its effect on what is asked next.
        let has_job = unit.job().await?.0 != 0;
        let active = unit.active_state().await?;
        // All of the service at one moment: a process may be starting just now.
        let (properties, interface) = ("org.freedesktop.DBus.Properties", "org.freedesktop.systemd1.Service");
        let body = (interface,);
        let asked = self
            .bus
            .call_method(Some(SYSTEMD), path, Some(properties), "GetAll", &body);
        let mut service: HashMap<String, OwnedVariant> = asked.await?.body().deserialize()?;
        Ok(Seen {
            has_job,
            active,
            result: taken(&mut service, "Result")?,
            main_pid: taken(&mut service, "MainPID")?,
            exec_pid: taken(&mut service, "ExecMainPID")?,
            exec_status: taken(&mut service, "ExecMainStatus")?,
            started: taken(&mut service, "ExecMainStartTimestampMonotonic")?,
        })
    }

    /// The unit whose main process has this pid.
    pub(super) async fn unit_of_main_pid(&self, pid: u32) -> zbus::Result<Option<OwnedObjectPath>> {
        // An error means that it is no unit's, or that the unit is no service.
        let Ok(path) = ManagerProxy::new(&self.bus).await?.get_unit_by_pid(pid).await else {
            return Ok(None);
        };
        if !self
            .service(&path)
            .await?
            .main_pid()
            .await
            .is_ok_and(|main| main == pid)
        {
            return Ok(None);
        }
        self.unit(&path).await?.hold().await?;
        Ok(Some(path))
    }

    /// How the process of this pid ended, as far as systemd still knows.
    pub(super) async fn end_of(&self, path: &OwnedObjectPath, pid: u32) -> End {
        let look = async {
            let service = self.service(path).await?;
            let deadline = Instant::now() + NOTICED;
            while service.main_pid().await? == pid && Instant::now() < deadline {
                sleep(LOOK).await;
            }
            let (status, code) = (service.exec_main_status().await?, service.exec_main_code().await?);
            // Asked last: if it is still about this process, what was asked before is, too.
            Ok::<_, zbus::Error>((service.exec_main_pid().await? == pid).then_some((code, status)))
        };
        match look.await {
            Ok(Some((nix::libc::CLD_EXITED, code))) => End::Code(code),
            Ok(Some((nix::libc::CLD_KILLED | nix::libc::CLD_DUMPED, signal))) => End::Signal(signal),
            _ => End::Unknown,
        }
    }
}

/// One of a unit's properties.
fn taken<T>(properties: &mut HashMap<String, OwnedVariant>, name: &str) -> zbus::Result<T>
where
    T: TryFrom<OwnedVariant>,
{
    let value = properties.remove(name).and_then(|value| T::try_from(value).ok());
    value.ok_or_else(|| zbus::Error::Failure(format!("systemd does not tell {name} as expected")))
}

pub(super) async fn bounded<T>(asked: impl Future<Output = zbus::Result<T>>) -> zbus::Result<T> {
    let late = || zbus::Error::Failure(format!("systemd did not answer within {} s", ANSWER.as_secs()));
    timeout(ANSWER, asked).await.unwrap_or_else(|_| Err(late()))
}
