//! Trees packed and unpacked, and archives made to hurt.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use files::{Entry, Error, Kind, Rights, Root, Source, Writer, pack, unpack};
use nix::sys::stat::Mode;
use tempfile::TempDir;

const ALL: Rights = Rights {
    owners: true,
    special: true,
};
const PLAIN: Rights = Rights {
    owners: false,
    special: false,
};

/// A directory to unpack to, in a directory that nothing else may change.
struct Place {
    outer: TempDir,
}

impl Place {
    fn new() -> Place {
        let outer = tempfile::tempdir().unwrap();
        fs::create_dir(outer.path().join("inside")).unwrap();
        fs::write(outer.path().join("secret"), "secret").unwrap();
        Place { outer }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.outer.path().join("inside").join(name)
    }

    fn unpack(&self, archive: &[u8], rights: Rights) -> (Vec<String>, Result<(), Error>) {
        let mut complaints = Vec::new();
        let root = Root::open(&self.path("")).unwrap();
        let done = unpack(archive, root, rights, |line| complaints.push(line));
        (complaints, done)
    }

    /// What is around the directory is as it was.
    fn assert_untouched(&self) {
        let mut names: Vec<_> = fs::read_dir(self.outer.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["inside", "secret"]);
        assert_eq!(fs::read_to_string(self.outer.path().join("secret")).unwrap(), "secret");
    }
}

fn archive(entries: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in entries {
        let size = content.len() as u64;
        writer.entry(&Entry { size, ..entry.clone() }).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap()
}

fn link(path: &str, kind: Kind, target: &str) -> Entry {
    Entry {
        link: target.into(),
        ..Entry::new(path, kind)
    }
}

fn packed(source: Source) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    let mut complaints: Vec<String> = Vec::new();
    pack(source, &mut writer, true, |line| complaints.push(line)).unwrap();
    assert!(complaints.is_empty(), "{complaints:?}");
    writer.finish().unwrap()
}

fn paths(archive: &[u8]) -> Vec<String> {
    let mut reader = files::Reader::new(archive);
    let mut paths = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        paths.push(String::from_utf8(entry.path).unwrap());
    }
    paths
}

