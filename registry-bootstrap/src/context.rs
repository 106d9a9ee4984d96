//! A directory as the context of a build: an archive that is made while it is read, without what `.dockerignore` leaves out.
//! Links stay links: nothing outside the directory gets in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use engine::TarStream;
use tokio::io::{AsyncRead, DuplexStream, ReadBuf};
use tokio_tar::{Builder, EntryType, Header};

use crate::ignore::Ignore;
use crate::{Error, Result};

/// The largest file of patterns, and how much of the archive may wait to be read.
const MAX_IGNORE: u64 = 1 << 20;
const BUFFER: usize = 256 << 10;
/// The most files of a context, and the most bytes.
const MAX_FILES: usize = 500_000;
const MAX_BYTES: u64 = 16 << 30;

/// The archive of `directory`; the recipe `dockerfile` is in it whatever the patterns say.
pub fn archive(directory: &Path, dockerfile: &str) -> Result<TarStream> {
    if !directory.join(dockerfile).is_file() {
        return Err(Error::NotFound {
            what: directory.join(dockerfile).display().to_string(),
            hint: "name the Dockerfile with -f, by its path in the directory".to_owned(),
        });
    }
    let patterns = directory.join(".dockerignore");
    let ignore = match cluster::files::read_limited(&patterns, MAX_IGNORE) {
        Ok(text) => Ignore::read(&String::from_utf8_lossy(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ignore::default(),
        Err(error) => return Err(Error::file("read", &patterns)(error)),
    };
    let mut paths = Vec::new();
    let kept = |path: &str| path == dockerfile || !ignore.is_out(path);
    walk(directory, "", &ignore, &kept, &mut paths)?;
    let (reader, writer) = tokio::io::duplex(BUFFER);
    let broken = Arc::new(OnceLock::new());
    // Who stops reading ends it.
    tokio::spawn(write(directory.to_path_buf(), paths, writer, Arc::clone(&broken)));
    Ok(Box::pin(Reading { reader, broken }))
}

/// The end of the archive that is read; where it broke off, that is an error and no end.
struct Reading {
    reader: DuplexStream,
    broken: Arc<OnceLock<String>>,
}

impl AsyncRead for Reading {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.reader).poll_read(context, buffer);
        match (&read, self.broken.get()) {
            (Poll::Ready(Ok(())), Some(reason)) if buffer.filled().len() == before => {
                Poll::Ready(Err(io::Error::other(reason.clone())))
            }
            _ => read,
        }
    }
}

/// The paths that are to be in it, by name, directories before what is in them.
fn walk(
    directory: &Path,
    below: &str,
    ignore: &Ignore,
    kept: &impl Fn(&str) -> bool,
    paths: &mut Vec<String>,
) -> Result<()> {
    let here = directory.join(below);
    let listed = fs::read_dir(&here).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let mut entries = listed.map_err(Error::file("list", &here))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let path = match below {
            "" => name.to_string_lossy().into_owned(),
            below => format!("{below}/{}", name.to_string_lossy()),
        };
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let is_kept = kept(&path);
        if is_kept {
            paths.push(path.clone());
        }
        if paths.len() > MAX_FILES {
            return Err(Error::refused(
                format!("{} has more than {MAX_FILES} files", directory.display()),
                "leave some out with .dockerignore",
            ));
        }
        if is_directory && (is_kept || ignore.takes_back()) {
            walk(directory, &path, ignore, kept, paths)?;
        }
    }
    Ok(())
}

async fn write(directory: PathBuf, paths: Vec<String>, writer: DuplexStream, broken: Arc<OnceLock<String>>) {
    let (mut reader, own) = tokio::io::duplex(BUFFER);
    let mut writer = writer;
    let made = entries(&directory, &paths, own);
    let (made, _) = tokio::join!(made, tokio::io::copy(&mut reader, &mut writer));
    if let Err(error) = made {
        // Before the reader sees the end, which comes with the writer's.
        let _ = broken.set(error.to_string());
    }
}

async fn entries(directory: &Path, paths: &[String], writer: DuplexStream) -> io::Result<()> {
    let mut tar = Builder::new(writer);
    let mut total = 0;
    for path in paths {
        let from = directory.join(path);
        let data = fs::symlink_metadata(&from)?;
        let mut header = Header::new_gnu();
        header.set_metadata(&data);
        // Whose files they are here is nobody's business in an image.
        header.set_uid(0);
        header.set_gid(0);
        if data.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            header.set_size(0);
            header.set_link_name(fs::read_link(&from)?)?;
            tar.append_data(&mut header, path, tokio::io::empty()).await?;
        } else if data.is_dir() {
            tar.append_data(&mut header, format!("{path}/"), tokio::io::empty())
                .await?;
        } else if data.is_file() {
            total += data.len();
            if total > MAX_BYTES {
                return Err(io::Error::other(format!("it has more than {MAX_BYTES} bytes")));
            }
            tar.append_data(&mut header, path, tokio::fs::File::open(&from).await?)
                .await?;
        }
        // Sockets, pipes and devices are no part of a context.
    }
    tar.finish().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;

    async fn names(directory: &Path, dockerfile: &str) -> Vec<String> {
        let mut archive = tokio_tar::Archive::new(archive(directory, dockerfile).unwrap());
        let mut entries = archive.entries().unwrap();
        let mut names = Vec::new();
        while let Some(entry) = entries.next().await {
            names.push(entry.unwrap().path().unwrap().display().to_string());
        }
        names
    }

    #[tokio::test]
    async fn all_that_is_not_left_out_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["Dockerfile.x64", "src/main.c", ".git/config", "keep/a.log", "a.log"] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        std::os::unix::fs::symlink("/etc/shadow", folder.path().join("link")).unwrap();
        fs::write(
            folder.path().join(".dockerignore"),
            ".git\n**/*.log\n!keep/a.log\nDockerfile*\n",
        )
        .unwrap();
        assert_eq!(
            names(folder.path(), "Dockerfile.x64").await,
            [
                ".dockerignore",
                "Dockerfile.x64",
                "keep/",
                "keep/a.log",
                "link",
                "src/",
                "src/main.c"
            ]
        );
    }

    #[tokio::test]
    async fn without_its_recipe_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let error = archive(folder.path(), "Dockerfile").err().unwrap();
        assert_eq!(error.kind(), crate::Kind::NotFound);
    }
}
