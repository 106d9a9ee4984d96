//! A tar file whose parts are read by name: where each is is found once, content is read where it lies. Nothing is unpacked.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio_util::io::ReaderStream;

use crate::remote::Pieces;
use crate::{Error, Result};

/// The most parts of a file, and the largest that is read as a whole.
const MAX_PARTS: usize = 100_000;
const MAX_WHOLE: u64 = 8 << 20;
/// Bytes read at once.
const PIECE: usize = 256 << 10;
/// How many links may lead to another.
const MAX_LINKS: usize = 8;

/// A file of images.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    parts: HashMap<String, Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Content {
        offset: u64,
        size: u64,
    },
    /// To another part, by its name from the top.
    Link(String),
}

impl File {
    /// Find the parts of the file at `path`.
    pub async fn open(path: &Path) -> Result<File> {
        let failed = |source| Error::file("read", path)(source);
        let file = tokio::fs::File::open(path).await.map_err(failed)?;
        let mut archive = tokio_tar::Archive::new(tokio::io::BufReader::with_capacity(PIECE, file));
        let mut entries = archive.entries().map_err(failed)?;
        let mut parts = HashMap::new();
        while let Some(entry) = entries.next().await {
            let entry =
                entry.map_err(|error| Error::failed(format!("read {} as a tar file", path.display()), error))?;
            let name = plain(&entry.path().map_err(failed)?.to_string_lossy(), "");
            let kind = entry.header().entry_type();
            if kind.is_file() {
                let (offset, size) = (entry.raw_file_position(), entry.effective_size());
                parts.insert(name, Part::Content { offset, size });
            } else if kind.is_symlink() || kind.is_hard_link() {
                let to = entry.link_name().map_err(failed)?.unwrap_or_default();
                let from = if kind.is_symlink() { name.as_str() } else { "" };
                parts.insert(name.clone(), Part::Link(plain(&to.to_string_lossy(), from)));
            }
            if parts.len() > MAX_PARTS {
                let reason = format!("it has more than {MAX_PARTS} parts");
                return Err(Error::failed(format!("read {}", path.display()), reason));
            }
        }
        Ok(File {
            path: path.to_path_buf(),
            parts,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is such a part.
    pub fn has(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// How long a part is.
    pub fn size(&self, name: &str) -> Result<u64> {
        Ok(self.place(name)?.1)
    }

    /// A small part.
    pub fn whole(&self, name: &str) -> Result<Vec<u8>> {
        let (_, size) = self.place(name)?;
        if size > MAX_WHOLE {
            return Err(super::odd(
                self,
                format!("{name} has {size} bytes, more than {MAX_WHOLE}"),
            ));
        }
        let mut content = Vec::new();
        self.reader(name)?
            .read_to_end(&mut content)
            .map_err(Error::file("read", &self.path))?;
        match content.len() as u64 == size {
            true => Ok(content),
            false => Err(super::odd(self, "it ends too early")),
        }
    }

    /// `sha256:…` of a part, however large it is.
    pub async fn digest(&self, name: &str) -> Result<String> {
        let (_, size) = self.place(name)?;
        let mut reader = self.reader(name)?;
        let hashed = tokio::task::spawn_blocking(move || {
            let (mut hash, mut piece, mut read) = (Sha256::new(), vec![0; PIECE], 0);
            loop {
                match reader.read(&mut piece)? {
                    0 => return Ok::<_, io::Error>((hash.finalize(), read)),
                    some => {
                        hash.update(&piece[..some]);
                        read += some as u64;
                    }
                }
            }
        });
        let hashed = hashed.await.map_err(|error| super::odd(self, error))?;
        let (hash, read) = hashed.map_err(Error::file("read", &self.path))?;
        if read != size {
            return Err(super::odd(self, "it ends too early"));
        }
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("sha256:{hex}"))
    }

    /// A part, piece by piece.
    pub async fn pieces(&self, name: &str) -> Result<Pieces> {
        use tokio::io::{AsyncReadExt, AsyncSeekExt};
        let (offset, size) = self.place(name)?;
        let failed = || Error::file("read", &self.path);
        let mut file = tokio::fs::File::open(&self.path).await.map_err(failed())?;
        file.seek(SeekFrom::Start(offset)).await.map_err(failed())?;
        let stream = ReaderStream::with_capacity(file.take(size), PIECE);
        Ok(Box::pin(stream.map(|piece: io::Result<Bytes>| piece)))
    }

    fn reader(&self, name: &str) -> Result<io::Take<std::fs::File>> {
        let (offset, size) = self.place(name)?;
        let failed = || Error::file("read", &self.path);
        let mut file = std::fs::File::open(&self.path).map_err(failed())?;
        file.seek(SeekFrom::Start(offset)).map_err(failed())?;
        Ok(file.take(size))
    }

    fn place(&self, name: &str) -> Result<(u64, u64)> {
        let mut name = plain(name, "");
        for _ in 0..MAX_LINKS {
            match self.parts.get(&name) {
                Some(Part::Content { offset, size }) => return Ok((*offset, *size)),
                Some(Part::Link(to)) => name.clone_from(to),
                None => break,
            }
        }
        Err(super::odd(self, format!("it has no {name}")))
    }
}

/// A name from the top, without `.` and `..`; relative to the directory of `from`.
fn plain(name: &str, from: &str) -> String {
    let above = from.rsplit_once('/').map_or("", |(directory, _)| directory);
    let mut parts: Vec<&str> = Vec::new();
    for part in above.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn names_are_from_the_top() {
        assert_eq!(plain("./a/../b", ""), "b");
        assert_eq!(plain("../x/layer.tar", "y/layer.tar"), "x/layer.tar");
        assert_eq!(plain("../../../etc/shadow", "y/layer.tar"), "etc/shadow");
    }

    #[tokio::test]
    async fn parts_are_found_and_links_stay_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        std::fs::create_dir_all(top.join("a")).unwrap();
        std::fs::write(top.join("a/layer.tar"), "content").unwrap();
        for (link, to) in [("b", "a/layer.tar"), ("out", "/etc/hostname"), ("round", "round")] {
            std::os::unix::fs::symlink(to, top.join(link)).unwrap();
        }
        let tar = folder.path().join("x.tar");
        assert!(
            Command::new("tar")
                .arg("-C")
                .arg(&top)
                .arg("-cf")
                .arg(&tar)
                .arg(".")
                .status()
                .unwrap()
                .success()
        );
        let file = File::open(&tar).await.unwrap();
        assert_eq!(file.whole("b").unwrap(), b"content");
        assert_eq!(
            file.digest("a/layer.tar").await.unwrap(),
            crate::manifest::digest(b"content")
        );
        assert!(!file.has("out") && !file.has("round") && !file.has("nothing"));
        let whole = std::fs::read(&tar).unwrap();
        std::fs::write(&tar, &whole[..700]).unwrap();
        if let Ok(file) = File::open(&tar).await {
            assert!(file.whole("a/layer.tar").is_err(), "it is cut off");
        }
        std::fs::write(&tar, "this is no archive, however one looks at it").unwrap();
        assert!(File::open(&tar).await.map_or(true, |file| !file.has("a/layer.tar")));
    }
}
