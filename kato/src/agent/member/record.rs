//! What the cluster knows of this node: its record is made where this is a micro cloud, and obeyed everywhere: roles and
//! name go into the node's file, processes come and go with the roles.

use std::time::Duration;

use cluster::nodes::record::by_id_key;
use cluster::nodes::registry::Error;
use cluster::nodes::{Kind, NodeFile, Nodes, Record, Role, node_store};
use cluster::process::{Process, Wanted};
use cluster::store::Entry;
use tokio::sync::watch;
use tracing::{info, warn};

use super::follow::follow;
use super::{Member, Patience};
use crate::addresses;
use crate::agent::desk::ask_fence;
use crate::agent::joining::etcd::Settings;
use crate::error::chain;

/// How long the processes of a role that was taken away may need to end.
const STOP_WITHIN: Duration = Duration::from_secs(120);
/// How long fence may need to come up with its new name.
const RESTART_WITHIN: Duration = Duration::from_secs(60);

/// Obey the record, for ever.
pub async fn obey(member: &Member) {
    let key = by_id_key(member.node.borrow().id);
    let (told, mut entries) = watch::channel(None);
    let obey = async {
        let mut patience = Patience::new("do what the node's record says");
        while entries.changed().await.is_ok() {
            member.record_seen.send_replace(());
            member.stir();
            loop {
                let now: Option<Vec<Entry>> = entries.borrow_and_update().clone();
                match obey_once(member, now.unwrap_or_default()).await {
                    Ok(()) => break patience.restore(),
                    // What came meanwhile goes before.
                    Err(error) => tokio::select! {
                        () = patience.wait(error.as_ref()) => {}
                        Ok(()) = entries.changed() => {}
                    },
                }
            }
        }
    };
    tokio::join!(
        follow(member.store.as_ref(), &key, "read the node's record", &told),
        obey
    );
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn obey_once(member: &Member, entries: Vec<Entry>) -> Result<(), AnyError> {
    let node = member.node.borrow().clone();
    let Some(entry) = entries.first() else {
        return match node.kind {
            Kind::Micro => make(member, &node).await,
            // It is not let in, or not any more: it goes on with what it has.
            Kind::Cluster => Ok(()),
        };
    };
    let record: Record = serde_json::from_slice(&entry.value)?;
    if node.kind == Kind::Micro {
        keep_addresses(member, &record).await?;
    }
    apply(member, &record).await
}

/// Make the record of a micro cloud's one node.
async fn make(member: &Member, node: &NodeFile) -> Result<(), AnyError> {
    let nodes = Nodes::new(member.store.clone());
    let record = Record {
        addresses: addresses::of_this_machine()?,
        ..Record::of_node(node, "setup")
    };
    match nodes.add(&record).await {
        // A node that was here before it; a micro cloud has one.
        Err(Error::NameTaken { id, .. }) => {
            nodes.remove(id).await?;
            nodes.add(&record).await?;
        }
        // By whoever else, meanwhile.
        Err(Error::IdTaken { .. }) => {}
        added => added?,
    }
    Ok(())
}

/// On a cluster the core does so, by what nodes say when they ask for their certificates.
async fn keep_addresses(member: &Member, record: &Record) -> Result<(), AnyError> {
    let now = addresses::of_this_machine()?;
    if record.addresses != now {
        let change = |record: &mut Record| {
            record.addresses.clone_from(&now);
            Ok(())
        };
        Nodes::new(member.store.clone()).change(record.id, change).await?;
    }
    Ok(())
}

/// Bring the node's file and its processes to what the record says.
async fn apply(member: &Member, record: &Record) -> Result<(), AnyError> {
    let node = member.node.borrow().clone();
    let after = NodeFile {
        name: record.name.clone(),
        roles: allowed(&node, record),
        ..NodeFile::load(&member.paths)?
    };
    if !after.roles.contains(&Role::Config) && is_member(member, &node).await? {
        // Ended before, it would count as one that is down, and the others might be too few to let it go.
        return Err("the config store has not let this node's member go yet".into());
    }
    if (&after.name, &after.roles) != (&node.name, &node.roles) {
        info!(name = %after.name, roles = ?after.roles, "the node's record says so");
        after.save(&member.paths)?;
        member.node.send_replace(after.clone());
        member.stir();
    }
    let table = (member.table)(&after);
    member.desk.supervisor.look_after(table, STOP_WITHIN).await?;
    Ok(())
}

/// Whether this node, which is not the core, is still a member of the config store.
async fn is_member(member: &Member, node: &NodeFile) -> Result<bool, AnyError> {
    let may_be = node.roles.contains(&Role::Config) && !node.roles.contains(&Role::Core);
    if !may_be || !Settings::file(&member.paths).exists() {
        return Ok(false);
    }
    let members = node_store(&member.paths).admin().members().await?;
    Ok(members.iter().any(|known| known.name == node.id.to_string()))
}

/// The roles that the node has by its record. Base is part of every node, and being the core is decided on the node itself.
fn allowed(node: &NodeFile, record: &Record) -> Vec<Role> {
    let mut roles: Vec<Role> = record
        .roles
        .iter()
        .copied()
        .filter(|role| *role != Role::Core)
        .collect();
    roles.push(Role::Base);
    if node.roles.contains(&Role::Core) {
        roles.push(Role::Core);
    }
    roles.sort_unstable();
    roles.dedup();
    roles
}

/// Restart a fence that goes by another name than the node, so that it takes the values that are set for that; for ever.
pub async fn have_fence_go_by_the_name(member: &Member) {
    let mut node = member.node.subscribe();
    let mut stirred = member.desk.supervisor.stirred().subscribe();
    loop {
        let name = node.borrow_and_update().name.clone();
        if runs_fence(member).await
            && let (Some(status), _) = ask_fence(&member.desk.fence).await
            && !status.node.is_empty()
        {
            if status.node == name.as_str() {
                // An error means that the agent ends.
                let _ = node.wait_for(|node| node.name != name).await;
                continue;
            }
            info!(was = status.node, %name, "fence is restarted with the node's new name");
            let restarted = member.desk.supervisor.restart(&[Process::Fence], RESTART_WITHIN).await;
            if let Err(error) = restarted {
                warn!(error = chain(&error), "fence did not come up with the node's new name");
            }
        }
        tokio::select! {
            _ = stirred.changed() => {}
            _ = node.changed() => {}
        }
    }
}

/// Whether there is a fence that can be asked, and that is wanted.
async fn runs_fence(member: &Member) -> bool {
    let all = member.desk.supervisor.list().await;
    all.iter()
        .any(|seen| seen.process == Process::Fence && seen.is_ready() && seen.wanted == Wanted::Running)
}
