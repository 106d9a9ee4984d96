//! What each guest of the config store may do, as the records say: each paired node, each administrator, the core itself,
//! and nobody else. Pure; it is here, and only here.
//!
//! What their leases are marked with is added in [`listed`]. A guest's name holds the beginning of its key's fingerprint, so that a name given to another key is another guest.

use cluster::config::Name;
use cluster::identity::{Fingerprint, Subject};
use cluster::nodes::Record;
use cluster::nodes::report::{STOCK, alive_key, report_key, stock_key};
use cluster::pairing::Administrator;
use cluster::process::orders_prefix;
use cluster::store::etcd::gateway::{Grant, Guest, Guests, Keys, Right, Rights};
use registry_bootstrap::distribute::told;
use uuid::Uuid;

use super::records::Records;

/// All who may come, with the marks of their leases by the members' secret. Whose record cannot be read stays as it was.
pub fn listed(records: &Records, before: &Guests, secret: &[u8]) -> Guests {
    let kept = before.iter().filter(|guest| {
        let owner = owner(&guest.name);
        records.kept.iter().any(|kept| kept == owner)
    });
    let kept = kept.map(|guest| Guest::clone(guest)).collect::<Vec<_>>();
    let marked = |guest: Guest| Guest {
        mark: Guest::mark_of(secret, &guest.name),
        ..guest
    };
    let guests = records.guests.iter().cloned().chain(kept).chain([root()]);
    guests.map(marked).collect()
}

/// The core itself. Its CA signs this name for nobody else.
fn root() -> Guest {
    Guest {
        name: "root".to_owned(),
        key: None,
        rights: Rights::Root,
        mark: 0,
    }
}

/// A node: it reads what is not secret, and writes what is its own state. `None` where its record names no key.
pub fn of_node(record: &Record) -> Option<Guest> {
    let key: Fingerprint = record.fingerprint.parse().ok()?;
    let id = record.id;
    let reads = ["config/", "node/", "realm/", "state/", STOCK].map(str::to_owned);
    let reads = reads.into_iter().chain([orders_prefix(id)]).map(Keys::Prefix);
    // Key by key, for a node that writes without end is everybody's matter.
    let writes = [alive_key(id), report_key(id), told::key(id), stock_key(id)].map(Keys::One);
    let grant = |right| move |keys| Grant { keys, right };
    let reads = reads.map(grant(Right::Read));
    let grants = reads.chain(writes.into_iter().map(grant(Right::Write))).collect();
    Some(Guest {
        name: Subject::Node { id }.common_name(&key)?,
        key: Some(key),
        rights: Rights::Granted(grants),
        mark: 0,
    })
}

/// An administrator: all keys. Members, alarms and snapshots stay with the core.
pub fn of_administrator(administrator: &Administrator) -> Option<Guest> {
    let subject = Subject::Administrator {
        name: administrator.name.clone(),
    };
    Some(Guest {
        name: subject.common_name(&administrator.fingerprint)?,
        key: Some(administrator.fingerprint.clone()),
        rights: Rights::Granted(vec![Grant {
            keys: Keys::Prefix(String::new()),
            right: Right::ReadWrite,
        }]),
        mark: 0,
    })
}

/// Whose a name is: it without the key, as [`nodes_owner`] and [`administrators_owner`] have it.
fn owner(name: &str) -> &str {
    name.rsplit_once('-').map_or(name, |(owner, _)| owner)
}

/// How the names of a node begin.
pub fn nodes_owner(id: Uuid) -> String {
    format!("node-{id}")
}

/// How the names of an administrator begin.
pub fn administrators_owner(name: &Name) -> String {
    format!("admin-{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::nodes::{DockerSettings, NodeFile};

    fn record() -> Record {
        let node = NodeFile::micro(&Name::new("one").unwrap(), DockerSettings::default());
        Record::of_node(&node, "admin")
    }

    #[test]
    fn a_node_writes_nothing_but_its_own_state_and_reads_no_secret() {
        let mut record = record();
        assert_eq!(of_node(&record), None);
        record.fingerprint = Fingerprint::of(b"key").to_string();
        let guest = of_node(&record).unwrap();
        let may = |right, key: &str| guest.rights.cover(right, key.as_bytes(), &[]);
        for key in ["alive", "report", "images"] {
            assert!(may(Right::Write, &format!("state/{}/{key}", record.id)), "{key}");
        }
        for key in [
            "config/x",
            "secret/x",
            "state/x",
            "node/endpoints",
            "images/job/x",
            "leader",
        ] {
            assert!(!may(Right::Write, key), "{key}");
        }
        assert!(!may(Right::Write, &format!("state/{}/note", record.id)));
        for shown in ["config/x", "node/endpoints", "realm/x", "state/x"] {
            assert!(may(Right::Read, shown), "{shown}");
        }
        for hidden in [
            "secret/x",
            "history/1",
            "pairing/token/x",
            "admin/x",
            "wanted/other/fence",
            "images/job/x",
            "leader",
        ] {
            assert!(!may(Right::Read, hidden), "{hidden}");
        }
    }

    #[test]
    fn who_is_not_known_stays_and_who_has_no_record_goes() {
        let mut record = record();
        record.fingerprint = Fingerprint::of(b"key").to_string();
        let (there, lost) = (of_node(&record).unwrap(), Uuid::from_u128(1));
        let records = Records {
            guests: vec![there.clone()],
            kept: vec![nodes_owner(lost), administrators_owner(&Name::new("a").unwrap())],
            ..Records::default()
        };
        let of_before = |name: &str| Guest {
            name: name.to_owned(),
            ..root()
        };
        let (lost, old_key) = (format!("node-{lost}-0123"), format!("{}-0000", nodes_owner(record.id)));
        let names = [&lost, "admin-a-0123", "admin-a-b-0123", &old_key, "friend"];
        let before: Guests = names.map(of_before).into_iter().collect();
        let now = listed(&records, &before, b"secret");
        let mut names: Vec<&str> = now.iter().map(|guest| guest.name.as_str()).collect();
        names.sort_unstable();
        let mut expected = ["admin-a-0123", &lost, &there.name, "root"];
        expected.sort_unstable();
        assert_eq!(names, expected);
    }
}
