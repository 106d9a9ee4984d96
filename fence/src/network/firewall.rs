//! Where the rules are applied: the kernel by way of `nft` and `iptables`, or a memory of it for tests.

use std::net::Ipv4Addr;
use std::process::Stdio;
#[cfg(test)]
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{Error, Forward, Result, rules};
use crate::fault;

/// How long one command may take.
const COMMAND: Duration = Duration::from_secs(20);

/// The node's packet filter, as far as fence writes it.
#[async_trait]
pub trait Firewall: Send + Sync + 'static {
    /// Make these, and no others, the ports that lead to containers behind the bridge with this address.
    async fn apply(&self, gateway: Ipv4Addr, forwards: &[Forward]) -> Result<()>;
    /// No port leads to a container any more.
    async fn clear(&self) -> Result<()>;
}

/// The kernel's nftables, and the one rule that Docker's own filter needs to let the connections pass.
///
/// Two things stay when the last port is gone, since they are the host's and not one node's: that rule, and the guard
/// of the loopback addresses, without which `route_localnet` would be a hole.
pub struct Nft {
    table: String,
}

impl Nft {
    /// The table of the node with this id.
    pub fn new(node_id: &str) -> Nft {
        let short: String = node_id.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        Nft {
            table: format!("fence_{short}"),
        }
    }
}

#[async_trait]
impl Firewall for Nft {
    async fn apply(&self, gateway: Ipv4Addr, forwards: &[Forward]) -> Result<()> {
        let bridge = interface_of(gateway).unwrap_or_else(|| "docker0".into());
        run(
            "nft",
            "nftables",
            &["-f", "-"],
            &rules::table(&self.table, &bridge, forwards),
        )
        .await?;
        fault::point("rules/table-applied");
        run("nft", "nftables", &["-f", "-"], &rules::guard(&bridge)).await?;
        // A packet from the node's loopback to the bridge is a martian to the kernel unless this is set.
        set(&format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet"), "1")?;
        fault::point("rules/guard-applied");
        pass_docker(&bridge).await?;
        fault::point("rules/docker-passes");
        Ok(())
    }

    async fn clear(&self) -> Result<()> {
        run("nft", "nftables", &["-f", "-"], &rules::no_table(&self.table)).await?;
        fault::point("rules/cleared");
        Ok(())
    }
}

/// Docker drops what is forwarded to its bridge and was not published by it. Its chain DOCKER-USER is where others may
/// let more pass: here, connections that a rule has led to the bridge.
async fn pass_docker(bridge: &str) -> Result<()> {
    const CHAIN: &str = "DOCKER-USER";
    let rule = ["-o", bridge, "-m", "conntrack", "--ctstate", "DNAT", "-j", "ACCEPT"];
    match run("iptables", "iptables", &["-w", "5", "-n", "-L", CHAIN], "").await {
        Ok(()) => {}
        // Docker does not filter here, so nothing has to be passed.
        Err(Error::Missing { .. }) => return Ok(()),
        Err(Error::Refused { reason, .. }) if reason.contains("No chain") => return Ok(()),
        Err(error) => return Err(error),
    }
    let check: Vec<&str> = ["-w", "5", "-C", CHAIN].into_iter().chain(rule).collect();
    if run("iptables", "iptables", &check, "").await.is_ok() {
        return Ok(());
    }
    let insert: Vec<&str> = ["-w", "5", "-I", CHAIN].into_iter().chain(rule).collect();
    run("iptables", "iptables", &insert, "").await
}

async fn run(program: &'static str, package: &'static str, arguments: &[&str], input: &str) -> Result<()> {
    // Out of processes or descriptors, the program is there all the same.
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => Error::Missing {
            program,
            package,
            source,
        },
        _ => Error::Failed { program, source },
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let stdin = child.stdin.take();
    let talk = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read its input says so by its status.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(COMMAND, talk).await;
    let output = output
        .map_err(|_| Error::TimedOut {
            program,
            seconds: COMMAND.as_secs(),
        })?
        .map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let reason: String = String::from_utf8_lossy(&output.stderr)
        .trim()
        .chars()
        .take(500)
        .collect();
    Err(Error::Refused { program, reason })
}

fn set(path: &str, value: &str) -> Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|now| now.trim() == value) {
        return Ok(());
    }
    std::fs::write(path, value).map_err(|source| Error::Setting {
        path: path.to_owned(),
        source,
    })
}

/// The interface that has this address.
fn interface_of(address: Ipv4Addr) -> Option<String> {
    let has = |found: &nix::ifaddrs::InterfaceAddress| {
        found
            .address
            .as_ref()
            .and_then(|a| a.as_sockaddr_in())
            .is_some_and(|a| a.ip() == address)
    };
    nix::ifaddrs::getifaddrs()
        .ok()?
        .find(has)
        .map(|found| found.interface_name)
}

/// A packet filter that only remembers.
#[cfg(test)]
#[derive(Debug, Default)]
pub struct FakeFirewall {
    forwards: Mutex<Vec<Forward>>,
    refuses: std::sync::atomic::AtomicBool,
}

#[cfg(test)]
impl FakeFirewall {
    /// What was applied last.
    pub fn forwards(&self) -> Vec<Forward> {
        self.forwards.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on every change fails, or none does.
    pub fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, std::sync::atomic::Ordering::Release);
    }

    fn check(&self) -> Result<()> {
        match self.refuses.load(std::sync::atomic::Ordering::Acquire) {
            true => Err(Error::Refused {
                program: "nft",
                reason: "it was told to".into(),
            }),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
#[async_trait]
impl Firewall for FakeFirewall {
    async fn apply(&self, _gateway: Ipv4Addr, forwards: &[Forward]) -> Result<()> {
        self.check()?;
        *self.forwards.lock().unwrap_or_else(PoisonError::into_inner) = forwards.to_vec();
        Ok(())
    }

    async fn clear(&self) -> Result<()> {
        self.check()?;
        self.forwards.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }
}
