//! An inventory that cannot be used: put aside, never deleted while it is one of the newest few, and made anew from
//! the copies. What was done is noted in the new one, since it has to be told, and since as long as the engine was not
//! asked a container without a record is not a stray but one whose record was lost. Blocking.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// How many inventories that were put aside are kept.
const KEPT: usize = 4;

/// What a new inventory knows of its own making.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuilt {
    /// RFC 3339.
    pub at: String,
    /// Why it was made anew; empty where there simply was none.
    pub reason: String,
    /// The file to remove when this has been seen: the one put aside, or one that only says that there was none. Empty
    /// while there is nothing to tell.
    pub kept: String,
    /// The containers that are as they were.
    pub restored: Vec<String>,
    /// The containers of which only the engine's word is there, with what they had to lose.
    pub guessed: Vec<Guessed>,
    /// The engine was asked what it has, and all of that has a record: what has none from now on is a stray.
    pub complete: bool,
}

/// A container whose record could only be guessed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guessed {
    pub instance: String,
    pub handle: String,
}

impl Rebuilt {
    /// There was no inventory, or this is why it was of no use.
    pub(super) fn now(reason: String, kept: String) -> Rebuilt {
        Rebuilt {
            at: jiff::Timestamp::now().to_string(),
            reason,
            kept,
            ..Rebuilt::default()
        }
    }

    /// Whether there is something to tell.
    pub fn is_of_interest(&self) -> bool {
        !(self.reason.is_empty() && self.restored.is_empty() && self.guessed.is_empty())
    }
}

/// Put a damaged inventory aside, its log with it; the answer is where it is now. Nobody may have it open.
pub(super) fn put_aside(path: &Path) -> std::io::Result<PathBuf> {
    let aside = free_name(path, "corrupt");
    // The log first: beside a new database it would be played into that.
    for suffix in ["-wal", "-shm", ""] {
        match fs::rename(with_suffix(path, suffix), with_suffix(&aside, suffix)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    forget_oldest(path);
    Ok(aside)
}

/// A file that stands for an inventory that was not there.
pub(super) fn note_missing(path: &Path) -> std::io::Result<PathBuf> {
    let note = free_name(path, "missing");
    fs::write(
        &note,
        "There was no inventory. Remove this file when you have seen what kato status says of it.\n",
    )?;
    Ok(note)
}

fn free_name(path: &Path, why: &str) -> PathBuf {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let name = |number: u32| match number {
        0 => with_suffix(path, &format!(".{why}-{now}")),
        more => with_suffix(path, &format!(".{why}-{now}.{more}")),
    };
    let mut number = 0;
    while name(number).exists() {
        number += 1;
    }
    name(number)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// By their times in the file system: those in their names are a clock's that may have been set.
fn forget_oldest(path: &Path) {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return;
    };
    let prefix = format!("{}.corrupt-", name.to_string_lossy());
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut kept: Vec<_> = entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.starts_with(&prefix) && !name.ends_with("-wal") && !name.ends_with("-shm")
        })
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    kept.sort();
    for (_, old) in kept.iter().rev().skip(KEPT) {
        for suffix in ["-wal", "-shm", ""] {
            let _ = fs::remove_file(with_suffix(old, suffix));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_aside_takes_its_log_along_and_the_newest_few_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("inventory.db");
        for number in 0..KEPT + 3 {
            fs::write(&path, format!("damaged {number}")).unwrap();
            fs::write(with_suffix(&path, "-wal"), format!("log {number}")).unwrap();
            let aside = put_aside(&path).unwrap();
            assert_eq!(fs::read_to_string(&aside).unwrap(), format!("damaged {number}"));
            assert_eq!(
                fs::read_to_string(with_suffix(&aside, "-wal")).unwrap(),
                format!("log {number}")
            );
            assert!(!path.exists() && !with_suffix(&path, "-wal").exists());
        }
        assert_eq!(dir.path().read_dir().unwrap().count(), 2 * KEPT);
    }
}
