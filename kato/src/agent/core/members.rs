//! The members of the config store follow the roles: who has the role config is one, who lost it is taken out.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use cluster::nodes::{Record, Role};
use cluster::store::Result;
use cluster::store::etcd::admin::{Admin, Member};
use tracing::{info, warn};
use uuid::Uuid;

use crate::agent::gateway::records::Records;
use crate::error::chain;

/// Make a node a member, or find that it is one: all members, as etcd's setting `initial-cluster` wants it.
pub async fn add(admin: &Admin, id: Uuid, peer_url: &str) -> Result<String> {
    let urls = [peer_url.to_owned()];
    let mut members = admin.members().await?;
    // One that comes back with nothing on its disk is another one to etcd.
    for stale in members.iter().filter(|member| member.name == id.to_string()) {
        info!(node = %id, "a member of the config store comes anew");
        admin.remove_member(stale.id).await?;
    }
    members.retain(|member| member.name != id.to_string());
    if !members.iter().any(|member| member.peer_urls.contains(&urls[0])) {
        admin.add_learner(&urls).await?;
    }
    let mut all = BTreeSet::from([format!("{id}={peer_url}")]);
    for member in admin.members().await? {
        if !member.name.is_empty() {
            all.extend(member.peer_urls.iter().map(|url| format!("{}={url}", member.name)));
        }
    }
    Ok(all.into_iter().collect::<Vec<_>>().join(","))
}

/// Where the store answers, as its members say; those that only learn do not answer yet.
pub fn endpoints(members: &[Member]) -> Vec<String> {
    let answer = members.iter().filter(|member| !member.is_learner);
    let mut all: Vec<String> = answer
        .filter_map(|member| member.client_urls.first().cloned())
        .collect();
    all.sort();
    all.dedup();
    all
}

/// Let those who have learnt vote, and take out those who are not to be members any more; of whom that is not known, since
/// its record cannot be read, stays.
pub async fn follow(admin: &Admin, records: &Records) -> Result<()> {
    let members = admin.members().await?;
    for member in &members {
        if !belongs(member, &records.nodes) && !may_belong(member, &records.unknown) && members.len() > 1 {
            info!(member = member.name, "takes a member out of the config store");
            admin.remove_member(member.id).await?;
        } else if member.is_learner
            && let Err(error) = admin.promote(member.id).await
        {
            match error.is_retryable() {
                true => tracing::debug!(error = %chain(&error), "a member still learns"),
                false => warn!(error = %chain(&error), "a member of the config store could not be let vote"),
            }
        }
    }
    Ok(())
}

fn belongs(member: &Member, records: &[Record]) -> bool {
    let mut holders = records.iter().filter(|record| {
        record
            .roles
            .iter()
            .any(|role| matches!(role, Role::Config | Role::Core))
    });
    match member.name.parse::<Uuid>() {
        Ok(id) => holders.any(|record| record.id == id),
        // Not started yet: known by where it will be.
        Err(_) => holders.any(|record| {
            let here = member.peer_urls.iter().filter_map(|url| host(url));
            here.into_iter().any(|address| record.addresses.contains(&address))
        }),
    }
}

/// Whether it may be the member of one of these nodes.
fn may_belong(member: &Member, unknown: &[Uuid]) -> bool {
    match member.name.parse::<Uuid>() {
        Ok(id) => unknown.contains(&id),
        Err(_) => !unknown.is_empty(),
    }
}

fn host(url: &str) -> Option<IpAddr> {
    let rest = url.split_once("://")?.1;
    Some(rest.parse::<SocketAddr>().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::config::Name;
    use cluster::nodes::{DockerSettings, NodeFile};

    fn record(roles: &[Role], address: &str) -> Record {
        let node = NodeFile::micro(&Name::new("one").unwrap(), DockerSettings::default());
        let mut record = Record::of_node(&node, "admin");
        record.roles = roles.to_vec();
        record.addresses = vec![address.parse().unwrap()];
        record
    }

    fn member(name: &str, url: &str, is_learner: bool) -> Member {
        Member {
            id: 1,
            name: name.to_owned(),
            peer_urls: vec![url.to_owned()],
            client_urls: vec![format!("https://{name}:2379")],
            is_learner,
        }
    }

    #[test]
    fn a_member_belongs_while_its_node_has_the_role() {
        let with = record(&[Role::Base, Role::Config], "10.0.0.1");
        let without = record(&[Role::Base, Role::Dea], "10.0.0.2");
        let records = [with.clone(), without.clone()];
        assert!(belongs(
            &member(&with.id.to_string(), "https://10.0.0.9:2380", false),
            &records
        ));
        assert!(!belongs(
            &member(&without.id.to_string(), "https://10.0.0.2:2380", false),
            &records
        ));
        assert!(belongs(&member("", "https://10.0.0.1:2380", true), &records));
        assert!(!belongs(&member("", "https://10.0.0.2:2380", true), &records));
        let unknown = [with.id];
        assert!(may_belong(&member(&with.id.to_string(), "x", false), &unknown));
        assert!(!may_belong(&member(&without.id.to_string(), "x", false), &unknown));
        assert!(may_belong(&member("", "x", true), &unknown) && !may_belong(&member("", "x", true), &[]));
    }

    #[test]
    fn who_only_learns_is_not_asked() {
        let members = [member("b", "x", false), member("a", "x", false), member("c", "x", true)];
        assert_eq!(endpoints(&members), ["https://a:2379", "https://b:2379"]);
    }
}