#[test]
fn a_tree_is_the_same_again() {
    let from = tempfile::tempdir().unwrap();
    let path = |name: &str| from.path().join(name);
    fs::create_dir_all(path("deep/empty")).unwrap();
    let content: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    fs::write(path("deep/binary"), &content).unwrap();
    fs::hard_link(path("deep/binary"), path("deep/linked")).unwrap();
    symlink("/nowhere/at/all", path("link")).unwrap();
    fs::write(path("run"), "#!").unwrap();
    fs::set_permissions(path("run"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(path("deep"), fs::Permissions::from_mode(0o555)).unwrap();
    nix::unistd::mkfifo(&path("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
    nix::unistd::chown(&path("run"), Some(1234.into()), Some(1235.into())).unwrap();
    fs::set_permissions(path("run"), fs::Permissions::from_mode(0o4751)).unwrap();
    let long = "n".repeat(200);
    fs::write(path(&long), "long").unwrap();
    let place = Place::new();
    let (complaints, done) = place.unpack(&packed(Source::at(&path("")).unwrap()), ALL);
    assert!(done.is_ok() && complaints.is_empty(), "{complaints:?}");
    assert_eq!(fs::read(place.path("deep/binary")).unwrap(), content);
    let inode = |name: &str| fs::metadata(place.path(name)).unwrap().ino();
    assert_eq!(inode("deep/binary"), inode("deep/linked"));
    assert_eq!(fs::read_link(place.path("link")).unwrap(), Path::new("/nowhere/at/all"));
    let run = fs::metadata(place.path("run")).unwrap();
    assert_eq!((run.mode() & 0o7777, run.uid(), run.gid()), (0o4751, 1234, 1235));
    assert_eq!(run.mtime(), fs::metadata(path("run")).unwrap().mtime());
    let deep = fs::metadata(place.path("deep")).unwrap();
    assert_eq!(
        (deep.mode() & 0o7777, deep.mtime()),
        (0o555, fs::metadata(path("deep")).unwrap().mtime())
    );
    assert!(fs::metadata(place.path("fifo")).unwrap().file_type().is_fifo());
    assert!(place.path("deep/empty").is_dir() && place.path(&long).is_file());
}

#[test]
fn names_begin_with_a_dot_or_with_the_thing_itself() {
    let from = tempfile::tempdir().unwrap();
    fs::create_dir(from.path().join("dir")).unwrap();
    fs::write(from.path().join("dir/file"), "").unwrap();
    symlink("dir", from.path().join("link")).unwrap();
    let names = |name: &str| {
        paths(&packed(
            Source::at(Path::new(&format!("{}/{name}", from.path().display()))).unwrap(),
        ))
    };
    assert_eq!(names("dir"), ["dir/", "dir/file"]);
    assert_eq!(names("dir/"), ["./", "./file"]);
    assert_eq!(names("dir/."), ["./", "./file"]);
    assert_eq!(names("dir/file"), ["file"]);
    assert_eq!(names("link"), ["link"]);
    assert_eq!(names("link/"), ["./", "./file"]);
    assert!(Source::at(&from.path().join("absent")).is_err());
    assert!(Source::at(&from.path().join("dir/file/")).is_err());
}

#[test]
fn nothing_comes_outside_whatever_names_and_links_are_like() {
    let place = Place::new();
    let outside = place.outer.path().display().to_string();
    symlink("..", place.path("there-before")).unwrap();
    let evil = archive(&[
        (Entry::new("../escaped", Kind::File), b"x"),
        (Entry::new("a/../../escaped", Kind::File), b"x"),
        (Entry::new(format!("{outside}/absolute"), Kind::File), b"x"),
        (Entry::new("there-before/escaped", Kind::File), b"x"),
        (link("up", Kind::Symlink, ".."), b""),
        (Entry::new("up/escaped", Kind::File), b"x"),
        (link("absolute", Kind::Symlink, &outside), b""),
        (Entry::new("absolute/escaped", Kind::File), b"x"),
        (Entry::new("absolute/made/deep", Kind::File), b"x"),
        (link("chain", Kind::Symlink, "up/.."), b""),
        (Entry::new("chain/escaped", Kind::Directory), b""),
        (link("file", Kind::Symlink, &format!("{outside}/secret")), b""),
        (Entry::new("file", Kind::File), b"changed"),
        (link("hard", Kind::HardLink, "../secret"), b""),
        (link("hard", Kind::HardLink, &format!("{outside}/secret")), b""),
        (link("hard", Kind::HardLink, "up/secret"), b""),
        (Entry::new("hard", Kind::File), b"changed"),
        (Entry::new("good", Kind::File), b"good"),
    ]);
    let (complaints, done) = place.unpack(&evil, ALL);
    assert!(done.is_ok());
    place.assert_untouched();
    assert_eq!(complaints.len(), 10, "{complaints:#?}");
    assert_eq!(fs::read_to_string(place.path("good")).unwrap(), "good");
    // A file replaces a link of its name, and an absolute name is one below.
    assert_eq!(fs::read_to_string(place.path("file")).unwrap(), "changed");
    assert!(place.path(&format!("{}/absolute", &outside[1..])).is_file());
}

#[test]
fn what_is_in_the_way_is_replaced_but_no_directory_and_no_link_to_one_below() {
    let place = Place::new();
    fs::create_dir_all(place.path("usr/bin")).unwrap();
    symlink("usr/bin", place.path("bin")).unwrap();
    symlink("../..", place.path("out")).unwrap();
    fs::write(place.path("old"), "old").unwrap();
    let (complaints, done) = place.unpack(
        &archive(&[
            (Entry::new("bin/", Kind::Directory), b""),
            (Entry::new("bin/tool", Kind::File), b"tool"),
            (Entry::new("out/", Kind::Directory), b""),
            (Entry::new("out/file", Kind::File), b"file"),
            (Entry::new("old", Kind::File), b"new"),
            (link("old2", Kind::HardLink, "old"), b""),
            (link("old2", Kind::HardLink, "old"), b""),
            (Entry::new("usr", Kind::File), b"no"),
        ]),
        PLAIN,
    );
    assert!(done.is_ok());
    assert_eq!(complaints, ["usr: cannot open: Is a directory"]);
    place.assert_untouched();
    assert_eq!(fs::read_to_string(place.path("usr/bin/tool")).unwrap(), "tool");
    assert!(fs::symlink_metadata(place.path("bin")).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(place.path("out/file")).unwrap(), "file");
    assert_eq!(fs::read_to_string(place.path("old2")).unwrap(), "new");
}

#[test]
fn without_rights_nothing_special_is_made() {
    let place = Place::new();
    let run = Entry {
        mode: 0o6755,
        uid: 1234,
        attributes: vec![
            (b"security.capability".to_vec(), vec![1]),
            (b"user.note".to_vec(), b"a".to_vec()),
        ],
        ..Entry::new("run", Kind::File)
    };
    let device = Entry {
        device: (1, 3),
        ..Entry::new("null", Kind::CharDevice)
    };
    let (complaints, done) = place.unpack(&archive(&[(run, b"x"), (device, b"")]), PLAIN);
    assert!(done.is_ok());
    assert_eq!(complaints, ["null: devices are not made here"]);
    let run = fs::metadata(place.path("run")).unwrap();
    assert_eq!(
        (run.mode() & 0o7777, run.uid()),
        (0o755, nix::unistd::geteuid().as_raw())
    );
}

#[test]
fn what_is_not_understood_is_said_and_the_rest_goes_on() {
    let place = Place::new();
    let (complaints, done) = place.unpack(
        &archive(&[
            (Entry::new("odd\n", Kind::Other(b'Z')), b"content"),
            (Entry::new("", Kind::File), b"content"),
            (link("to-nothing", Kind::HardLink, "absent"), b""),
            (Entry::new("zero\0byte", Kind::File), b""),
            (Entry::new("good", Kind::File), b"good"),
        ]),
        PLAIN,
    );
    assert!(done.is_ok());
    assert_eq!(
        complaints,
        [
            "odd?: it is of a kind that is not understood",
            ": it has no name",
            "to-nothing: cannot make the hard link: No such file or directory",
        ]
    );
    assert_eq!(fs::read_to_string(place.path("good")).unwrap(), "good");
}

#[test]
fn an_archive_that_ends_in_the_middle_is_an_error() {
    let place = Place::new();
    let whole = archive(&[(Entry::new("file", Kind::File), &[1; 3000])]);
    for length in [100, 600, 3000] {
        let (_, done) = place.unpack(&whole[..length], PLAIN);
        assert!(matches!(done, Err(Error::Truncated)), "{length}: {done:?}");
    }
    assert!(matches!(
        place.unpack(&[b'x'; 1024], PLAIN).1,
        Err(Error::Header { at: 0, .. })
    ));
}

#[test]
fn everything_is_read_to_the_end_so_that_no_writer_is_cut_off() {
    let mut long = archive(&[(Entry::new("file", Kind::File), b"x")]);
    long.extend([0; 100_000]);
    let mut input = &long[..];
    let place = Place::new();
    unpack(&mut input, Root::open(&place.path("")).unwrap(), PLAIN, |line| {
        panic!("{line}")
    })
    .unwrap();
    assert!(input.is_empty());
}

#[test]
fn a_tree_deeper_than_it_may_be_is_cut_and_said() {
    let from = tempfile::tempdir().unwrap();
    let deep = "d/".repeat(300);
    fs::create_dir_all(from.path().join(&deep)).unwrap();
    let mut writer = Writer::new(Vec::new());
    let mut complaints = Vec::new();
    let source = Source::at(&from.path().join("d")).unwrap();
    pack(source, &mut writer, false, |line| complaints.push(line)).unwrap();
    assert_eq!(complaints.len(), 1);
    assert_eq!(paths(&writer.finish().unwrap()).len(), 257);
}

#[test]
fn what_the_kernel_makes_up_is_not_gone_into() {
    let names = paths(&packed(Source::at(Path::new("/proc")).unwrap()));
    assert_eq!(names, ["proc/"]);
}
