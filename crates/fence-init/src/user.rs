//! Who a process is to run as, from the container's own passwd and group files. The files are written by whoever
//! owns the container: broken lines are passed over, sizes are bounded, and nothing in them is an error.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use fence_init::protocol::{Failure, FailureKind};
use nix::fcntl::OFlag;

use crate::failure::failure;

/// Where the container keeps its users.
pub const PASSWD: &str = "/etc/passwd";
/// Where the container keeps its groups.
pub const GROUP: &str = "/etc/group";
/// How much of either file is read, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// The most supplementary groups the kernel takes.
const MAX_GROUPS: usize = 65_536;
/// The id that means "none" to the kernel and so can be nobody's.
const NO_ID: u32 = u32::MAX;

/// A user as a process needs it.
#[derive(Debug, PartialEq, Eq)]
pub struct User {
    /// The value for `USER`.
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    pub home: Vec<u8>,
}

/// What the passwd file says of a user.
struct Account<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

/// Finds `wanted` (`name`, `name:group`, `uid` or `uid:gid`; empty = root) in the contents of the two files.
pub fn find(wanted: &str, passwd: &[u8], group: &[u8]) -> Result<User, Failure> {
    let wanted = if wanted.is_empty() { "root" } else { wanted };
    let (user, group_name) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (wanted, None),
    };
    let number = id(user.as_bytes());
    let account = accounts(passwd)
        .find(|account| account.name == user.as_bytes())
        .or_else(|| accounts(passwd).find(|account| Some(account.uid) == number));
    let (uid, mut gid, home, known) = match (&account, number) {
        (Some(account), _) => (account.uid, account.gid, account.home, Some(account.name)),
        (None, Some(uid)) => (uid, 0, &b"/"[..], None),
        (None, None) if user == "root" => (0, 0, &b"/"[..], Some(&b"root"[..])),
        (None, None) => return Err(missing("user", user, "passwd")),
    };
    if let Some(name) = group_name {
        gid = group_id(name, group)?;
    }
    // A user given by number, or with a group, gets what was asked for and nothing besides.
    let groups = match known {
        Some(name) if group_name.is_none() && number.is_none() => memberships(name, group),
        _ => Vec::new(),
    };
    let name = known.map_or_else(|| user.into(), String::from_utf8_lossy).into_owned();
    let home = if home.is_empty() { b"/" } else { home };
    Ok(User {
        name,
        uid,
        gid,
        groups,
        home: home.to_vec(),
    })
}

/// The content of a file of accounts. One that is missing, unreadable or no file at all counts as empty.
pub fn read(path: &str) -> Vec<u8> {
    let mut content = Vec::new();
    // Not to wait for the writer of a pipe that lies in the file's place.
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = File::options().read(true).custom_flags(flags).open(path);
    if let Ok(file) = file
        && file.metadata().is_ok_and(|meta| meta.is_file())
    {
        // What was read before an error is as good as a shorter file.
        let _ = file.take(MAX_FILE).read_to_end(&mut content);
    }
    content
}

fn accounts(passwd: &[u8]) -> impl Iterator<Item = Account<'_>> {
    passwd.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = id(fields.nth(1)?)?;
        let gid = id(fields.next()?)?;
        let home = fields.nth(1).unwrap_or_default();
        Some(Account { name, uid, gid, home })
    })
}

/// Name, id and members of each group.
fn groups(group: &[u8]) -> impl Iterator<Item = (&[u8], u32, &[u8])> {
    group.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = id(fields.nth(1)?)?;
        Some((name, gid, fields.next().unwrap_or_default()))
    })
}

fn group_id(wanted: &str, group: &[u8]) -> Result<u32, Failure> {
    groups(group)
        .find(|(name, ..)| *name == wanted.as_bytes())
        .map(|(_, gid, _)| gid)
        .or_else(|| id(wanted.as_bytes()))
        .ok_or_else(|| missing("group", wanted, "group"))
}

