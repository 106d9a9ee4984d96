//! The name a client knows a container by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest handle, in bytes.
pub const MAX_HANDLE: usize = 255;

/// A container's name on this node: 1 to 255 printable ASCII characters without space, `/`, `,` and `?`
/// (clients put it into paths and comma-separated lists).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Handle(String);

/// A string that is no handle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("handle {given:?} is not usable: {reason}")]
pub struct HandleError {
    given: String,
    reason: &'static str,
}

impl Handle {
    /// The handle as clients write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The container's host name: the last 49 characters, as Garden's own server does, cut to what a host name may hold.
    pub fn hostname(&self) -> String {
        let tail = &self.0[self.0.len().saturating_sub(49)..];
        let host: String = tail
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' })
            .collect();
        let trimmed = host.trim_matches('-');
        if trimmed.is_empty() {
            "container".into()
        } else {
            trimmed.into()
        }
    }
}

impl FromStr for Handle {
    type Err = HandleError;

    fn from_str(text: &str) -> Result<Self, HandleError> {
        let refuse = |reason| {
            Err(HandleError {
                given: text.chars().take(64).collect(),
                reason,
            })
        };
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.len() > MAX_HANDLE {
            return refuse("it is longer than 255 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_graphic() && !b"/,?".contains(&b)) {
            return refuse("only printable ASCII without space, '/', ',' and '?' is allowed");
        }
        if text == "." || text == ".." || text == "bulk_info" || text == "bulk_metrics" {
            return refuse("the name is reserved");
        }
        Ok(Handle(text.to_owned()))
    }
}

impl TryFrom<String> for Handle {
    type Error = HandleError;

    fn try_from(text: String) -> Result<Self, HandleError> {
        text.parse()
    }
}

impl From<Handle> for String {
    fn from(handle: Handle) -> String {
        handle.0
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_clients_use() {
        for text in ["a", "3f0c-4e", "web.1_x", "A:b@c"] {
            assert_eq!(text.parse::<Handle>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn refuses_what_cannot_be_addressed() {
        for text in ["", "a/b", "a b", "a,b", "a?b", "ä", "..", "bulk_info", &"x".repeat(256)] {
            assert!(text.parse::<Handle>().is_err(), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_taken_can_be_addressed_and_is_a_host_name(text in "([!-~]{0,70}|.{0,8}|[-._]{1,6}|[!-~]{250,260})") {
            match text.parse::<Handle>() {
                Ok(handle) => {
                    proptest::prop_assert_eq!(handle.as_str(), text);
                    let host = handle.hostname();
                    proptest::prop_assert!((1..=63).contains(&host.len()) && !host.starts_with('-') && !host.ends_with('-'));
                    proptest::prop_assert!(host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
                }
                Err(error) => proptest::prop_assert!(error.to_string().len() < 1024),
            }
        }
    }

    #[test]
    fn hostname_is_the_tail_that_fits() {
        assert_eq!("web_1".parse::<Handle>().unwrap().hostname(), "web-1");
        assert_eq!("x".repeat(60).parse::<Handle>().unwrap().hostname().len(), 49);
        assert_eq!("___".parse::<Handle>().unwrap().hostname(), "container");
    }
}
