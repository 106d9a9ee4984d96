//! The logs of processes: kept to a bounded size, and read from their end.
//!
//! A process writes to its file itself, so that it does not need the agent. The file is therefore shortened in place:
//! its content is copied aside and the file emptied; the process, which appends, goes on at its new end. What is
//! written between the two steps is lost; that is the price of not standing between a process and its log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

/// A log of this size is put aside.
const MAX_BYTES: u64 = 10 * 1024 * 1024;
/// How often logs are looked at.
const EVERY: Duration = Duration::from_secs(10);
/// How much of a log's end is read for its last lines.
const TAIL_BYTES: u64 = 16 * 1024;

/// Keep these logs small for as long as the agent runs.
pub async fn keep_small(logs: Vec<PathBuf>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for log in logs.clone() {
            let shown = log.display().to_string();
            // Copying 10 MB takes a while.
            let done = tokio::task::spawn_blocking(move || put_aside(&log, MAX_BYTES)).await;
            match done {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(log = shown, %error, "could not put the log aside"),
                Err(error) => warn!(log = shown, %error, "putting the log aside was broken off"),
            }
        }
    }
}

/// Copy a log that has grown beyond `limit` to `<log>.1` and empty it.
fn put_aside(log: &Path, limit: u64) -> io::Result<()> {
    match fs::metadata(log) {
        Ok(found) if found.len() > limit => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut aside = log.as_os_str().to_owned();
    aside.push(".1");
    match fs::copy(log, &aside) {
        // Room is worth more than old lines: what fills the disk may be this very log.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => fs::remove_file(&aside)?,
        copied => drop(copied?),
    }
    OpenOptions::new().write(true).open(log)?.set_len(0)
}

/// The last lines of a log, without what could steer a terminal. None where there is no log.
pub fn last_lines(log: &Path, count: usize) -> Vec<String> {
    let text = read_end(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    lines[from..]
        .iter()
        .map(|line| line.replace(|c: char| c.is_control() && c != '\t', ""))
        .collect()
}

fn read_end(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_log_is_put_aside_and_its_writer_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("fence.log");
        put_aside(&log, 8).unwrap();
        let mut writer = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        writer.write_all(b"12345678").unwrap();
        put_aside(&log, 8).unwrap();
        assert_eq!(fs::read(&log).unwrap(), b"12345678");
        writer.write_all(b"9").unwrap();
        put_aside(&log, 8).unwrap();
        writer.write_all(b"new").unwrap();
        assert_eq!(fs::read(&log).unwrap(), b"new");
        assert_eq!(fs::read(directory.path().join("fence.log.1")).unwrap(), b"123456789");
    }

    #[test]
    fn the_last_lines_cannot_steer_the_terminal() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        assert!(last_lines(&log, 2).is_empty());
        let head = "x".repeat(2 * TAIL_BYTES as usize);
        fs::write(&log, format!("{head}\none\ntwo\n\u{1b}[31mthree\n")).unwrap();
        assert_eq!(last_lines(&log, 2), ["two", "[31mthree"]);
    }
}
