//! The environment of a process: what the spec says, and `PATH`, `USER` and `HOME` where it does not.

use std::collections::HashSet;

use crate::user::User;

/// `PATH` for uid 0.
const ROOT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// `PATH` for everybody else.
const USER_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The whole environment: of several entries for one name the last, then what is missing.
pub fn complete(given: &[String], user: &User) -> Vec<Vec<u8>> {
    let mut seen = HashSet::new();
    let mut env: Vec<Vec<u8>> = given
        .iter()
        .rev()
        .filter(|entry| seen.insert(name(entry.as_bytes())))
        .map(|entry| entry.clone().into())
        .collect();
    env.reverse();
    let path = if user.uid == 0 { ROOT_PATH } else { USER_PATH };
    for (key, value) in [
        ("PATH", path.as_bytes()),
        ("USER", user.name.as_bytes()),
        ("HOME", &user.home),
    ] {
        if !seen.contains(key.as_bytes()) {
            env.push([key.as_bytes(), b"=", value].concat());
        }
    }
    env
}

/// The value of a name.
pub fn value<'a>(env: &'a [Vec<u8>], wanted: &str) -> Option<&'a [u8]> {
    let entry = env.iter().find(|entry| name(entry) == wanted.as_bytes())?;
    entry.get(wanted.len() + 1..)
}

fn name(entry: &[u8]) -> &[u8] {
    entry.split(|byte| *byte == b'=').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(uid: u32) -> User {
        User {
            name: "alice".into(),
            uid,
            gid: 0,
            groups: vec![],
            home: b"/home/alice".to_vec(),
        }
    }

    fn completed(given: &[&str], uid: u32) -> Vec<String> {
        let given: Vec<String> = given.iter().map(|entry| (*entry).into()).collect();
        complete(&given, &user(uid))
            .into_iter()
            .map(|entry| String::from_utf8(entry).unwrap())
            .collect()
    }

    #[test]
    fn a_later_duplicate_wins_and_what_is_missing_is_added() {
        assert_eq!(
            completed(&["A=1", "B=x=y", "A=2", "C="], 1000),
            [
                "B=x=y",
                "A=2",
                "C=",
                &format!("PATH={USER_PATH}"),
                "USER=alice",
                "HOME=/home/alice"
            ]
        );
    }

    #[test]
    fn what_is_given_stays_even_if_it_is_empty() {
        assert_eq!(
            completed(&["PATH=/p", "USER=", "HOME=/h"], 0),
            ["PATH=/p", "USER=", "HOME=/h"]
        );
    }

    #[test]
    fn root_gets_the_longer_path() {
        let env = complete(&[], &user(0));
        assert_eq!(value(&env, "PATH"), Some(ROOT_PATH.as_bytes()));
        assert_eq!(value(&env, "PAT"), None);
    }
}
