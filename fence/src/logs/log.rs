//! The log of one container: its one writer, and its readers' word that there is more.
//!
//! What is written is in the kernel's hands before it is acknowledged: the end of fence loses none of it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::entry::{Entry, Heading, Kept, Piece, What, Written};
use super::{Place, Rules, files};

/// The most outputs whose places a file begins with.
const MAX_PLACES: usize = 64;
/// Instead of what could not be written.
const FULL: &str = "it could not be written to the disk";
/// In place of the number of the last entry once there is no log any more.
const GONE: u64 = u64::MAX;

/// One container's log. Its files are made with the first entry.
pub struct Log {
    pub(super) directory: PathBuf,
    /// What all logs of the node take.
    total: Arc<AtomicU64>,
    state: Mutex<State>,
    /// The number of the last entry.
    last: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    gone: bool,
    /// Bytes that could not be written, of the last output that had any.
    unwritten: u64,
}

struct Open {
    file: File,
    number: u64,
    size: u64,
    last: u64,
    written: Written,
}

impl Log {
    pub(super) fn new(directory: PathBuf, total: Arc<AtomicU64>) -> Log {
        Log {
            directory,
            total,
            state: Mutex::default(),
            last: watch::Sender::new(0),
        }
    }

    /// How far this output was written down.
    pub fn written(&self, place: &Place) -> io::Result<u64> {
        let mut state = self.state();
        let open = self.open(&mut state)?;
        Ok(open.written.get(place).copied().unwrap_or(0))
    }

    /// Write pieces of an output down, one after the other. Where that fails they are marked as missing with the next
    /// that does not; says how it failed.
    pub fn write(&self, place: &Place, pieces: Vec<Piece>, rules: &Rules) -> io::Result<()> {
        let mut state = self.state();
        if state.gone || pieces.is_empty() {
            return Ok(());
        }
        let bytes: u64 = pieces.iter().map(Piece::length).sum();
        let upto = pieces.last().map_or(0, |piece| piece.upto);
        let unwritten = std::mem::take(&mut state.unwritten);
        let mut all = Vec::with_capacity(pieces.len() + 1);
        if unwritten > 0 {
            let first = pieces.first().map_or(0, |piece| piece.upto - piece.length());
            all.push(Piece {
                what: What::Dropped(unwritten, FULL),
                upto: first,
            });
        }
        all.extend(pieces);
        match self.put(&mut state, place, all, rules) {
            Ok(last) => {
                self.last.send_replace(last);
                Ok(())
            }
            Err(error) => {
                state.unwritten = unwritten + bytes;
                // It is not to come again: there is no room for it then either.
                if let Some(open) = &mut state.open {
                    open.written.insert(place.clone(), upto);
                }
                Err(error)
            }
        }
    }

    /// The number of the last entry written by this fence, as it grows; `None` once the log is gone.
    pub async fn changed(&self, known: &mut watch::Receiver<u64>) -> Option<()> {
        known.changed().await.ok()?;
        (*known.borrow() != GONE).then_some(())
    }

    /// To be told of entries from now on.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// Take all of it away; nothing is written any more.
    pub fn remove(&self) -> io::Result<()> {
        let mut state = self.state();
        (state.gone, state.open) = (true, None);
        self.last.send_replace(GONE);
        let size = files::size(&self.directory);
        match std::fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                self.freed(size);
                Ok(())
            }
        }
    }

    fn put(&self, state: &mut State, place: &Place, pieces: Vec<Piece>, rules: &Rules) -> io::Result<u64> {
        let time = jiff::Timestamp::now().to_string();
        self.open(state)?;
        let mut lines = Vec::new();
        for piece in pieces {
            let open = self.open(state)?;
            if open.size + lines.len() as u64 > rules.file_bytes {
                self.append(open, &std::mem::take(&mut lines))?;
                self.rotate(open, rules)?;
            }
            open.last += 1;
            let kept = Kept {
                entry: Entry::of(open.last, time.clone(), place, piece.what),
                run: place.run,
                upto: piece.upto,
            };
            open.written.insert(place.clone(), piece.upto);
            serde_json::to_writer(&mut lines, &kept)?;
            lines.push(b'\n');
        }
        let open = self.open(state)?;
        self.append(open, &lines)?;
        Ok(open.last)
    }

    fn append(&self, open: &mut Open, mut lines: &[u8]) -> io::Result<()> {
        while !lines.is_empty() {
            match open.file.write(lines) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    open.size += written as u64;
                    self.total.fetch_add(written as u64, Ordering::Relaxed);
                    lines = &lines[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // What comes next begins a line of its own.
                    let whole = whole_lines(&self.directory, open.number).unwrap_or(open.size);
                    if open.file.set_len(whole).is_ok() {
                        self.freed(open.size.saturating_sub(whole));
                        open.size = whole;
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Begin the next file, and let go of the oldest.
    fn rotate(&self, open: &mut Open, rules: &Rules) -> io::Result<()> {
        let number = open.number + 1;
        let mut file = files::append(&self.directory, number)?;
        let mut written: Vec<_> = open.written.drain().collect();
        // The runs are times: what was begun last is most likely to go on.
        written.sort_by_key(|(place, _)| std::cmp::Reverse(place.run));
        written.truncate(MAX_PLACES);
        let heading = Heading {
            written: written.clone(),
            last: open.last,
        };
        open.written = written.into_iter().collect();
        let mut line = serde_json::to_vec(&heading)?;
        line.push(b'\n');
        file.write_all(&line)?;
        (open.file, open.number, open.size) = (file, number, line.len() as u64);
        self.total.fetch_add(open.size, Ordering::Relaxed);
        let is_too_much = self.total.load(Ordering::Relaxed) > rules.total_bytes;
        let kept = if is_too_much { 1 } else { rules.files.max(1) };
        for old in files::list(&self.directory)? {
            if old + kept <= number {
                let path = files::path(&self.directory, old);
                let size = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
                std::fs::remove_file(&path)?;
                self.freed(size);
            }
        }
        Ok(())
    }

    fn open<'a>(&self, state: &'a mut State) -> io::Result<&'a mut Open> {
        if state.gone {
            return Err(io::ErrorKind::NotFound.into());
        }
        let open = match state.open.take() {
            Some(open) => open,
            None => self.continued()?,
        };
        Ok(state.open.insert(open))
    }

    /// The newest file as an earlier fence left it, without a line that was cut off.
    fn continued(&self) -> io::Result<Open> {
        let number = files::list(&self.directory)?.pop().unwrap_or(1);
        let file = files::append(&self.directory, number)?;
        let (size, last, written) = files::ends(&self.directory, number)?;
        let found = file.metadata()?.len();
        if found > size {
            file.set_len(size)?;
            self.freed(found - size);
        }
        Ok(Open {
            file,
            number,
            size,
            last,
            written,
        })
    }

    fn freed(&self, bytes: u64) {
        let less = |total: u64| Some(total.saturating_sub(bytes));
        // The closure always gives something.
        let _ = self.total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the whole lines of a file end.
fn whole_lines(directory: &Path, number: u64) -> io::Result<u64> {
    files::ends(directory, number).map(|(size, _, _)| size)
}
