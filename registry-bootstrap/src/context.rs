//! A directory as the context of a build: which of its files go into it, and an archive that is made while it is read. Links
//! stay links: nothing outside the directory gets in. How one file gets into the archive is in [`entry`].

mod entry;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use engine::TarStream;
use tokio::io::{AsyncRead, DuplexStream, ReadBuf};
use tokio::task::JoinHandle;

use crate::ignore::Ignore;
use crate::{Error, Result};

/// What says what stays out.
const PATTERNS: &str = ".dockerignore";
/// The largest file of patterns, and how much of the archive may wait to be read.
const MAX_IGNORE: u64 = 1 << 20;
const BUFFER: usize = 256 << 10;
/// The most files of a context, and the most bytes.
const MAX_FILES: usize = 500_000;
const MAX_BYTES: u64 = 16 << 30;

/// The archive of `directory`. The recipe, by its plain path there, and the patterns are in it whatever these say: the engine
/// reads both, and leaves out of the image what they leave out.
pub fn archive(directory: &Path, recipe: &Path) -> Result<TarStream> {
    let patterns = directory.join(PATTERNS);
    let ignore = match cluster::files::read_limited(&patterns, MAX_IGNORE) {
        Ok(text) => Ignore::read(&text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ignore::default(),
        Err(error) => return Err(Error::file("read", &patterns)(error)),
    };
    let mut walk = Walk {
        directory,
        recipe,
        ignore,
        paths: Vec::new(),
    };
    walk.go(Path::new(""))?;
    let (reader, writer) = tokio::io::duplex(BUFFER);
    let made = tokio::spawn(entry::all(directory.to_path_buf(), walk.paths, MAX_BYTES, writer));
    Ok(Box::pin(Reading {
        reader,
        made: Some(made),
    }))
}

/// The plain path of the recipe in the directory, where there is one.
pub fn recipe(directory: &Path, dockerfile: &str) -> Result<PathBuf> {
    let mut path = PathBuf::new();
    for part in Path::new(dockerfile).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir if path.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(Error::refused(
                    format!("{dockerfile} is no path in {}", directory.display()),
                    "name the Dockerfile with -f, by its path in the directory",
                ));
            }
        }
    }
    match directory.join(&path).is_file() {
        true => Ok(path),
        false => Err(Error::NotFound {
            what: directory.join(&path).display().to_string(),
            hint: "name the Dockerfile with -f, by its path in the directory".to_owned(),
        }),
    }
}

/// The archive as it is read; where it broke off, that is an error and no end. Nobody makes it when nobody reads it any more.
struct Reading {
    reader: DuplexStream,
    /// Until it is known how that ended.
    made: Option<JoinHandle<io::Result<()>>>,
}

impl AsyncRead for Reading {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.reader).poll_read(context, buffer);
        let is_end = matches!(read, Poll::Ready(Ok(()))) && buffer.filled().len() == before;
        let Some(made) = self.made.as_mut().filter(|_| is_end && buffer.remaining() > 0) else {
            return read;
        };
        let made = match Pin::new(made).poll(context) {
            Poll::Ready(made) => made,
            Poll::Pending => return Poll::Pending,
        };
        self.made = None;
        Poll::Ready(made.unwrap_or_else(|broken| Err(io::Error::other(broken))))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(made) = &self.made {
            made.abort();
        }
    }
}

/// What is found in a directory: the paths that are to be in the archive, by name, directories before what is in them.
struct Walk<'a> {
    directory: &'a Path,
    recipe: &'a Path,
    ignore: Ignore,
    paths: Vec<PathBuf>,
}

impl Walk<'_> {
    fn go(&mut self, below: &Path) -> Result<()> {
        let here = self.directory.join(below);
        let listed = fs::read_dir(&here).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
        let mut entries = listed.map_err(Error::file("list", &here))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = below.join(entry.file_name());
            let is_kept = self.is_kept(&path);
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let is_searched = is_kept || self.ignore.takes_back() || self.recipe.starts_with(&path);
            if is_kept {
                self.paths.push(path.clone());
            }
            if self.paths.len() > MAX_FILES {
                return Err(Error::refused(
                    format!("{} has more than {MAX_FILES} files", self.directory.display()),
                    "leave some out with .dockerignore",
                ));
            }
            if is_directory && is_searched {
                self.go(&path)?;
            }
        }
        Ok(())
    }

    fn is_kept(&self, path: &Path) -> bool {
        let is_read = path == self.recipe || path.as_os_str() == OsStr::new(PATTERNS);
        is_read || !self.ignore.is_out(path.as_os_str().as_bytes())
    }
}

#[cfg(test)]
#[path = "context_tests.rs"]
mod tests;
