//! Archives made by hand, so that they can be wrong in any way, and read by the machine's own tar.

use std::fmt::Write as _;
use std::process::Command;

use super::command::run_with_input;

/// An archive that grows.
#[derive(Clone, Default)]
pub struct Tar {
    bytes: Vec<u8>,
}

/// A member that is not complete yet.
#[derive(Clone)]
pub struct Member {
    name: String,
    kind: u8,
    link: String,
    mode: u32,
    owner: (u32, u32),
    device: (u32, u32),
    size: usize,
}

impl Member {
    /// A member of this type (`0` a file, `1` a hard link, `2` a symbolic one, `3` a device, `5` a directory, `6` a pipe).
    pub fn new(kind: char, name: &str) -> Member {
        Member {
            name: name.into(),
            kind: kind as u8,
            link: String::new(),
            mode: if kind == '5' { 0o755 } else { 0o644 },
            owner: (0, 0),
            device: (0, 0),
            size: 0,
        }
    }

    pub fn link(mut self, target: &str) -> Member {
        self.link = target.into();
        self
    }

    pub fn mode(mut self, mode: u32) -> Member {
        self.mode = mode;
        self
    }

    pub fn owner(mut self, uid: u32, gid: u32) -> Member {
        self.owner = (uid, gid);
        self
    }

    pub fn device(mut self, major: u32, minor: u32) -> Member {
        self.device = (major, minor);
        self
    }

    fn header(&self) -> [u8; 512] {
        let mut header = [0; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, &self.name);
        put(100, &format!("{:07o}", self.mode));
        put(108, &format!("{:07o}", self.owner.0));
        put(116, &format!("{:07o}", self.owner.1));
        put(124, &format!("{:011o}", self.size));
        put(136, &format!("{:011o}", 1_000_000_000));
        put(148, "        ");
        put(157, &self.link);
        put(257, "ustar");
        put(263, "00");
        put(329, &format!("{:07o}", self.device.0));
        put(337, &format!("{:07o}", self.device.1));
        header[156] = self.kind;
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        header
    }
}

impl Tar {
    /// With one member more.
    pub fn add(mut self, member: Member, content: &[u8]) -> Tar {
        let member = Member {
            size: content.len(),
            ..member
        };
        self.bytes.extend(member.header());
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// With a plain file more.
    pub fn file(self, name: &str, content: &[u8]) -> Tar {
        self.add(Member::new('0', name), content)
    }

    /// With an extended attribute for the next member.
    pub fn attribute(self, name: &str, value: &str) -> Tar {
        let rest = format!(" SCHILY.xattr.{name}={value}\n");
        let mut record = String::new();
        for length in rest.len().. {
            record.clear();
            let _ = write!(record, "{length}{rest}");
            if record.len() == length {
                break;
            }
        }
        self.add(Member::new('x', "pax"), record.as_bytes())
    }

    /// The head of a file whose content the caller sends.
    pub fn head_of_file(name: &str, size: usize) -> Vec<u8> {
        let member = Member {
            size,
            ..Member::new('0', name)
        };
        member.header().to_vec()
    }

    /// The whole archive.
    pub fn end(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }
}

/// The names of an archive's members, as the machine's tar lists them.
#[track_caller]
pub fn names(archive: &[u8]) -> Vec<String> {
    listed("t", archive)
}

/// The members in long form.
#[track_caller]
pub fn details(archive: &[u8]) -> Vec<String> {
    listed("tv", archive)
}

/// The content of one member.
#[track_caller]
pub fn content(archive: &[u8], name: &str) -> String {
    run_with_input(Command::new("tar").args(["xOf", "-", name]), archive).ok()
}

#[track_caller]
fn listed(what: &str, archive: &[u8]) -> Vec<String> {
    let mut tar = Command::new("tar");
    tar.args([&format!("{what}f"), "-", "--numeric-owner"]);
    run_with_input(&mut tar, archive)
        .ok()
        .lines()
        .map(str::to_owned)
        .collect()
}
