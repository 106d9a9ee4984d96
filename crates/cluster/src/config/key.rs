//! Names and paths of the tree: parsed, checked, printed.
//!
//! An *address* is a [`KeyPath`] whose first segment is the component: `fence/docker/image`. Nothing here knows which
//! keys exist; that is the schema's.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name of a component, node or realm, in bytes.
pub const MAX_NAME: usize = 63;
/// The longest segment of a path, in bytes.
pub const MAX_SEGMENT: usize = 128;
/// The longest path, in bytes.
pub const MAX_PATH: usize = 512;
/// The most segments of a path.
pub const MAX_DEPTH: usize = 16;

/// Why a name or a path is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A component, node or realm cannot be called so.
    #[error("{name:?} cannot be a name: {reason}")]
    Name { name: String, reason: &'static str },
    /// This is not a key path.
    #[error("{path:?} is not a key path: {reason}")]
    Path { path: String, reason: &'static str },
}

/// The name of a component, a node or a realm: letters, digits, `.`, `_` and `-`, as host names and processes have.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// The first level of the tree: `cluster`, `local`, or a process such as `fence`.
pub type Component = Name;

impl Name {
    /// Check a name.
    pub fn new(name: &str) -> Result<Self, Error> {
        let refused = |reason| {
            Err(Error::Name {
                name: shortened(name),
                reason,
            })
        };
        if name.is_empty() {
            return refused("it is empty");
        }
        if name.len() > MAX_NAME {
            return refused("it is longer than 63 bytes");
        }
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return refused("it must start with a letter or a digit");
        }
        if !name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        {
            return refused("only letters, digits, '.', '_' and '-' may be in it");
        }
        Ok(Name(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        Name::new(&name)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

/// A `/`-separated path; the root is `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyPath(String);

impl KeyPath {
    /// The path above all others.
    pub fn root() -> Self {
        KeyPath::default()
    }

    /// Check a path: `/` or empty is the root, one leading `/` is allowed.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let path = text.strip_prefix('/').unwrap_or(text);
        let refused = |reason| {
            Err(Error::Path {
                path: shortened(text),
                reason,
            })
        };
        if path.is_empty() {
            return Ok(KeyPath::root());
        }
        if path.len() > MAX_PATH {
            return refused("it is longer than 512 bytes");
        }
        for (depth, segment) in path.split('/').enumerate() {
            if depth == MAX_DEPTH {
                return refused("it is deeper than 16 levels");
            }
            if let Err(reason) = check_segment(segment) {
                return refused(reason);
            }
        }
        Ok(KeyPath(path.to_owned()))
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path as text, without a leading `/`; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts between the slashes.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// The first part and what is below it; `None` at the root.
    pub fn split_first(&self) -> Option<(&str, KeyPath)> {
        match self.0.split_once('/') {
            Some((first, rest)) => Some((first, KeyPath(rest.to_owned()))),
            None if self.is_root() => None,
            None => Some((&self.0, KeyPath::root())),
        }
    }

    /// This path with another below it. The result is checked, since two allowed paths can be too long together.
    pub fn join(&self, below: &KeyPath) -> Result<KeyPath, Error> {
        match (self.is_root(), below.is_root()) {
            (true, _) => Ok(below.clone()),
            (_, true) => Ok(self.clone()),
            _ => KeyPath::parse(&format!("{}/{}", self.0, below.0)),
        }
    }

    /// This path with one segment below it; the segment may not have a `/` in it.
    pub fn child(&self, segment: &str) -> Result<KeyPath, Error> {
        check_segment(segment).map_err(|reason| Error::Path {
            path: shortened(segment),
            reason,
        })?;
        self.join(&KeyPath(segment.to_owned()))
    }

    /// What is left of this path below `above`: the root when they are equal, `None` when it is not below.
    pub fn below(&self, above: &KeyPath) -> Option<KeyPath> {
        if above.is_root() {
            return Some(self.clone());
        }
        let rest = self.0.strip_prefix(&above.0)?;
        match rest.strip_prefix('/') {
            Some(rest) => Some(KeyPath(rest.to_owned())),
            None => rest.is_empty().then(KeyPath::root),
        }
    }

    /// Whether this path is `above` or below it.
    pub fn is_within(&self, above: &KeyPath) -> bool {
        above.is_root()
            || self
                .0
                .strip_prefix(&above.0)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "/" } else { &self.0 })
    }
}

impl From<&Component> for KeyPath {
    fn from(component: &Component) -> KeyPath {
        // A name's rules are stricter than a segment's.
        KeyPath(component.as_str().to_owned())
    }
}

impl TryFrom<String> for KeyPath {
    type Error = Error;

    fn try_from(path: String) -> Result<Self, Error> {
        KeyPath::parse(&path)
    }
}

impl From<KeyPath> for String {
    fn from(path: KeyPath) -> String {
        path.0
    }
}

fn check_segment(segment: &str) -> Result<(), &'static str> {
    if segment.is_empty() {
        return Err("a part of it is empty");
    }
    if segment.len() > MAX_SEGMENT {
        return Err("a part of it is longer than 128 bytes");
    }
    if segment.contains('/') {
        return Err("a name within it has a '/' in it");
    }
    if segment.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("there is white space or a control character in it");
    }
    Ok(())
}

/// What an error quotes of a name that may be of any length.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> KeyPath {
        KeyPath::parse(text).unwrap()
    }

    #[test]
    fn the_root_is_a_slash_or_nothing() {
        assert!(path("/").is_root());
        assert!(path("").is_root());
        assert_eq!(path("/").to_string(), "/");
    }

    #[test]
    fn a_leading_slash_changes_nothing() {
        assert_eq!(path("/docker/image"), path("docker/image"));
        assert_eq!(path("docker/image").to_string(), "docker/image");
    }

    #[test]
    fn paths_that_are_none_are_refused() {
        for text in [
            "a//b",
            "a/",
            "//",
            "a b",
            "a\nb",
            "a\u{a0}b",
            &"a".repeat(129),
            &"a/".repeat(17),
            &"a".repeat(600),
        ] {
            assert!(KeyPath::parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for text in ["", ".", "-a", "a/b", "a b", "ä", &"a".repeat(64)] {
            assert!(Name::new(text).is_err(), "{text:?} was accepted");
        }
        for text in ["fence", "cloud_controller_ng", "10.0.0.1", "node-1.example"] {
            assert!(Name::new(text).is_ok(), "{text:?} was refused");
        }
    }

    #[test]
    fn a_path_is_within_itself_and_what_is_above_but_not_beside() {
        assert!(path("a/b").is_within(&path("a")));
        assert!(path("a").is_within(&path("a")));
        assert!(path("a").is_within(&KeyPath::root()));
        assert!(!path("ab").is_within(&path("a")));
        assert_eq!(path("a/b/c").below(&path("a")), Some(path("b/c")));
        assert_eq!(path("ab").below(&path("a")), None);
    }

    #[test]
    fn joining_checks_the_length_of_the_whole() {
        let long = path(&["a".repeat(100), "b".repeat(100), "c".repeat(100)].join("/"));
        assert!(long.join(&long).is_err());
        assert!(path("a").child("b/c").is_err());
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(text in "/?[a-z.]{1,4}(/[a-z{}!:é-]{1,5}){0,5}") {
            let parsed = path(&text);
            prop_assert_eq!(path(&parsed.to_string()), parsed);
        }

        #[test]
        fn no_text_at_all_panics(text in any::<String>()) {
            let _ = KeyPath::parse(&text);
            let _ = Name::new(&text);
        }
    }
}
