//! Makes an archive of a directory, or of one thing. Follows no link in it. What cannot be read is complained of and left
//! out; what goes away meanwhile was never there.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, major, minor};
use nix::sys::statfs::fstatfs;

use crate::attributes;
use crate::entry::{Entry, Kind};
use crate::write::Writer;

/// The deepest directory.
const MAX_DEPTH: usize = 256;
/// The most files whose further names are known as such.
const MAX_LINKED: usize = 64 * 1024;
/// How much is copied at once, in bytes.
const PIECE: usize = 64 * 1024;
/// File systems whose files are made up by the kernel: proc, sysfs, and both kinds of cgroup.
const MADE_UP: [i64; 4] = [0x9fa0, 0x6265_6572, 0x27_e0eb, 0x6367_7270];

const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_CLOEXEC);

/// What is packed, and what it is called in the archive.
#[derive(Debug)]
pub enum Source {
    /// The content of this directory, as `./` and what is below.
    Content(OwnedFd),
    /// What has this name in this directory, under that name.
    Named(OwnedFd, OsString),
}

impl Source {
    /// What `path` means, relative to the working directory: with `/` behind it, or where its last step is none of a
    /// name's, the content of a directory; else the thing itself, a link too.
    pub fn at(path: &Path) -> nix::Result<Source> {
        let text = path.as_os_str().as_bytes();
        let open = |path: &Path| open(path, READ | OFlag::O_DIRECTORY, Mode::empty());
        match path.file_name() {
            Some(name) if !text.ends_with(b"/") && !text.ends_with(b"/.") => {
                let above = path.parent().filter(|above| !above.as_os_str().is_empty());
                let above = open(above.unwrap_or(Path::new(".")))?;
                fstatat(&above, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
                Ok(Source::Named(above, name.to_owned()))
            }
            _ if text.is_empty() => open(Path::new(".")).map(Source::Content),
            _ => open(path).map(Source::Content),
        }
    }
}

/// Pack what is there. Without `owners` everything is root's. An error: the archive could not be written.
pub fn pack<W: Write>(
    source: Source,
    writer: &mut Writer<W>,
    owners: bool,
    complain: impl FnMut(String),
) -> io::Result<()> {
    let mut packing = Packing {
        writer,
        owners,
        complain,
        linked: HashMap::new(),
        open: Vec::new(),
    };
    match source {
        Source::Content(dir) => packing.directory(dir, b"./".to_vec(), None)?,
        Source::Named(above, name) => packing.named(&above, &name, name.as_bytes().to_vec(), None)?,
    }
    while let Some(level) = packing.open.last_mut() {
        let Some(name) = level.names.next() else {
            packing.open.pop();
            continue;
        };
        let path = [&level.path, name.as_bytes()].concat();
        let (dir, device) = (copy(&level.dir)?, level.device);
        packing.named(&dir, &name, path, Some(device))?;
    }
    Ok(())
}

/// A directory that is being packed.
struct Level {
    dir: OwnedFd,
    device: libc::dev_t,
    path: Vec<u8>,
    names: std::vec::IntoIter<OsString>,
}

struct Packing<'a, W: Write, C: FnMut(String)> {
    writer: &'a mut Writer<W>,
    owners: bool,
    complain: C,
    /// Files with several names that were packed, by device and inode.
    linked: HashMap<(libc::dev_t, libc::ino_t), Vec<u8>>,
    open: Vec<Level>,
}

