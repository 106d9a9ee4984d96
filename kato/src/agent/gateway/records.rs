//! What the records of nodes and administrators say of who is to be in the config store. Reads them, changes nothing.
//!
//! A record that cannot be read is no reason to put out whom it is about, and none to leave everybody else in: its key
//! still names whom it is about.

use cluster::config::Name;
use cluster::nodes::Record;
use cluster::nodes::record::BY_ID;
use cluster::pairing::{ADMIN, Administrator};
use cluster::store::etcd::gateway::Guest;
use cluster::store::{Entry, Page, Result, Revision, Store};
use serde::de::DeserializeOwned;
use tracing::warn;
use uuid::Uuid;

use super::guests::{administrators_owner, nodes_owner, of_administrator, of_node};

/// Who is to be in.
#[derive(Debug, Default)]
pub struct Records {
    /// All nodes whose records can be read.
    pub nodes: Vec<Record>,
    /// The nodes whose records cannot.
    pub unknown: Vec<Uuid>,
    /// What the nodes and administrators may do whose records can be read.
    pub guests: Vec<Guest>,
    /// Whose guests stay as they are, since their records cannot be read: as [`nodes_owner`] and [`administrators_owner`] name them.
    pub kept: Vec<String>,
}

impl Records {
    /// Those of now, and the revision after which changes are not in them.
    pub async fn read(store: &dyn Store) -> Result<(Self, Revision)> {
        let mut all = Records::default();
        let nodes = store.range(BY_ID, Page::ALL).await?;
        for entry in nodes.entries {
            all.add_node(&entry);
        }
        for entry in store.range(ADMIN, Page::ALL).await?.entries {
            all.add_administrator(&entry);
        }
        Ok((all, nodes.revision))
    }

    fn add_node(&mut self, entry: &Entry) {
        let Some(id) = entry.key.strip_prefix(BY_ID).and_then(|id| id.parse::<Uuid>().ok()) else {
            return warn!(key = entry.key, "this is no node's key; passes over it");
        };
        match value::<Record>(entry).filter(|record| record.id == id) {
            Some(record) => {
                self.guests.extend(of_node(&record));
                self.nodes.push(record);
            }
            None => {
                warn!(
                    key = entry.key,
                    "a node's record cannot be read; what it may do stays as it is"
                );
                self.kept.push(nodes_owner(id));
                self.unknown.push(id);
            }
        }
    }

    fn add_administrator(&mut self, entry: &Entry) {
        let Some(name) = entry.key.strip_prefix(ADMIN).and_then(|name| Name::new(name).ok()) else {
            return warn!(key = entry.key, "this is no administrator's key; passes over it");
        };
        match value::<Administrator>(entry).filter(|administrator| administrator.name == name) {
            Some(administrator) => self.guests.extend(of_administrator(&administrator)),
            None => {
                warn!(
                    key = entry.key,
                    "an administrator's record cannot be read; what they may do stays as it is"
                );
                self.kept.push(administrators_owner(&name));
            }
        }
    }
}

fn value<T: DeserializeOwned>(entry: &Entry) -> Option<T> {
    serde_json::from_slice(&entry.value)
        .inspect_err(|error| warn!(key = entry.key, %error, "a record cannot be read"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::identity::Fingerprint;
    use cluster::nodes::record::by_id_key;
    use cluster::nodes::{DockerSettings, NodeFile};
    use cluster::store::Txn;
    use cluster::store::memory::MemoryStore;

    #[tokio::test]
    async fn a_record_that_cannot_be_read_keeps_its_own_guest_and_nobody_elses() {
        let store = MemoryStore::new();
        let node = NodeFile::micro(&Name::new("one").unwrap(), DockerSettings::default());
        let mut record = Record::of_node(&node, "admin");
        record.fingerprint = Fingerprint::of(b"key").to_string();
        let (lost, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let good = serde_json::to_vec(&record).unwrap();
        let txn = Txn::new()
            .put(by_id_key(record.id), good.clone())
            .put(by_id_key(lost), "{")
            .put(by_id_key(other), good)
            .put(format!("{BY_ID}junk"), "{")
            .put(format!("{ADMIN}alice"), "[]")
            .put(format!("{ADMIN}no name"), "[]");
        store.txn(txn).await.unwrap();
        let (records, _) = Records::read(&store).await.unwrap();
        assert_eq!(records.nodes, [record.clone()]);
        assert_eq!(records.guests, [of_node(&record).unwrap()]);
        assert_eq!(records.unknown, [lost, other]);
        let kept = [
            format!("node-{lost}"),
            format!("node-{other}"),
            "admin-alice".to_owned(),
        ];
        assert_eq!(records.kept, kept);
    }
}