fn memberships(user: &[u8], group: &[u8]) -> Vec<u32> {
    let mut found: Vec<u32> = groups(group)
        .filter(|(.., members)| members.split(|byte| *byte == b',').any(|member| member == user))
        .map(|(_, gid, _)| gid)
        .take(MAX_GROUPS)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn id(text: &[u8]) -> Option<u32> {
    // `parse` would take a leading plus.
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok().filter(|id| *id != NO_ID)
}

fn missing(what: &str, name: &str, file: &str) -> Failure {
    failure(
        FailureKind::UserNotFound,
        format!("unable to find {what} {name}: no matching entries in {file} file"),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        # a comment\n\
        broken:x:no:0::/:\n\
        short:x\n\
        nobody:x:4294967295:0::/:\n\
        alice:x:1000:1001:Alice,,,:/home/alice:/bin/sh\n\
        alice:x:1:1::/second:/bin/sh\n\
        bare:x:7:8\n\
        \xff\xfe:x:9:9::/bin\xff:\n\
        last:x:11:12::/last";
    const GROUP: &[u8] =
        b"root:x:0:\naudio:x:29:bob,alice\nwheel:x:10:alice\ndup:x:29:alice\n:x:5:alice\nbad:x:y:alice\n";

    #[test]
    fn names_are_looked_up_with_their_groups_and_home() {
        let alice = find("alice", PASSWD, GROUP).unwrap();
        let expected = User {
            name: "alice".into(),
            uid: 1000,
            gid: 1001,
            groups: vec![10, 29],
            home: b"/home/alice".to_vec(),
        };
        assert_eq!(alice, expected);
        assert_eq!(find("last", PASSWD, GROUP).unwrap().uid, 11);
        assert_eq!(find("", PASSWD, GROUP).unwrap().home, b"/root");
    }

    #[test]
    fn a_group_may_be_given_by_name_or_number() {
        let alice = find("alice:audio", PASSWD, GROUP).unwrap();
        assert_eq!((alice.uid, alice.gid, alice.groups), (1000, 29, vec![]));
        assert_eq!(find("alice:77", PASSWD, GROUP).unwrap().gid, 77);
    }

    #[test]
    fn bare_numbers_need_no_entry_and_get_no_groups() {
        let user = find("5000:6000", PASSWD, GROUP).unwrap();
        let expected = User {
            name: "5000".into(),
            uid: 5000,
            gid: 6000,
            groups: vec![],
            home: b"/".to_vec(),
        };
        assert_eq!(user, expected);
        let known = find("1000:1000", PASSWD, GROUP).unwrap();
        assert_eq!(
            (known.name.as_str(), known.gid, &known.home[..], known.groups.len()),
            ("alice", 1000, &b"/home/alice"[..], 0)
        );
    }

    #[test]
    fn root_needs_no_files() {
        let root = User {
            name: "root".into(),
            uid: 0,
            gid: 0,
            groups: vec![],
            home: b"/".to_vec(),
        };
        assert_eq!(find("", b"", b"").unwrap(), root);
        assert_eq!(find("root", b"", b"").unwrap(), root);
    }

    #[test]
    fn who_is_in_no_file_is_refused_in_gardens_words() {
        let refused = find("bob", PASSWD, GROUP).unwrap_err();
        assert_eq!(refused.kind, FailureKind::UserNotFound);
        assert_eq!(
            refused.message,
            "unable to find user bob: no matching entries in passwd file"
        );
        for wanted in [
            "broken",
            "short",
            "nobody",
            "+1",
            "4294967295",
            "-1",
            "99999999999",
            "alice\n",
            "#",
        ] {
            assert!(find(wanted, PASSWD, GROUP).is_err(), "{wanted}");
        }
        let refused = find("alice:nope", PASSWD, GROUP).unwrap_err();
        assert_eq!(
            refused.message,
            "unable to find group nope: no matching entries in group file"
        );
    }

    #[test]
    fn an_entry_without_a_home_has_the_root() {
        assert_eq!(find("bare", PASSWD, GROUP).unwrap().home, b"/");
    }

    #[test]
    fn what_is_no_regular_file_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("passwd");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(read(fifo.to_str().unwrap()).is_empty());
        assert!(read("/dev/zero").is_empty());
        assert!(read(dir.path().to_str().unwrap()).is_empty());
        assert!(read("/does/not/exist").is_empty());
    }

    #[test]
    fn a_huge_file_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwd");
        File::create(&path).unwrap().set_len(MAX_FILE * 3).unwrap();
        assert_eq!(read(path.to_str().unwrap()).len() as u64, MAX_FILE);
    }

    proptest! {
        #[test]
        fn hostile_files_never_panic_and_never_give_a_reserved_id(
            passwd in "([a-z#]{0,3}:){0,9}[0-9:\n,x]{0,40}", group in proptest::collection::vec(any::<u8>(), 0..200),
            wanted in "[a-z0-9:]{0,6}",
        ) {
            if let Ok(user) = find(&wanted, passwd.as_bytes(), &group) {
                prop_assert!(user.uid != NO_ID && user.gid != NO_ID && !user.home.is_empty());
            }
        }

        #[test]
        fn an_entry_is_found_among_any_others(
            before in "([a-z:0-9]{0,20}\n){0,5}", after in "(\n[a-z:0-9]{0,20}){0,5}", uid in 0..NO_ID, gid in 0..NO_ID,
        ) {
            let passwd = format!("{before}Carol:x:{uid}:{gid}:,,:/home/carol:/bin/sh{after}");
            let user = find("Carol", passwd.as_bytes(), b"").unwrap();
            prop_assert_eq!((user.uid, user.gid, &user.home[..]), (uid, gid, &b"/home/carol"[..]));
        }
    }
}
