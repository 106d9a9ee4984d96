//! The forms that cgroup files have: one number, `max`, or lines of a name and a number.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::Error;

/// The most that is read of one file, in bytes.
const MAX_FILE: u64 = 64 * 1024;
/// From here on a limit of version 1 is none: the most that it can say, in whole pages.
const NO_LIMIT: u64 = 1 << 62;

/// A whole file.
pub fn read(path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
    read.map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(text)
}

/// A file that holds one number.
pub fn number(path: &Path) -> Result<u64, Error> {
    let content = |_| Error::Content { path: path.to_owned() };
    read(path)?.trim().parse().map_err(content)
}

/// The same, 0 where there is no such file: a kernel may be built without it.
pub fn number_if_any(path: &Path) -> Result<u64, Error> {
    match number(path) {
        Err(Error::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(0),
        number => number,
    }
}

/// A file that holds a limit. `None` = none.
pub fn limit(path: &Path) -> Result<Option<u64>, Error> {
    match read(path)?.trim() {
        "max" => Ok(None),
        _ => number(path).map(|limit| (limit < NO_LIMIT).then_some(limit)),
    }
}

/// Lines of a name and a number. Others are passed over.
pub fn table(path: &Path) -> Result<BTreeMap<String, u64>, Error> {
    let text = read(path)?;
    let lines = text.lines().filter_map(|line| {
        let (name, number) = line.split_once(' ')?;
        Some((name.to_owned(), number.trim().parse().ok()?))
    });
    Ok(lines.collect())
}
