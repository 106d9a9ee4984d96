//! A directory that nothing leads out of. A path below it is gone step by step: each directory is opened from the one
//! before and never through a link; a link is followed by hand, and only as far as it stays below.
//!
//! Names may change while they are looked at. Whoever changes them can lead to another place below the directory, and
//! nowhere else.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat};
use nix::sys::stat::{Mode, fstat, fstatat, mkdirat};

/// The most links in one path, as the kernel's own.
const MAX_LINKS: usize = 40;
/// The most steps of a path, with those that links bring.
const MAX_STEPS: usize = 4096;

/// Opens a directory only to go on from there, which needs no right to read it.
const STEP: OFlag = OFlag::O_PATH
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// A directory that nothing leads out of.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    /// It is the root of all, so that absolute links stay below it.
    is_all: bool,
    /// The directory that was found last, with the path that led there.
    last: Option<(Vec<OsString>, OwnedFd)>,
}

/// Why there is no way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWay {
    #[error("it leads out of the directory")]
    Outside,
    #[error("{}", .0.desc())]
    Kernel(#[from] Errno),
}

impl Root {
    /// The directory at `path`, wherever that leads.
    pub fn open(path: &Path) -> nix::Result<Root> {
        let fd = open(
            path,
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        let (own, all) = (fstat(&fd)?, nix::sys::stat::stat("/")?);
        Ok(Root {
            is_all: (own.st_dev, own.st_ino) == (all.st_dev, all.st_ino),
            fd,
            last: None,
        })
    }

    /// The directory that these steps lead to; what is missing of them is made where `make` says so.
    pub fn find(&mut self, steps: &[OsString], make: bool) -> Result<OwnedFd, NoWay> {
        if let Some((path, fd)) = &self.last
            && path == steps
        {
            return Ok(copy(fd)?);
        }
        let found = self.walk(steps, make)?;
        self.last = Some((steps.to_vec(), copy(&found)?));
        Ok(found)
    }

    /// Names may lead elsewhere from now on.
    pub fn forget(&mut self) {
        self.last = None;
    }

    fn walk(&self, steps: &[OsString], make: bool) -> Result<OwnedFd, NoWay> {
        let mut to_go: Vec<OsString> = steps.iter().rev().cloned().collect();
        let mut gone: Vec<OsString> = Vec::new();
        let mut dir = copy(&self.fd)?;
        let (mut links, mut taken) = (0, 0);
        while let Some(name) = to_go.pop() {
            taken += 1;
            if taken > MAX_STEPS {
                return Err(Errno::ENAMETOOLONG.into());
            }
            if name == ".." {
                // Above the root of all is the root of all.
                if gone.pop().is_none() && !self.is_all {
                    return Err(NoWay::Outside);
                }
                dir = self.walk_plain(&gone)?;
                continue;
            }
            match step(&dir, &name, make) {
                Ok(next) => {
                    dir = next;
                    gone.push(name);
                }
                Err(Errno::ENOTDIR | Errno::ELOOP) => {
                    let target = link_at(&dir, &name)?;
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::ELOOP.into());
                    }
                    if target.is_absolute() {
                        if !self.is_all {
                            return Err(NoWay::Outside);
                        }
                        gone.clear();
                        dir = copy(&self.fd)?;
                    }
                    to_go.extend(components(&target).into_iter().rev());
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(dir)
    }

    /// Steps that were no links a moment ago.
    fn walk_plain(&self, steps: &[OsString]) -> nix::Result<OwnedFd> {
        let mut dir = copy(&self.fd)?;
        for name in steps {
            dir = step(&dir, name, false)?;
        }
        Ok(dir)
    }
}

/// What a name in an archive is below the directory it is unpacked to: without `/` before it and `.` in it. `None` = it
/// goes upwards.
pub fn steps(path: &[u8]) -> Option<Vec<OsString>> {
    let steps = components(Path::new(std::ffi::OsStr::from_bytes(path)));
    (!steps.iter().any(|step| step == "..")).then_some(steps)
}

fn components(path: &Path) -> Vec<OsString> {
    let step = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(step).collect()
}

fn step(dir: &OwnedFd, name: &OsString, make: bool) -> nix::Result<OwnedFd> {
    match openat(dir, name.as_os_str(), STEP, Mode::empty()) {
        Err(Errno::ENOENT) if make => {
            match mkdirat(dir, name.as_os_str(), Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
            openat(dir, name.as_os_str(), STEP, Mode::empty())
        }
        opened => opened,
    }
}

/// Where a link leads; what is none is no directory.
fn link_at(dir: &OwnedFd, name: &OsString) -> nix::Result<std::path::PathBuf> {
    let stat = fstatat(dir, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if stat.st_mode & nix::libc::S_IFMT != nix::libc::S_IFLNK {
        return Err(Errno::ENOTDIR);
    }
    let target = readlinkat(dir, name.as_os_str())?;
    Ok(OsString::from_vec(target.into_vec()).into())
}

fn copy(fd: impl AsFd) -> nix::Result<OwnedFd> {
    let copied = fd.as_fd().try_clone_to_owned();
    copied.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn find(root: &Path, path: &str) -> Result<u64, NoWay> {
        let found = Root::open(root).unwrap().find(&components(Path::new(path)), false)?;
        Ok(fstat(found).unwrap().st_ino)
    }

    fn inode(path: &Path) -> u64 {
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap())
    }

    #[test]
    fn links_are_followed_as_far_as_they_stay_below() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        symlink("a/b", root.join("in")).unwrap();
        symlink("../a", root.join("a/round")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("/etc", root.join("absolute")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("nothing", root.join("dangling")).unwrap();
        assert_eq!(find(&root, "in"), Ok(inode(&root.join("a/b"))));
        assert_eq!(find(&root, "a/round/b"), Ok(inode(&root.join("a/b"))));
        assert_eq!(find(&root, "in/.."), Ok(inode(&root.join("a"))));
        assert_eq!(find(&root, "up"), Err(NoWay::Outside));
        assert_eq!(find(&root, "a/../.."), Err(NoWay::Outside));
        assert_eq!(find(&root, "absolute"), Err(NoWay::Outside));
        assert_eq!(find(&root, "loop/x"), Err(Errno::ELOOP.into()));
        assert_eq!(find(&root, "dangling"), Err(Errno::ENOENT.into()));
        assert_eq!(find(&root, "file/x"), Err(Errno::ENOTDIR.into()));
    }

    #[test]
    fn below_the_root_of_all_absolute_links_are_below_too() {
        let outer = tempfile::tempdir().unwrap();
        symlink("/etc", outer.path().join("absolute")).unwrap();
        let path = format!("{}/absolute", outer.path().display());
        assert_eq!(find(Path::new("/"), &path), Ok(inode(Path::new("/etc"))));
        assert_eq!(find(Path::new("/"), "../../etc"), Ok(inode(Path::new("/etc"))));
    }

    #[test]
    fn what_is_missing_is_made_and_a_name_that_goes_up_is_none() {
        let root = tempfile::tempdir().unwrap();
        let path = steps(b"/new/./dir/").unwrap();
        Root::open(root.path()).unwrap().find(&path, true).unwrap();
        assert!(root.path().join("new/dir").is_dir());
        assert_eq!(steps(b"a/../b"), None);
        assert_eq!(steps(b"./"), Some(vec![]));
    }
}