impl<W: Write, C: FnMut(String)> Packing<'_, W, C> {
    fn named(&mut self, dir: &OwnedFd, name: &OsStr, path: Vec<u8>, device: Option<libc::dev_t>) -> io::Result<()> {
        let stat = match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(errno) => return self.left_out(&path, "look at it", errno),
        };
        let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
        match kind {
            SFlag::S_IFREG => self.file(dir, name, path),
            SFlag::S_IFDIR => {
                let flags = READ | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
                match openat(dir, name, flags, Mode::empty()) {
                    Ok(opened) => self.directory(opened, [&path[..], b"/"].concat(), device),
                    Err(errno) => self.left_out(&path, "open the directory", errno),
                }
            }
            SFlag::S_IFLNK => match readlinkat(dir, name) {
                Ok(target) => {
                    let mut entry = self.entry(path, Kind::Symlink, &stat);
                    entry.link = target.into_vec();
                    self.writer.entry(&entry)
                }
                Err(errno) => self.left_out(&path, "read the link", errno),
            },
            SFlag::S_IFIFO | SFlag::S_IFCHR | SFlag::S_IFBLK => {
                let kind = match kind {
                    SFlag::S_IFIFO => Kind::Fifo,
                    SFlag::S_IFCHR => Kind::CharDevice,
                    _ => Kind::BlockDevice,
                };
                let entry = self.entry(path, kind, &stat);
                self.writer.entry(&entry)
            }
            // A socket is nothing without who listens.
            _ => Ok(()),
        }
    }

    fn file(&mut self, dir: &OwnedFd, name: &OsStr, path: Vec<u8>) -> io::Result<()> {
        // Something else may have come into its place, which must not be waited for.
        let flags = READ | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let opened = openat(dir, name, flags, Mode::empty()).and_then(|file| Ok((fstat(&file)?, file)));
        let (stat, file) = match opened {
            Ok((stat, _)) if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() => return Ok(()),
            Ok(opened) => opened,
            Err(errno) => return self.left_out(&path, "open", errno),
        };
        let inode = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.linked.get(&inode) {
                let mut entry = self.entry(path, Kind::HardLink, &stat);
                entry.link = first.clone();
                return self.writer.entry(&entry);
            }
            if self.linked.len() < MAX_LINKED {
                self.linked.insert(inode, path.clone());
            }
        }
        let mut entry = self.entry(path, Kind::File, &stat);
        entry.size = u64::try_from(stat.st_size).unwrap_or(0);
        entry.attributes = attributes::read(&file);
        self.writer.entry(&entry)?;
        self.content(file, &entry)
    }

    /// As much as was announced: a file that grows is cut, one that shrinks is filled up with zeros.
    fn content(&mut self, file: OwnedFd, entry: &Entry) -> io::Result<()> {
        let mut content = File::from(file).take(entry.size);
        let mut piece = vec![0; PIECE.min(usize::try_from(entry.size).unwrap_or(PIECE)).max(1)];
        loop {
            match content.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(count) => self.writer.write_all(&piece[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32));
                    return self.left_out(&entry.path, "read all of it", errno);
                }
            }
        }
    }

    /// The directory itself now, and what is in it as the next things.
    fn directory(&mut self, dir: OwnedFd, path: Vec<u8>, device: Option<libc::dev_t>) -> io::Result<()> {
        let stat = match fstat(&dir) {
            Ok(stat) => stat,
            Err(errno) => return self.left_out(&path, "look at it", errno),
        };
        let mut entry = self.entry(path.clone(), Kind::Directory, &stat);
        entry.attributes = attributes::read(&dir);
        self.writer.entry(&entry)?;
        if device != Some(stat.st_dev) && is_made_up(&dir) {
            return Ok(());
        }
        if self.open.len() >= MAX_DEPTH {
            return self.left_out(&path, "go into it", Errno::ENAMETOOLONG);
        }
        match names(&dir) {
            Ok(names) => {
                let (device, names) = (stat.st_dev, names.into_iter());
                self.open.push(Level {
                    dir,
                    device,
                    path,
                    names,
                });
                Ok(())
            }
            Err(errno) => self.left_out(&path, "list the directory", errno),
        }
    }

    fn entry(&self, path: Vec<u8>, kind: Kind, stat: &FileStat) -> Entry {
        Entry {
            mode: stat.st_mode & 0o7777,
            uid: if self.owners { stat.st_uid } else { 0 },
            gid: if self.owners { stat.st_gid } else { 0 },
            mtime: stat.st_mtime,
            device: match kind {
                Kind::CharDevice | Kind::BlockDevice => (number(major(stat.st_rdev)), number(minor(stat.st_rdev))),
                _ => (0, 0),
            },
            ..Entry::new(path, kind)
        }
    }

    fn left_out(&mut self, path: &[u8], attempt: &str, errno: Errno) -> io::Result<()> {
        if errno != Errno::ENOENT {
            let name: String = String::from_utf8_lossy(path)
                .chars()
                .filter(|letter| !letter.is_control())
                .take(200)
                .collect();
            (self.complain)(format!("{name}: cannot {attempt}: {}", errno.desc()));
        }
        Ok(())
    }
}

/// In order, so that the same directory gives the same archive.
fn names(dir: &OwnedFd) -> nix::Result<Vec<OsString>> {
    let listed = Dir::from_fd(openat(dir, ".", READ | OFlag::O_DIRECTORY, Mode::empty())?)?;
    let mut names = Vec::new();
    for entry in listed {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort();
    Ok(names)
}

fn is_made_up(dir: &OwnedFd) -> bool {
    fstatfs(dir).is_ok_and(|found| MADE_UP.contains(&found.filesystem_type().0))
}

fn number(part: u64) -> u32 {
    u32::try_from(part).unwrap_or(0)
}

fn copy(fd: &OwnedFd) -> io::Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned()
}
