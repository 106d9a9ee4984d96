//! Makes files of an archive. What cannot be made is complained of and the rest goes on, as every tar does it; an archive
//! that cannot be read ends it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{
    FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstat, fstatat, futimens, makedev, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, LinkatFlags, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat};

use crate::attributes;
use crate::beneath::{NoWay, Root, steps};
use crate::entry::{Entry, Kind};
use crate::read::{Error, Reader};

/// The most directories whose last touches wait for the end of the archive.
const MAX_DIRECTORIES: usize = 16 * 1024;
/// How much is copied at once, in bytes.
const PIECE: usize = 64 * 1024;

/// What an archive may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Rights {
    /// Files belong to whom the archive says; else to who unpacks.
    pub owners: bool,
    /// Devices, set-id bits and attributes other than `user.` ones, all of which mean something to the kernel.
    pub special: bool,
}

/// Why one member was not made, or not all of it.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("its name goes upwards, out of the directory")]
    Upwards,
    #[error("cannot {attempt}: {why}")]
    Failed { attempt: &'static str, why: NoWay },
    #[error("{0}")]
    NotMade(&'static str),
    #[error(transparent)]
    Archive(Error),
}

type Result<T> = std::result::Result<T, Problem>;

/// Unpack an archive below `root`. `complain` is told of every member that was not made as it should be, in one line.
pub fn unpack(
    input: impl Read,
    root: Root,
    rights: Rights,
    mut complain: impl FnMut(String),
) -> std::result::Result<(), Error> {
    let mut reader = Reader::new(input);
    let mut unpacking = Unpacking {
        root,
        rights,
        directories: Vec::new(),
        piece: vec![0; PIECE],
    };
    let ended = loop {
        let entry = match reader.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        match unpacking.make(&entry, &mut reader) {
            Ok(()) => {}
            Err(Problem::Archive(error)) => break Err(error),
            Err(problem) => complain(about(&entry.path, &problem)),
        }
        if unpacking.directories.len() > MAX_DIRECTORIES {
            unpacking.finish(&mut complain);
        }
    };
    unpacking.finish(&mut complain);
    // Writers fill up their last record; they should not find their pipe closed.
    let drained = io::copy(&mut reader.into_input(), &mut io::sink());
    ended.and(drained.map(drop).map_err(Error::Read))
}

fn about(path: &[u8], problem: &Problem) -> String {
    let name: String = String::from_utf8_lossy(path).chars().map(printable).take(200).collect();
    format!("{name}: {problem}")
}

fn printable(letter: char) -> char {
    if letter.is_control() { '?' } else { letter }
}

struct Unpacking {
    root: Root,
    rights: Rights,
    /// They get their mode and time last: files that come into them need the one and change the other.
    directories: Vec<(Vec<OsString>, Entry)>,
    piece: Vec<u8>,
}

impl Unpacking {
    fn make(&mut self, entry: &Entry, content: &mut impl Read) -> Result<()> {
        let path = steps(&entry.path).ok_or(Problem::Upwards)?;
        let Some((name, above)) = path.split_last() else {
            // The directory itself.
            return match entry.kind {
                Kind::Directory => {
                    self.directories.push((path, entry.clone()));
                    Ok(())
                }
                _ => Err(Problem::NotMade("it has no name")),
            };
        };
        let dir = self.find(above, true)?;
        if entry.kind != Kind::File {
            self.root.forget();
        }
        match entry.kind {
            Kind::File => self.file(&dir, name, entry, content),
            Kind::Directory => self.directory(&dir, name, path.clone(), entry),
            Kind::Symlink => self.symlink(&dir, name, entry),
            Kind::HardLink => self.hard_link(&dir, name, entry),
            Kind::Fifo => self.node(&dir, name, entry, SFlag::S_IFIFO),
            Kind::CharDevice if self.rights.special => self.node(&dir, name, entry, SFlag::S_IFCHR),
            Kind::BlockDevice if self.rights.special => self.node(&dir, name, entry, SFlag::S_IFBLK),
            Kind::CharDevice | Kind::BlockDevice => Err(Problem::NotMade("devices are not made here")),
            Kind::Sparse => Err(Problem::NotMade(
                "it is packed without its holes, which is not understood",
            )),
            Kind::Other(_) => Err(Problem::NotMade("it is of a kind that is not understood")),
        }
    }

    fn find(&mut self, path: &[OsString], make: bool) -> Result<OwnedFd> {
        let found = self.root.find(path, make);
        found.map_err(|why| failed("open the directory it is in", why))
    }

    fn file(&mut self, dir: &OwnedFd, name: &OsString, entry: &Entry, content: &mut impl Read) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o600);
        let made = replacing(dir, name, || openat(dir, name.as_os_str(), flags, mode));
        let mut file = File::from(made.map_err(|errno| failed("open", errno))?);
        loop {
            let count = content
                .read(&mut self.piece)
                .map_err(|error| Problem::Archive(crate::read::failed(error)))?;
            if count == 0 {
                break;
            }
            let written = file.write_all(&self.piece[..count]);
            written.map_err(|error| {
                failed(
                    "write",
                    Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32)),
                )
            })?;
        }
        self.dress(&file.into(), entry)
    }

    fn directory(&mut self, dir: &OwnedFd, name: &OsString, path: Vec<OsString>, entry: &Entry) -> Result<()> {
        let made = mkdirat(dir, name.as_os_str(), Mode::from_bits_truncate(0o700));
        let made = match made {
            Err(Errno::EEXIST) if is(SFlag::S_IFDIR, dir, name) => Ok(()),
            // A link to a directory below stays, as for `bin` in an image where that is a link to `usr/bin`.
            Err(Errno::EEXIST) if is(SFlag::S_IFLNK, dir, name) && self.root.find(&path, false).is_ok() => {
                return Ok(());
            }
            Err(Errno::EEXIST) => {
                remove(dir, name).and_then(|()| mkdirat(dir, name.as_os_str(), Mode::from_bits_truncate(0o700)))
            }
            made => made,
        };
        made.map_err(|errno| failed("make the directory", errno))?;
        self.directories.push((path, entry.clone()));
        Ok(())
    }

    fn symlink(&mut self, dir: &OwnedFd, name: &OsString, entry: &Entry) -> Result<()> {
        let target = std::ffi::OsStr::from_bytes(&entry.link);
        let made = replacing(dir, name, || symlinkat(target, dir, name.as_os_str()));
        made.map_err(|errno| failed("make the symbolic link", errno))?;
        self.dress_name(dir, name, entry)
    }

    fn hard_link(&mut self, dir: &OwnedFd, name: &OsString, entry: &Entry) -> Result<()> {
        let path = steps(&entry.link).ok_or(Problem::NotMade("it is a link to a name that goes upwards"))?;
        let (first, above) = path.split_last().ok_or(Problem::NotMade("it is a link to nothing"))?;
        let from = self.find(above, false)?;
        let same = |a: FileStat, b: FileStat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
        let stat = |dir: &OwnedFd, name: &OsString| fstatat(dir, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        if let (Ok(old), Ok(new)) = (stat(&from, first), stat(dir, name))
            && same(old, new)
        {
            return Ok(());
        }
        let link = || linkat(&from, first.as_os_str(), dir, name.as_os_str(), LinkatFlags::empty());
        replacing(dir, name, link).map_err(|errno| failed("make the hard link", errno))
    }

    fn node(&mut self, dir: &OwnedFd, name: &OsString, entry: &Entry, kind: SFlag) -> Result<()> {
        let mode = Mode::from_bits_truncate(entry.mode & 0o777);
        let device = makedev(entry.device.0.into(), entry.device.1.into());
        let made = replacing(dir, name, || mknodat(dir, name.as_os_str(), kind, mode, device));
        made.map_err(|errno| failed("make the special file", errno))?;
        self.dress_name(dir, name, entry)
    }

    /// Owner, mode, attributes and time of an open file, in an order in which none undoes another.
    fn dress(&self, file: &OwnedFd, entry: &Entry) -> Result<()> {
        if self.rights.owners {
            let owned = fchown(file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
            owned.map_err(|errno| failed("change the owner", errno))?;
        }
        let bits = if self.rights.special { 0o7777 } else { 0o1777 };
        let mode = fchmod(file, Mode::from_bits_truncate(entry.mode & bits));
        mode.map_err(|errno| failed("change the mode", errno))?;
        for (name, value) in &entry.attributes {
            let is_users = name.starts_with(b"user.");
            if !is_users && !self.rights.special {
                continue;
            }
            match attributes::set(file, name, value) {
                // What means something to the kernel is for those it lets.
                Err(Errno::EPERM | Errno::EOPNOTSUPP) if !is_users => {}
                set => set.map_err(|errno| failed("set an extended attribute", errno))?,
            }
        }
        let time = time(entry);
        futimens(file, &time, &time).map_err(|errno| failed("set the time", errno))
    }

    /// The same for what cannot be opened.
    fn dress_name(&self, dir: &OwnedFd, name: &OsString, entry: &Entry) -> Result<()> {
        if self.rights.owners {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            let owned = fchownat(
                dir,
                name.as_os_str(),
                Some(uid),
                Some(gid),
                AtFlags::AT_SYMLINK_NOFOLLOW,
            );
            owned.map_err(|errno| failed("change the owner", errno))?;
        }
        let time = time(entry);
        let set = utimensat(dir, name.as_os_str(), &time, &time, UtimensatFlags::NoFollowSymlink);
        set.map_err(|errno| failed("set the time", errno))
    }

    /// The last touches of the directories so far, the innermost first.
    fn finish(&mut self, complain: &mut impl FnMut(String)) {
        for (path, entry) in std::mem::take(&mut self.directories).into_iter().rev() {
            match self.finish_directory(&path, &entry) {
                // The directory itself may be one of everybody's, as /tmp is.
                Err(Problem::Failed {
                    why: NoWay::Kernel(Errno::EPERM),
                    ..
                }) if path.is_empty() => {}
                Err(problem) => complain(about(&entry.path, &problem)),
                Ok(()) => {}
            }
        }
    }

    fn finish_directory(&mut self, path: &[OsString], entry: &Entry) -> Result<()> {
        let (above, name) = match path.split_last() {
            Some((name, above)) => (above, name.clone()),
            None => (path, ".".into()),
        };
        let dir = self.find(above, false)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let opened = openat(dir.as_fd(), name.as_os_str(), flags, Mode::empty());
        let opened = opened.map_err(|errno| failed("open the directory", errno))?;
        // The owner of one that was there before may keep it; its mode is not ours to change.
        let ours = fstat(&opened).is_ok_and(|stat| stat.st_uid == nix::unistd::geteuid().as_raw());
        if !ours && !nix::unistd::geteuid().is_root() {
            return Ok(());
        }
        self.dress(&opened, entry)
    }
}

/// Make something in place of what is there, unless that is a directory.
fn replacing<T>(dir: &OwnedFd, name: &OsString, make: impl Fn() -> nix::Result<T>) -> nix::Result<T> {
    match make() {
        Err(Errno::EEXIST) => remove(dir, name).and_then(|()| make()),
        made => made,
    }
}

fn remove(dir: &OwnedFd, name: &OsString) -> nix::Result<()> {
    match unlinkat(dir, name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
        Err(Errno::ENOENT) => Ok(()),
        removed => removed,
    }
}

fn is(kind: SFlag, dir: &OwnedFd, name: &OsString) -> bool {
    let stat = fstatat(dir, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| stat.st_mode & SFlag::S_IFMT.bits() == kind.bits())
}

fn time(entry: &Entry) -> TimeSpec {
    TimeSpec::new(entry.mtime, 0)
}

fn failed(attempt: &'static str, why: impl Into<NoWay>) -> Problem {
    let why = why.into();
    Problem::Failed { attempt, why }
}
