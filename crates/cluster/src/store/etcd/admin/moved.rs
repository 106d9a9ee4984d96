//! A member of etcd's cluster that is at another address than it was.

use etcd_client::Client;

use super::Admin;
use crate::store::Result;

impl Admin {
    /// Tell the members where they reach this one from now on. What it has stays.
    pub async fn move_member(&self, id: u64, peer_urls: &[String]) -> Result<()> {
        let asked = self.ask("move a member", |mut client: Client| async move {
            client.member_update(id, peer_urls).await
        });
        asked.await.map(drop).map_err(|failed| failed.error)
    }
}
