//! How members are, alarms and defragmentation. What concerns one member goes to that member, also to one
//! that the store's calls pass over.

use std::time::Duration;

use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Client};
use tokio::time::timeout;

use super::super::call::PATIENCE;
use super::super::failure::classify;
use super::Admin;
use crate::store::{Error, Result};

/// How long a member may take to defragment: it reads and writes its whole database, and answers nobody meanwhile.
const DEFRAGMENT: Duration = Duration::from_secs(60);

/// How one member is, by its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    pub id: u64,
    /// Of etcd.
    pub version: String,
    /// The member that leads; `None` while there is none.
    pub leader: Option<u64>,
    pub is_learner: bool,
    /// The database's file in bytes, and what of it is in use: the rest comes free by defragmenting.
    pub size: u64,
    pub size_in_use: u64,
    /// How far it has come; the same for all members in a quiet cluster.
    pub applied: u64,
    /// What it complains of.
    pub errors: Vec<String>,
}

/// What etcd holds against a member; while there is one, nothing can be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    pub member: u64,
    pub kind: AlarmKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmKind {
    /// Its database has reached the quota.
    Full,
    /// Its data is not what the others have.
    Corrupt,
}

impl Admin {
    /// How the member that answers at `endpoint` is.
    pub async fn status(&self, endpoint: &str) -> Result<MemberStatus> {
        let asked = |mut client: Client| async move { client.status().await };
        let status = self.ask_member(endpoint, "ask for the status", PATIENCE, asked).await?;
        Ok(MemberStatus {
            id: status.header().map_or(0, etcd_client::ResponseHeader::member_id),
            version: status.version().to_owned(),
            leader: (status.leader() != 0).then_some(status.leader()),
            is_learner: status.is_learner(),
            size: status.db_size().unsigned_abs(),
            size_in_use: status.raft_used_db_size().unsigned_abs(),
            applied: status.raft_applied_index(),
            errors: status.errors().to_vec(),
        })
    }

    /// Give the space that compaction freed back to the member at `endpoint`. It answers nobody meanwhile.
    pub async fn defragment(&self, endpoint: &str) -> Result<()> {
        let asked = |mut client: Client| async move { client.defragment().await };
        self.ask_member(endpoint, "defragment", DEFRAGMENT, asked).await?;
        Ok(())
    }

    /// The alarms of all members.
    pub async fn alarms(&self) -> Result<Vec<Alarm>> {
        let asked = self.ask("list the alarms", |mut client: Client| async move {
            client.alarm(AlarmAction::Get, AlarmType::None, None).await
        });
        let known = |alarm: &etcd_client::AlarmMember| {
            let kind = match alarm.alarm() {
                AlarmType::Nospace => AlarmKind::Full,
                AlarmType::Corrupt => AlarmKind::Corrupt,
                AlarmType::None => return None,
            };
            Some(Alarm {
                member: alarm.member_id(),
                kind,
            })
        };
        Ok(asked.await?.alarms().iter().filter_map(known).collect())
    }

    /// Take an alarm back; it is raised anew if its cause is still there.
    pub async fn disarm(&self, alarm: Alarm) -> Result<()> {
        let kind = match alarm.kind {
            AlarmKind::Full => AlarmType::Nospace,
            AlarmKind::Corrupt => AlarmType::Corrupt,
        };
        let asked = self.ask("disarm an alarm", |mut client: Client| async move {
            let mut options = AlarmOptions::new();
            options.with_member(alarm.member);
            client.alarm(AlarmAction::Deactivate, kind, Some(options)).await
        });
        asked.await?;
        Ok(())
    }

    async fn ask_member<T, F>(
        &self,
        endpoint: &str,
        attempt: &'static str,
        patience: Duration,
        question: impl FnOnce(Client) -> F,
    ) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, etcd_client::Error>>,
    {
        let client = self.connector.to_member(endpoint).await?;
        match timeout(patience, question(client)).await {
            Ok(answer) => answer.map_err(|error| classify(error).into_error(attempt, endpoint)),
            Err(_) => Err(Error::Unavailable {
                place: endpoint.to_owned(),
                source: format!("no answer within {} s", patience.as_secs()).into(),
            }),
        }
    }
}
