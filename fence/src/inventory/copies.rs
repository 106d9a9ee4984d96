//! A copy of each record in a file of its own, beside the database: what the database is made anew from when it is
//! damaged. Blocking.
//!
//! The database stays the truth. A copy is written after the record and taken away before it, so a copy without a
//! record says that the database has lost one. A container that is still being made has none: nobody was told of it.
//! Copies are not forced to the disk, which the database is: a power cut that damages it may cost their last seconds.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Record;
use crate::container::State;

/// The largest copy that is read: more than a record takes whose parts are all at their limits.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

const SUFFIX: &str = ".json";
const NEW: &str = ".new";

/// The directory of the copies.
pub(super) struct Copies {
    directory: PathBuf,
}

impl Copies {
    /// The copies that belong to the database at `path`.
    pub(super) fn beside(path: &Path) -> Copies {
        Copies {
            directory: path.with_file_name("containers"),
        }
    }

    /// The copy of one record, if there is one that makes sense.
    pub(super) fn get(&self, instance: &str) -> Option<Record> {
        read(&self.path(instance)).filter(|record| record.instance == instance)
    }

    /// The instances that have a copy.
    pub(super) fn instances(&self) -> BTreeSet<String> {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return BTreeSet::new();
        };
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        names
            .filter_map(|name| name.strip_suffix(SUFFIX).map(str::to_owned))
            .collect()
    }

    /// All copies that make sense.
    pub(super) fn all(&self) -> Vec<Record> {
        let instances = self.instances();
        instances.iter().filter_map(|instance| self.get(instance)).collect()
    }

    /// Write the copy of a record that was told to somebody; a failure costs the copy alone.
    pub(super) fn put(&self, record: &Record, json: &str) {
        if record.state == State::Creating {
            return;
        }
        if let Err(error) = self.write(&record.instance, json) {
            tracing::warn!(handle = %record.handle, %error, "could not write the copy of a record");
        }
    }

    /// Take the copy of a record away.
    pub(super) fn remove(&self, instance: &str) -> io::Result<()> {
        match fs::remove_file(self.path(instance)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn write(&self, instance: &str, json: &str) -> io::Result<()> {
        let new = self.directory.join(format!("{instance}{NEW}"));
        let written = self.create(&new).and_then(|mut file| file.write_all(json.as_bytes()));
        let done = written.and_then(|()| fs::rename(&new, self.path(instance)));
        if done.is_err() {
            // Half a copy takes room where there may be none.
            let _ = fs::remove_file(&new);
        }
        done
    }

    fn create(&self, path: &Path) -> io::Result<fs::File> {
        let create = || {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600).open(path)
        };
        match create() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
                create()
            }
            done => done,
        }
    }

    fn path(&self, instance: &str) -> PathBuf {
        self.directory.join(format!("{instance}{SUFFIX}"))
    }
}

fn read(path: &Path) -> Option<Record> {
    let mut json = Vec::new();
    fs::File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_there_until_it_is_removed_and_one_without_sense_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let copies = Copies::beside(&dir.path().join("inventory.db"));
        let mut record = Record::sample("web");
        copies.put(&record, &serde_json::to_string(&record).unwrap());
        assert_eq!(copies.all(), std::slice::from_ref(&record));
        fs::write(copies.path("odd"), "{").unwrap();
        fs::write(copies.path("another"), serde_json::to_string(&record).unwrap()).unwrap();
        assert_eq!(copies.all(), std::slice::from_ref(&record));
        copies.remove(&record.instance).unwrap();
        copies.remove(&record.instance).unwrap();
        record.state = State::Creating;
        copies.put(&record, &serde_json::to_string(&record).unwrap());
        assert!(copies.all().is_empty());
    }

    #[test]
    fn only_root_may_read_them() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let copies = Copies::beside(&dir.path().join("inventory.db"));
        copies.put(&Record::sample("web"), "{}");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&copies.directory), 0o700);
        assert_eq!(mode(&copies.path(&Record::sample("web").instance)), 0o600);
    }
}
