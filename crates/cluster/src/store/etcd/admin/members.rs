//! The members of etcd's cluster: one after the other, learning before they vote, so that a new one never costs the
//! majority.

use etcd_client::{Client, MemberAddOptions};

use super::super::failure::Refusal;
use super::{Admin, done_if};
use crate::store::{Error, Result};

/// A member, as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: u64,
    /// Empty until it was started for the first time.
    pub name: String,
    /// Where the other members reach it.
    pub peer_urls: Vec<String>,
    /// Where it says that clients reach it; none until it was started for the first time.
    pub client_urls: Vec<String>,
    /// It follows and does not vote yet.
    pub is_learner: bool,
}

impl Admin {
    /// All members.
    pub async fn members(&self) -> Result<Vec<Member>> {
        let asked = self.ask("list the members", |mut client: Client| async move {
            client.member_list().await
        });
        Ok(asked.await?.members().iter().map(member).collect())
    }

    /// Add a member that learns, or find the one that was added with these peer URLs. A retryable error may mean that
    /// another one is still learning.
    pub async fn add_learner(&self, peer_urls: &[String]) -> Result<Member> {
        let asked = self.ask("add a member", |mut client: Client| async move {
            client
                .member_add(peer_urls, Some(MemberAddOptions::new().with_is_learner()))
                .await
        });
        let added = match asked.await {
            Ok(response) => response.member().map(member),
            Err(failed) if failed.refusal == Some(Refusal::Already) => self.member_at(peer_urls).await?,
            Err(failed) => return Err(failed.error),
        };
        added.ok_or_else(|| Error::Failed {
            attempt: "add a member",
            place: self.connector.place(),
            source: "it is not among the members afterwards".into(),
        })
    }

    async fn member_at(&self, peer_urls: &[String]) -> Result<Option<Member>> {
        let members = self.members().await?;
        Ok(members
            .into_iter()
            .find(|member| member.peer_urls.iter().any(|url| peer_urls.contains(url))))
    }

    /// Let a learner vote. A retryable error means that it has not caught up yet.
    pub async fn promote(&self, id: u64) -> Result<()> {
        let asked = self.ask("promote a member", |mut client: Client| async move {
            client.member_promote(id).await
        });
        let asked = asked.await;
        if asked
            .as_ref()
            .is_err_and(|failed| failed.refusal == Some(Refusal::NotNow))
        {
            // etcd looks how far it is before it looks whether it votes already.
            let members = self.members().await?;
            if members.iter().any(|member| member.id == id && !member.is_learner) {
                return Ok(());
            }
        }
        done_if(asked, Refusal::Already)
    }

    /// Take a member out. Its process ends by itself when it hears of it.
    pub async fn remove_member(&self, id: u64) -> Result<()> {
        let asked = self.ask("remove a member", |mut client: Client| async move {
            client.member_remove(id).await
        });
        done_if(asked.await, Refusal::Absent)
    }
}

fn member(member: &etcd_client::Member) -> Member {
    Member {
        id: member.id(),
        name: member.name().to_owned(),
        peer_urls: member.peer_urls().to_vec(),
        client_urls: member.client_urls().to_vec(),
        is_learner: member.is_learner(),
    }
}
