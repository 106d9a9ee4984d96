//! Every way in which the file can be damaged: what was recorded is there afterwards, and so is the damaged file.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::*;

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    format!("{}{suffix}", path.display()).into()
}

fn write_at(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

async fn filled(path: &Path) -> Vec<Record> {
    let inventory = Inventory::open(path).unwrap();
    let mut records = Vec::new();
    for number in 0..40 {
        let mut record = Record::sample(&format!("c{number:02}"));
        record.events = vec!["x".repeat(500)];
        inventory.put(&record).await.unwrap();
        records.push(record);
    }
    records
}

async fn sorted(inventory: &Inventory) -> Vec<Record> {
    let mut all = inventory.all().await.unwrap();
    all.sort_by(|a, b| a.handle.cmp(&b.handle));
    all
}

#[tokio::test]
async fn whatever_is_damaged_is_put_aside_and_made_anew_of_the_copies() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 6] = [
        ("no database", |path| fs::write(path, "not a database at all").unwrap()),
        ("garbage", |path| fs::write(path, [0x5a; 40_000]).unwrap()),
        ("a damaged header", |path| write_at(path, 0, &[0; 64])),
        ("a page of another kind", |path| write_at(path, 4096, &[0xff; 4096])),
        ("truncated", |path| {
            OpenOptions::new()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(9000)
                .unwrap();
        }),
        ("another program's", |path| {
            fs::remove_file(path).unwrap();
            let other = rusqlite::Connection::open(path).unwrap();
            other.execute_batch("CREATE TABLE containers (a INTEGER)").unwrap();
        }),
    ];
    for (what, harm) in harms {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("inventory.db");
        let records = filled(&path).await;
        harm(&path);
        let harmed = fs::read(&path).unwrap();
        let inventory = Inventory::open(&path).unwrap();
        assert_eq!(sorted(&inventory).await, records, "{what}");
        let rebuilt = inventory.rebuilt().await.unwrap().unwrap();
        assert_eq!((rebuilt.restored.len(), rebuilt.complete), (40, false), "{what}");
        assert!(!rebuilt.reason.is_empty(), "{what}");
        assert_eq!(fs::read(&rebuilt.kept).unwrap(), harmed, "{what}");
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_read_and_one_that_is_gone_cost_nothing() {
    for garbage in [Some([0x5a; 100_000].as_slice()), None] {
        let dir = tempfile::tempdir().unwrap();
        let (path, left) = (dir.path().join("inventory.db"), dir.path().join("left"));
        let inventory = Inventory::open(&path).unwrap();
        let mut record = Record::sample("web");
        inventory.put(&record).await.unwrap();
        inventory.save_to(&left).await;
        record.events.push("later".into());
        record.version += 1;
        inventory.put(&record).await.unwrap();
        drop(inventory);
        // As the file is when the kernel's last write was to its log.
        fs::rename(&left, &path).unwrap();
        if let Some(garbage) = garbage {
            fs::write(with_suffix(&path, "-wal"), garbage).unwrap();
        }
        assert_eq!(sorted(&Inventory::open(&path).unwrap()).await, [record]);
    }
}

#[tokio::test]
async fn a_new_inventory_that_has_nothing_to_tell_puts_nothing_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("inventory.db");
    let inventory = Inventory::open(&path).unwrap();
    let rebuilt = inventory.rebuilt().await.unwrap().unwrap();
    assert!(!rebuilt.is_of_interest() && !rebuilt.complete);
    inventory.forget_rebuilt().await.unwrap();
    inventory.put(&Record::sample("web")).await.unwrap();
    drop(inventory);
    assert_eq!(Inventory::open(&path).unwrap().rebuilt().await.unwrap(), None);
    let names = fs::read_dir(dir.path()).unwrap().flatten();
    assert!(
        names
            .map(|entry| entry.file_name())
            .all(|name| !name.to_string_lossy().contains("db."))
    );
}

#[tokio::test]
async fn a_copy_that_is_nobody_s_is_taken_away_and_one_of_a_container_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("inventory.db");
    let inventory = Inventory::open(&path).unwrap();
    for handle in ["recorded", "found", "nobody"] {
        inventory.put(&Record::sample(handle)).await.unwrap();
    }
    inventory
        .call(|store| store.execute("DELETE FROM containers WHERE handle != 'recorded'"))
        .await
        .unwrap();
    let found = BTreeSet::from(["instance-of-found".to_owned()]);
    inventory.prune_copies(found).await.unwrap();
    for (handle, kept) in [("recorded", true), ("found", true), ("nobody", false)] {
        let copy = inventory.copy(&format!("instance-of-{handle}")).await.unwrap();
        assert_eq!(copy.is_some(), kept, "{handle}");
    }
}
