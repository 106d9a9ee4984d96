//! The program's other use: `fence-init tar-in USER DIRECTORY` unpacks its input, `fence-init tar-out USER PATH` packs to
//! its output. Fence runs it as a process of the container, as root, so that whatever paths and links are like, nothing
//! outside the container is in reach. It becomes the user once the directory is there.
//!
//! What is wrong is said on standard error, a line each; the exit status is then [`FAILED`].

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fence_init::protocol::{TAR_IN, TAR_OUT};
use files::{Rights, Root, Source, Writer};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::chdir;

use crate::child::{drop_to, make};
use crate::user::{self, User};

/// The exit status where something went wrong. An init that does not know this use ends with 1.
const FAILED: u8 = 2;
/// The most lines of complaint.
const MAX_LINES: usize = 20;
/// How much is gathered before it is written, in bytes.
const GATHERED: usize = 64 * 1024;

/// Does what the arguments ask for, where they do.
pub fn asked_for(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let (use_, user, path) = (arguments.next()?, arguments.next()?, arguments.next()?);
    let user = user.to_str()?;
    let mut complaints = Complaints::default();
    let done = match use_.to_str()? {
        TAR_IN => tar_in(user, Path::new(&path), &mut complaints),
        TAR_OUT => tar_out(user, Path::new(&path), &mut complaints),
        _ => return None,
    };
    if let Err(error) = done {
        complaints.last(error);
    }
    Some(complaints.end())
}

fn tar_in(wanted: &str, directory: &Path, complaints: &mut Complaints) -> Result<(), String> {
    let user = begin(wanted)?;
    let directory = home(&user).join(directory);
    let unusable = |errno: Errno| format!("{}: {}", directory.display(), errno.desc());
    make(&directory, &user).map_err(unusable)?;
    // Before root's rights are gone: the way there need not be the user's.
    let root = Root::open(&directory).map_err(unusable)?;
    become_user(&user)?;
    let rights = Rights {
        owners: user.uid == 0,
        special: true,
    };
    files::unpack(io::stdin().lock(), root, rights, |line| complaints.add(line)).map_err(|error| error.to_string())
}

fn tar_out(wanted: &str, path: &Path, complaints: &mut Complaints) -> Result<(), String> {
    let user = begin(wanted)?;
    become_user(&user)?;
    let from = home(&user).join(path);
    // Output that nobody has asked for yet is not kept in whole: the end of the input says that somebody has.
    io::copy(&mut io::stdin().lock(), &mut io::sink()).map_err(broken)?;
    let mut writer = Writer::new(BufWriter::with_capacity(GATHERED, io::stdout().lock()));
    match Source::at(&from) {
        Ok(source) => files::pack(source, &mut writer, true, |line| complaints.add(line)).map_err(broken)?,
        // What is not there is an empty archive, for Garden's clients.
        Err(Errno::ENOENT) => {}
        Err(errno) => return Err(format!("{}: {}", from.display(), errno.desc())),
    }
    writer.finish().map(drop).map_err(broken)
}

/// Finds the user, and a place from which nothing is relative.
fn begin(wanted: &str) -> Result<User, String> {
    // Keeps processes of the same user out of this one.
    prctl::set_dumpable(false).map_err(|errno| format!("set up: {errno}"))?;
    let user = user::find(wanted, &user::read(user::PASSWD), &user::read(user::GROUP));
    chdir("/").map_err(|errno| format!("change to directory /: {errno}"))?;
    user.map_err(|failure| failure.message)
}

fn become_user(user: &User) -> Result<(), String> {
    drop_to(user).map_err(|errno| format!("become user {}: {}", user.name, errno.desc()))
}

/// A home that is not absolute is below the root, as for every process.
fn home(user: &User) -> PathBuf {
    Path::new("/").join(OsStr::from_bytes(&user.home))
}

fn broken(error: io::Error) -> String {
    format!("write the archive: {error}")
}

/// Says what is wrong, a bounded number of times.
#[derive(Default)]
struct Complaints {
    count: usize,
}

impl Complaints {
    fn add(&mut self, line: impl Display) {
        self.count += 1;
        if self.count <= MAX_LINES {
            self.say(line);
        }
    }

    /// What ended it is said in any case.
    fn last(&mut self, line: impl Display) {
        self.count += 1;
        self.say(line);
    }

    fn say(&self, line: impl Display) {
        // Nobody may read it any more.
        let _ = writeln!(io::stderr(), "{line}");
    }

    fn end(self) -> ExitCode {
        if self.count > MAX_LINES {
            self.say(format_args!("{} more of this kind", self.count - MAX_LINES));
        }
        match self.count {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::from(FAILED),
        }
    }
}
