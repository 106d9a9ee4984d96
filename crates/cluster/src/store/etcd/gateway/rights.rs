//! What a guest may do to keys. Pure.

use super::super::range::bounds;

/// What may be done to keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    Read,
    Write,
    ReadWrite,
}

impl Right {
    fn includes(self, other: Right) -> bool {
        self == Right::ReadWrite || self == other
    }
}

/// Which keys a right is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Keys {
    /// Those that start with this; all if it is empty.
    Prefix(String),
    /// This one alone.
    One(String),
}

/// A right to some keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    pub keys: Keys,
    pub right: Right,
}

/// What a guest may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Everything that etcd can do: the core's own.
    Root,
    /// What is granted, and nothing else. A question is answered if one grant covers all of it.
    Granted(Vec<Grant>),
}

impl Rights {
    /// Whether all keys from `from` up to and without `to` may be read or written. As etcd counts: without an end it is the one
    /// key, and the end `\0` is none.
    pub fn cover(&self, right: Right, from: &[u8], to: &[u8]) -> bool {
        match self {
            Rights::Root => true,
            Rights::Granted(grants) => grants
                .iter()
                .any(|grant| grant.right.includes(right) && grant.keys.cover(from, to)),
        }
    }

    /// Whether every key may be changed, and so what all of them share.
    pub fn cover_everything(&self) -> bool {
        self.cover(Right::ReadWrite, &[0], &[0])
    }
}

impl Keys {
    fn cover(&self, from: &[u8], to: &[u8]) -> bool {
        match self {
            Keys::One(key) => key.as_bytes() == from && to.is_empty(),
            Keys::Prefix(prefix) if to.is_empty() => from.starts_with(prefix.as_bytes()),
            Keys::Prefix(prefix) => {
                let (first, end) = bounds(prefix);
                // The prefix of all keys has no end; any other's end is greater than the end that stands for none.
                prefix.is_empty() || (from >= first.as_slice() && to != [0] && to <= end.as_slice())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(keys: Keys, right: Right) -> Rights {
        Rights::Granted(vec![Grant { keys, right }])
    }

    #[test]
    fn a_prefix_covers_what_starts_with_it_and_nothing_beside_it() {
        let rights = granted(Keys::Prefix("open/".to_owned()), Right::Read);
        let reads = |from: &[u8], to: &[u8]| rights.cover(Right::Read, from, to);
        assert!(
            reads(b"open/", b"") && reads(b"open/a", b"") && reads(b"open/", b"open0") && reads(b"open/a", b"open/b")
        );
        for (from, to) in [
            (&b"open"[..], &b""[..]),
            (b"open", b"open0"),
            (b"open/", b"open1"),
            (b"open/", b"\0"),
            (b"", b"\0"),
            (b"\0", b"\0"),
            (b"", b""),
            (b"open/a", b"\xff"),
            (b"opeo", b""),
            (b"a", b"open0"),
        ] {
            assert!(!reads(from, to), "{from:?} to {to:?}");
        }
        assert!(!rights.cover(Right::Write, b"open/a", b""));
        assert!(!rights.cover_everything());
    }

    #[test]
    fn one_key_is_no_other_and_no_range() {
        let rights = granted(Keys::One("open/one".to_owned()), Right::Write);
        assert!(rights.cover(Right::Write, b"open/one", b""));
        assert!(!rights.cover(Right::Read, b"open/one", b""));
        for (from, to) in [
            (&b"open/one/more"[..], &b""[..]),
            (b"open/one", b"open/onf"),
            (b"open/one", b"\0"),
        ] {
            assert!(!rights.cover(Right::Write, from, to), "{from:?} to {to:?}");
        }
    }

    #[test]
    fn all_keys_are_all_ranges() {
        let all = granted(Keys::Prefix(String::new()), Right::ReadWrite);
        for (from, to) in [
            (&b"a"[..], &b""[..]),
            (b"\0", b"\0"),
            (b"a", b"\0"),
            (b"a", b"\xff\xff"),
        ] {
            assert!(all.cover(Right::Read, from, to) && all.cover(Right::Write, from, to));
        }
        assert!(all.cover_everything() && Rights::Root.cover_everything());
    }
}
