//! One member of an archive: what it is called, what it is, and what belongs to it besides its content.

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Symlink,
    /// Another name of a member before it.
    HardLink,
    Fifo,
    CharDevice,
    BlockDevice,
    /// A file whose holes are left out, which is not understood.
    Sparse,
    /// Something else, by its letter.
    Other(u8),
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As the archive has it: it may begin with `/` and contain anything.
    pub path: Vec<u8>,
    pub kind: Kind,
    /// The low twelve bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// The length of the content that follows, in bytes.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: i64,
    /// What a link points to.
    pub link: Vec<u8>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    /// A member of this name and kind, with nothing else to say.
    pub fn new(path: impl Into<Vec<u8>>, kind: Kind) -> Entry {
        Entry {
            path: path.into(),
            kind,
            mode: if kind == Kind::Directory { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            link: Vec::new(),
            device: (0, 0),
            attributes: Vec::new(),
        }
    }
}
