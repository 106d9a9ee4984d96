//! Counts the processes of the container, children of init or not.

use std::fs;
use std::path::Path;

use crate::signals;

/// How many processes live besides init; 0 only where there is not even one to be reaped, and so nothing that has still
/// to be told. `known` is how many of them init started itself: where /proc is missing, or is not this container's, that
/// and whether there are others is all that can be said.
pub fn others(known: usize) -> u32 {
    // The kernel's own word, at one moment: the scan misses what comes and goes meanwhile, and does not count what is
    // dead except for its threads, or has died since init last reaped.
    if !signals::any_other() {
        return 0;
    }
    let count = scan(Path::new("/proc")).unwrap_or(known).max(1);
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn scan(proc: &Path) -> Option<usize> {
    let own = std::process::id().to_string();
    if fs::read_link(proc.join("self")).ok()? != Path::new(&own) {
        return None;
    }
    let entries = fs::read_dir(proc).ok()?;
    let living = entries.flatten().filter(|entry| {
        let name = entry.file_name();
        let is_process = name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        is_process && name != *own && fs::read(entry.path().join("stat")).is_ok_and(|stat| lives(&stat))
    });
    Some(living.count())
}

/// Whether a line of /proc/PID/stat is of a process that is neither dead nor waits to be reaped. The name in brackets
/// may contain anything, brackets too.
pub fn lives(stat: &[u8]) -> bool {
    !matches!(behind_name(stat).get(1), None | Some(b'Z' | b'X' | b'x'))
}

/// The parent's pid in such a line.
pub fn parent(stat: &[u8]) -> Option<i32> {
    let field = behind_name(stat).split(|byte| *byte == b' ').nth(2)?;
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn behind_name(stat: &[u8]) -> &[u8] {
    stat.rsplit(|byte| *byte == b')').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_found_behind_any_name() {
        assert!(lives(b"12 (sh) S 1 12"));
        assert!(lives(b"12 (a) Z (b) R 1 12"));
        assert!(!lives(b"12 (a) S (b) Z 1 12"));
        assert!(!lives(b"12 (x) X 1"));
        assert!(!lives(b""));
        assert_eq!(parent(b"12 (a) S (b) Z 7 12 12"), Some(7));
        assert_eq!(parent(b"12 (a) S"), None);
    }

    #[test]
    fn others_are_counted_and_a_foreign_or_missing_proc_is_not() {
        assert!(scan(Path::new("/proc")).unwrap() > 0);
        assert_eq!(scan(Path::new("/nowhere")), None);
    }
}
