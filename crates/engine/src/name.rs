//! Image names: read, checked and printed the way the engine shows them.
//!
//! Names come from administrators and clients and end up in request paths, so nothing reaches an engine that is not
//! a name. No lookups here; which image a name means is the engine's to say.

use std::fmt;
use std::str::FromStr;

/// The longest name taken, as in the image specification.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;
const DEFAULT_TAG: &str = "latest";
/// What may stand before a name without changing its meaning.
const DEFAULT_REGISTRIES: [&str; 2] = ["docker.io/", "index.docker.io/"];
const DEFAULT_ACCOUNT: &str = "library/";

/// The name of an image: `[registry/]path[:tag][@sha256:…]`; without a tag it is `latest`.
///
/// ```
/// let name: engine::ImageName = "docker.io/library/busybox".parse()?;
/// assert_eq!(name.to_string(), "busybox:latest");
/// # Ok::<(), engine::BadName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageName {
    repository: String,
    version: ImageVersion,
}

/// Which of the images of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ImageVersion {
    Tag(String),
    Digest(String),
}

/// Why a text is no image name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not an image name: {reason}")]
pub struct BadName {
    /// The text, shortened.
    pub name: String,
    pub reason: &'static str,
}

impl ImageName {
    /// The name without its tag or digest, as the engine shows it.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, unless the name is by digest.
    pub fn tag(&self) -> Option<&str> {
        match &self.version {
            ImageVersion::Tag(tag) => Some(tag),
            ImageVersion::Digest(_) => None,
        }
    }

    /// The digest, if the name has one.
    pub fn digest(&self) -> Option<&str> {
        match &self.version {
            ImageVersion::Tag(_) => None,
            ImageVersion::Digest(digest) => Some(digest),
        }
    }

    /// `host[:port]` of the registry, unless it is the engine's default one.
    pub fn registry(&self) -> Option<&str> {
        let (first, _) = self.repository.split_once('/')?;
        is_registry(first).then_some(first)
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            ImageVersion::Tag(tag) => write!(f, "{}:{tag}", self.repository),
            ImageVersion::Digest(digest) => write!(f, "{}@{digest}", self.repository),
        }
    }
}

impl FromStr for ImageName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        parse(text).map_err(|reason| BadName {
            name: text.chars().take(MAX_NAME).collect(),
            reason,
        })
    }
}

fn parse(text: &str) -> Result<ImageName, &'static str> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    // A colon after the last slash starts a tag; one before it belongs to the registry's port.
    let path_start = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (repository, tag) = match rest[path_start..].find(':') {
        Some(colon) => (&rest[..path_start + colon], Some(&rest[path_start + colon + 1..])),
        None => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    let version = match digest {
        Some(digest) if is_content_id(digest) => ImageVersion::Digest(digest.to_owned()),
        Some(digest) if digest.starts_with("sha256:") => {
            return Err("its digest is not sha256: and 64 hexadecimal digits");
        }
        Some(_) => return Err("of digests, only sha256 is supported"),
        None => ImageVersion::Tag(tag.unwrap_or(DEFAULT_TAG).to_owned()),
    };
    Ok(ImageName {
        repository: check_repository(repository)?,
        version,
    })
}

fn check_repository(repository: &str) -> Result<String, &'static str> {
    if repository.is_empty() || repository.len() > MAX_NAME {
        return Err("it has to have 1 to 255 characters before the tag");
    }
    if is_hex(repository, 64..=64) {
        return Err("64 hexadecimal digits are an image id");
    }
    let short = DEFAULT_REGISTRIES
        .iter()
        .find_map(|prefix| repository.strip_prefix(prefix))
        .unwrap_or(repository);
    let short = match short.strip_prefix(DEFAULT_ACCOUNT) {
        Some(alone) if !alone.contains('/') => alone,
        _ => short,
    };
    let path = match short.split_once('/') {
        Some((registry, path)) if is_registry(registry) => {
            check_registry(registry)?;
            path
        }
        _ => short,
    };
    path.split('/').try_for_each(check_component)?;
    Ok(short.to_owned())
}

fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

fn check_registry(registry: &str) -> Result<(), &'static str> {
    let (host, port) = registry.split_once(':').unwrap_or((registry, "0"));
    let label = |label: &str| {
        let bytes = label.as_bytes();
        !label.is_empty()
            && bytes.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match host.split('.').all(label) && port.parse::<u16>().is_ok() {
        true => Ok(()),
        false => Err("its registry is not a host name with or without a port"),
    }
}

