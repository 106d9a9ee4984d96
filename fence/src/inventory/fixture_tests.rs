//! The inventory as each version writes it.

use fixtures::{kept, pin, sql};

use super::{Error, Inventory, PeaRecord, Record};
use crate::container::{BindMount, ImageSource, Limits, PortMapping, State};

const TABLES: [&str; 1] = ["containers"];

fn records() -> [Record; 2] {
    let mut web = Record::sample("web");
    web.spec.env = vec!["A=b".into()];
    web.spec.image = ImageSource::Named {
        name: "example/base:1".into(),
        username: String::new(),
        password: String::new(),
    };
    web.spec.grace_time_ns = Some(60_000_000_000);
    web.spec.mounts = vec![BindMount {
        source: "/srv".into(),
        target: "/mnt".into(),
        read_only: true,
    }];
    web.spec.ports = vec![PortMapping {
        host_port: 0,
        container_port: 8080,
    }];
    web.image.name = "example/base:1".into();
    web.image.command = vec!["start.sh".into()];
    web.limits = Limits {
        memory_bytes: Some(1 << 29),
        cpu_shares: Some(1024),
        pids: Some(256),
    };
    web.properties = [("owner".to_owned(), "ann".to_owned())].into();
    web.main.exit_status = Some(3);
    web.started = true;
    web.events = vec!["Out of memory".into()];
    web.shares_ipc = true;
    web.peas = vec![PeaRecord {
        instance: "instance-of-web.1".into(),
        process: "check".parse().unwrap(),
        engine_id: "e2".into(),
        pid: 2,
        runs: true,
    }];
    let mut job = Record::sample("job");
    job.state = State::Stopped;
    job.ports.clear();
    [job, web]
}

/// The records that an inventory of this dump holds, and that can be changed in it.
async fn read(dump: &str) -> Vec<Record> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("inventory.db");
    sql::restore(&path, dump);
    let inventory = Inventory::open(&path).unwrap();
    let mut all = inventory.all().await.unwrap();
    all.sort_by(|a, b| a.handle.as_str().cmp(b.handle.as_str()));
    for record in &all {
        inventory.put(record).await.unwrap();
    }
    assert!(inventory.unreadable().await.unwrap().is_empty());
    all
}

#[tokio::test]
async fn an_inventory_of_each_version_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("inventory.db");
    let inventory = Inventory::open(&path).unwrap();
    for record in records() {
        inventory.put(&record).await.unwrap();
    }
    pin("inventory.sql", &sql::dump(&path, &TABLES));
    for version in kept("inventory.sql") {
        assert_eq!(read(&version.text).await, records(), "of {}", version.version);
        // Every record is an object that begins with its handle.
        let added = version
            .text
            .replace("'{\"handle\"", "'{\"added_later\":{\"a\":[1]},\"handle\"");
        assert_ne!(added, version.text);
        assert_eq!(read(&added).await, records(), "of {}", version.version);
    }
}

#[tokio::test]
async fn an_inventory_of_a_later_format_is_refused_and_left_as_it_is() {
    for version in kept("inventory.sql") {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("inventory.db");
        sql::restore(&path, &version.text.replace("user_version = 1", "user_version = 2"));
        let before = sql::dump(&path, &TABLES);
        let error = Inventory::open(&path).map(drop).unwrap_err();
        assert!(matches!(error, Error::Format { found: 2, .. }), "{error:?}");
        assert_eq!(sql::dump(&path, &TABLES), before);
    }
}
