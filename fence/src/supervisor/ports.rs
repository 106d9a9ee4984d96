//! Ports of the node that lead to containers.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entry::Entry;
use super::{Error, Result, Supervisor};
use crate::container::{Handle, PortMapping, State};
use crate::fault;
use crate::network::{self, Forward, PortGuard};

impl Supervisor {
    /// Lead a port of the node to one of a container. A host port of 0 is chosen, a container port of 0 is the same.
    pub async fn net_in(&self, handle: &Handle, wanted: PortMapping) -> Result<PortMapping> {
        let entry = self.entry(handle)?;
        let supervisor = self.clone();
        self.to_the_end(async move { supervisor.lead_port(&entry, wanted).await })
            .await
    }

    async fn lead_port(&self, entry: &Arc<Entry>, wanted: PortMapping) -> Result<PortMapping> {
        let _life = entry.life.lock().await;
        self.check_running(entry, "lead a port into it")?;
        let (mapping, guard) = self.take_port(wanted)?;
        fault::point("ports/taken");
        entry
            .change(&self.parts().inventory, |record| record.ports.push(mapping))
            .await?;
        entry.ports().push(guard);
        fault::point("ports/recorded");
        match self.apply_forwards().await {
            Ok(()) => {
                fault::point("ports/rules-applied");
                Ok(mapping)
            }
            Err(error) => {
                // The port stays bound for as long as the record has it.
                entry
                    .change(&self.parts().inventory, |record| {
                        record.ports.retain(|port| *port != mapping)
                    })
                    .await?;
                entry.ports().retain(|guard| guard.port() != mapping.host_port);
                Err(error)
            }
        }
    }

    /// Take one port from the pool, or this very one.
    pub(super) fn take_port(&self, wanted: PortMapping) -> Result<(PortMapping, PortGuard)> {
        let pool = &self.parts().ports;
        let guard = match wanted.host_port {
            0 => pool.any().ok_or(Error::Exhausted {
                what: "free ports".into(),
            })?,
            port => pool.this(port).ok_or(Error::PortInUse { port })?,
        };
        let host_port = guard.port();
        let container_port = if wanted.container_port == 0 {
            host_port
        } else {
            wanted.container_port
        };
        Ok((
            PortMapping {
                host_port,
                container_port,
            },
            guard,
        ))
    }

    /// Make the kernel's rules what the table of containers says they are.
    pub async fn apply_forwards(&self) -> Result<()> {
        // Held from reading the table to applying it, so that an older state never replaces a newer one.
        let _one = self.inner.forwarding.lock().await;
        let mut forwards = Vec::new();
        let mut gateway = None;
        for entry in self.entries() {
            if entry.is_being_destroyed() {
                continue;
            }
            let record = entry.record();
            // Until it is back its address may be another container's.
            if record.comes_back && !entry.link.is_connected() {
                continue;
            }
            let (Ok(address), Ok(via)) = (record.ip.parse::<Ipv4Addr>(), record.gateway.parse::<Ipv4Addr>()) else {
                continue;
            };
            if record.state == State::Destroying || record.state == State::Lost || record.ports.is_empty() {
                continue;
            }
            gateway = Some(via);
            forwards.extend(record.ports.iter().map(|port| Forward {
                host_port: port.host_port,
                address,
                container_port: port.container_port,
            }));
        }
        let firewall = &self.parts().firewall;
        let Some(gateway) = gateway else {
            return self.clear_forwards().await;
        };
        self.inner.filtered.store(true, Ordering::Release);
        let applied = firewall.apply(gateway, &forwards).await;
        applied.map_err(|source| Error::Network {
            attempt: "lead ports to containers",
            source,
        })
    }

    /// Nothing is led anywhere any more. A rule that stays would lead to whoever gets the address next.
    async fn clear_forwards(&self) -> Result<()> {
        if !self.inner.filtered.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.parts().firewall.clear().await {
            Ok(()) => {}
            // What is not installed has no rules either.
            Err(network::Error::Missing { .. }) => {}
            Err(source) => {
                let attempt = "remove the rules that led ports to containers";
                return Err(Error::Network { attempt, source });
            }
        }
        self.inner.filtered.store(false, Ordering::Release);
        Ok(())
    }

    /// Let go of a container's ports.
    pub(super) async fn release_ports(&self, entry: &Arc<Entry>) -> Result<()> {
        let had = !entry.record().ports.is_empty();
        if had {
            self.apply_forwards().await?;
            fault::point("destroy/rules-removed");
        }
        entry.ports().clear();
        fault::point("destroy/ports-freed");
        Ok(())
    }
}