fn check_component(component: &str) -> Result<(), &'static str> {
    let bytes = component.as_bytes();
    let plain = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let ends_plain = bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain);
    // Between letters and digits: one dot, one or two underscores, or hyphens.
    let separators = component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .filter(|separator| !separator.is_empty());
    let separated = separators
        .into_iter()
        .all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|c| c == b'-'));
    match ends_plain && separated {
        true => Ok(()),
        false => Err("the parts of its path are lower-case letters and digits, parted by . _ or -"),
    }
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let good = tag.bytes().next().is_some_and(word) && tag.bytes().all(|c| word(c) || matches!(c, b'.' | b'-'));
    match good && tag.len() <= MAX_TAG {
        true => Ok(()),
        false => Err("its tag has to have 1 to 128 letters, digits, . _ or -, and start with a letter or digit"),
    }
}

fn is_hex(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len()) && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_content_id(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| is_hex(hex, 64..=64))
}

/// What an image can be looked up by: its id, whole or shortened, or a name. The text is safe in a request path.
pub(crate) fn lookup_key(text: &str) -> Result<String, BadName> {
    if is_content_id(text) || is_hex(text, 64..=64) {
        return Ok(text.to_owned());
    }
    // A short id may also be a name: the engine tries both, so it has to be passed as it was written.
    if is_hex(text, 6..=63) {
        return Ok(text.to_owned());
    }
    text.parse::<ImageName>().map(|name| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn names_are_printed_as_the_engine_shows_them() {
        for (text, shown) in [
            ("busybox", "busybox:latest"),
            ("busybox:1.0", "busybox:1.0"),
            ("docker.io/library/busybox", "busybox:latest"),
            ("index.docker.io/exampleco/newimg:1.0.0", "exampleco/newimg:1.0.0"),
            ("127.0.0.1:5000/a/b__c/d-e.f", "127.0.0.1:5000/a/b__c/d-e.f:latest"),
            ("localhost/x:Y_2-z.1", "localhost/x:Y_2-z.1"),
            ("library/a/b", "library/a/b:latest"),
        ] {
            assert_eq!(text.parse::<ImageName>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn a_digest_wins_over_a_tag() {
        let name: ImageName = format!("host:5000/x:1@{DIGEST}").parse().unwrap();
        assert_eq!(name.to_string(), format!("host:5000/x@{DIGEST}"));
        assert_eq!(
            (name.tag(), name.digest(), name.registry()),
            (None, Some(DIGEST), Some("host:5000"))
        );
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a".repeat(MAX_NAME + 1);
        let long_tag = format!("a:{}", "t".repeat(MAX_TAG + 1));
        for text in [
            "",
            "/",
            "a/",
            "/a",
            "..",
            "../containers/x",
            "a/../b",
            "%2e%2e/x",
            "UPPER",
            "a:",
            ":1",
            "a b",
            "a?x=1",
            "a#b",
            "a@sha256:12",
            "a@",
            "-a",
            "a_",
            "a..b",
            "a___b",
            "host:port/a",
            "ho st.x/a",
            ".x/a",
            "a:b:c",
            &long,
            &long_tag,
            "é",
            "a\n",
            &DIGEST[7..],
        ] {
            assert!(text.parse::<ImageName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_digest_of_another_kind_is_refused_for_that() {
        let error = format!("a@sha512:{}", "0a".repeat(64))
            .parse::<ImageName>()
            .unwrap_err();
        assert_eq!(error.reason, "of digests, only sha256 is supported");
    }

    #[test]
    fn ids_are_looked_up_as_they_are() {
        for id in [DIGEST, &DIGEST[7..], "0123456789ab"] {
            assert_eq!(lookup_key(id).unwrap(), id);
        }
        assert_eq!(lookup_key("busybox").unwrap(), "busybox:latest");
        assert!(lookup_key("sha256:../x").is_err());
    }

    fn samples() -> Vec<Vec<u8>> {
        [
            "busybox",
            "docker.io/library/busybox:latest",
            "index.docker.io/a/b",
            "reg.example.com:5000/a__b/c--d/e.f_g:Tag_1.2-x",
            "localhost:5000/a/b",
            "a@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "r:5000/a:t@sha256:afafafafafafafafafafafafafafafafafafafafafafafafafafafafafafafaf",
            "library/library/a",
        ]
        .map(Vec::from)
        .into()
    }

    proptest::proptest! {
        #[test]
        fn what_is_taken_is_short_and_the_same_when_printed(text in hostile::spoilt_text(samples())) {
            match text.parse::<ImageName>() {
                Ok(name) => {
                    let printed = name.to_string();
                    proptest::prop_assert!(printed.len() <= MAX_NAME + MAX_TAG + 1);
                    proptest::prop_assert!(printed.bytes().all(|byte| byte.is_ascii_graphic()));
                    proptest::prop_assert_eq!(printed.parse(), Ok(name));
                }
                Err(error) => proptest::prop_assert!(error.to_string().len() < 10 * MAX_NAME),
            }
        }
    }
}
