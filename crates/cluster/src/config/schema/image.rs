//! What an image can be called: `[registry[:port]/]path[:tag][@digest]`, as Docker's reference grammar has it. Pure.
//!
//! Whether there is such an image is the engine's to say.

/// The longest name of an image without tag and digest.
const MAX_REPOSITORY: usize = 255;
/// The longest tag.
const MAX_TAG: usize = 128;

/// Say why `name` cannot be an image's name.
pub fn check(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("an image name cannot be empty".to_owned());
    }
    let (rest, digest) = match name.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (name, None),
    };
    if let Some(digest) = digest {
        check_digest(digest)?;
    }
    // A colon after the last slash starts the tag; one before it belongs to the registry's port.
    let last = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (repository, tag) = match rest[last..].find(':') {
        Some(colon) => (&rest[..last + colon], Some(&rest[last + colon + 1..])),
        None => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    check_repository(repository)
}

fn check_repository(repository: &str) -> Result<(), String> {
    if repository.len() > MAX_REPOSITORY {
        return Err(format!("the name is longer than {MAX_REPOSITORY} bytes"));
    }
    let path = match repository.split_once('/') {
        Some((host, path)) if is_registry(host) => {
            check_registry(host)?;
            path
        }
        _ => repository,
    };
    path.split('/').try_for_each(check_part)
}

/// As Docker has it: the first part is a registry when it could not be the first part of a path.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.chars().any(|c| c.is_ascii_uppercase())
}

/// Whether the text says where a registry answers: a host, and maybe a port.
pub(crate) fn is_location(text: &str) -> bool {
    check_registry(text).is_ok()
}

fn check_registry(registry: &str) -> Result<(), String> {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    };
    if let Some(port) = port
        && (!port.bytes().all(|b| b.is_ascii_digit()) || !matches!(port.parse::<u16>(), Ok(1..)))
    {
        return Err(format!("{port:?} is not a port"));
    }
    let is_address =
        host.starts_with('[') && host.ends_with(']') && host[1..host.len() - 1].parse::<std::net::Ipv6Addr>().is_ok();
    if is_address || is_host(host) {
        Ok(())
    } else {
        Err(format!("{host:?} is not the host name of a registry"))
    }
}

/// Whether the text has the form of a host name or an IPv4 address.
pub(crate) fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 253
        && host.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

/// One part of the path: lower-case letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn check_part(part: &str) -> Result<(), String> {
    let refused = |reason: &str| Err(format!("the part {part:?} of the name {reason}"));
    if part.is_empty() {
        return Err("a part of the name is empty".to_owned());
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !part.chars().all(|c| plain(c) || matches!(c, '.' | '_' | '-')) {
        return refused("may have only lower-case letters, digits, '.', '_' and '-'");
    }
    if !part.starts_with(plain) || !part.ends_with(plain) {
        return refused("must start and end with a letter or a digit");
    }
    let separators = part.split(plain).filter(|between| !between.is_empty());
    for between in separators {
        if !(matches!(between, "." | "_" | "__") || between.bytes().all(|b| b == b'-')) {
            return refused("has separators in a row");
        }
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if tag.is_empty() || tag.len() > MAX_TAG {
        return Err(format!("a tag has 1 to {MAX_TAG} characters"));
    }
    if !tag.starts_with(word) || !tag.chars().all(|c| word(c) || matches!(c, '.' | '-')) {
        return Err(format!(
            "the tag {tag:?} may have only letters, digits, '_', '.' and '-', and starts with one of the first three"
        ));
    }
    Ok(())
}

fn check_digest(digest: &str) -> Result<(), String> {
    let is_hex = |text: &str| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match digest.split_once(':') {
        Some(("sha256", value)) if is_hex(value) => Ok(()),
        Some(("sha512", _)) => Err("of digests, only sha256 is supported".to_owned()),
        _ => Err("the part after '@' is not a sha256 digest".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_docker_takes_are_taken() {
        for name in [
            "busybox",
            "fence/base:0.1.0",
            "stackato/stack-alsek:kato-patched",
            "exampleco/newimg:1.0.0",
            "api.paas.example.com:49153/newimg:1.0.0",
            "localhost/a",
            "localhost:5000/a/b/c",
            "127.0.0.1:5000/a",
            "[::1]:5000/a",
            "REG.example/a",
            "a__b/c--d/e.f_g",
            "a:Tag_1.2-x",
            &format!("a@sha256:{}", "0".repeat(64)),
            &format!("r:5000/a:t@sha256:{}", "af".repeat(32)),
        ] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn names_that_docker_refuses_are_refused() {
        for name in [
            "",
            " ",
            "Busybox",
            "a b",
            "a/",
            "/a",
            "a//b",
            "a:",
            "a:-x",
            ":x",
            "a:b:c",
            "-a",
            "a-",
            "a._b",
            "a___b",
            "a@",
            "a@sha256:1",
            "a@md5:00",
            "r:99999/a",
            "r:x/a",
            "r.:5/a",
            "http://a/b",
            "a:b/c:d/e",
            "a\n",
            "ä",
            &"a".repeat(256),
            &format!("a:{}", "t".repeat(129)),
            &format!("a@sha256:{}", "F".repeat(64)),
        ] {
            assert!(check(name).is_err(), "{name:?} was accepted");
        }
    }

    #[test]
    fn a_digest_that_nothing_here_can_check_is_refused_for_that() {
        let error = check(&format!("a@sha512:{}", "0a".repeat(64))).unwrap_err();
        assert_eq!(error, "of digests, only sha256 is supported");
    }

    proptest! {
        #[test]
        fn no_text_at_all_panics(text in any::<String>()) {
            let _ = check(&text);
        }

        #[test]
        fn names_of_the_grammar_are_taken(
            name in "([a-z0-9]{1,5}\\.[a-z]{2,3}(:[1-9][0-9]{0,3})?/)?[a-z0-9]{1,4}([_-][a-z0-9]{1,3}){0,2}(/[a-z0-9]{1,4}){0,2}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,6})?"
        ) {
            prop_assert_eq!(check(&name), Ok(()));
        }
    }
}
