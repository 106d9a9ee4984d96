//! Files of a directory on their way into an archive. A file is what it was when it was opened: what is added meanwhile stays
//! out, and one that has become shorter ends the archive with an error that names it. Names and targets of links may be of any
//! length and any bytes.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use tokio::io::{AsyncRead, AsyncReadExt, DuplexStream};
use tokio_tar::{Builder, EntryType, Header};

/// The longest name, and target of a link, that stands in the entry itself.
const SHORT: usize = 100;
/// What GNU's tar calls an entry that has the whole name or target of the next one.
const LONG: &[u8] = b"././@LongLink";

type Archive = Builder<DuplexStream>;

/// Write these, in their order, of at most so many bytes; the archive ends where all of them are in it, and nowhere else.
pub(super) async fn all(directory: PathBuf, paths: Vec<PathBuf>, most: u64, writer: DuplexStream) -> io::Result<()> {
    let mut archive = Builder::new_non_terminated(writer);
    let mut left = most;
    for path in paths {
        let from = directory.join(&path);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", from.display()));
        let data = std::fs::symlink_metadata(&from).map_err(named)?;
        if data.is_symlink() {
            link(&mut archive, &path, &from, &data).await.map_err(named)?;
        } else if data.is_dir() {
            let header = header(&data, EntryType::Directory, 0);
            let name = path.join("");
            put(&mut archive, header, &name, None, tokio::io::empty())
                .await
                .map_err(named)?;
        } else if data.is_file() {
            let (file, data) = open(&from).map_err(named)?;
            let beyond = || io::Error::other(format!("it has more than {most} bytes"));
            left = left.checked_sub(data.len()).ok_or_else(beyond)?;
            content(&mut archive, &path, file, &data).await.map_err(named)?;
        }
        // Sockets, pipes and devices are no part of a context.
    }
    archive.finish().await
}

/// Open a file, with what it is then: since it was looked at it may have become what must neither be followed nor waited for.
fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits()).open(path)?;
    let data = file.metadata()?;
    match data.is_file() {
        true => Ok((file, data)),
        false => Err(io::Error::other("it is no file any more")),
    }
}

async fn content(archive: &mut Archive, path: &Path, file: File, data: &Metadata) -> io::Result<()> {
    let size = data.len();
    let mut content = tokio::fs::File::from_std(file).take(size);
    put(
        archive,
        header(data, EntryType::Regular, size),
        path,
        None,
        &mut content,
    )
    .await?;
    match content.limit() {
        0 => Ok(()),
        missing => Err(io::Error::other(format!(
            "it became {missing} bytes shorter while it was read"
        ))),
    }
}

async fn link(archive: &mut Archive, path: &Path, from: &Path, data: &Metadata) -> io::Result<()> {
    let target = std::fs::read_link(from)?;
    let header = header(data, EntryType::Symlink, 0);
    put(archive, header, path, Some(&target), tokio::io::empty()).await
}

fn header(data: &Metadata, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_metadata(data);
    header.set_entry_type(kind);
    header.set_size(size);
    // Whose files they are here is nobody's business in an image.
    header.set_uid(0);
    header.set_gid(0);
    header
}

async fn put(
    archive: &mut Archive,
    mut header: Header,
    path: &Path,
    target: Option<&Path>,
    content: impl AsyncRead + Unpin,
) -> io::Result<()> {
    let (name, target) = (bytes(path), target.map(bytes).unwrap_or_default());
    for (kind, bytes) in [(EntryType::GNULongName, name), (EntryType::GNULongLink, target)] {
        if bytes.len() > SHORT {
            whole(archive, kind, bytes).await?;
        }
    }
    let old = header.as_old_mut();
    fill(&mut old.name, name);
    fill(&mut old.linkname, target);
    header.set_cksum();
    archive.append(&header, content).await
}

/// The entry that has what the next one has no room for.
async fn whole(archive: &mut Archive, kind: EntryType, bytes: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    // With the zero at its end.
    header.set_size(bytes.len() as u64 + 1);
    fill(&mut header.as_old_mut().name, LONG);
    header.set_cksum();
    archive.append(&header, [bytes, &[0]].concat().as_slice()).await
}

fn fill(slot: &mut [u8; SHORT], bytes: &[u8]) {
    let length = bytes.len().min(SHORT);
    slot[..length].copy_from_slice(&bytes[..length]);
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
