//! The values that the options of the family take, from text: sizes, ports, mounts, images, times, environment.
//!
//! Pure but for the paths, variables and files of this machine that a value may name. Fence checks everything again.

use std::io;
use std::path::{Component, Path, PathBuf};

use cluster::files;
use jiff::SignedDuration;

use crate::error::{Error, Result};
use crate::fence_api::spec::{BindMount, NetIn};

/// The longest file of environment entries that is read, in bytes.
const MAX_ENV_FILE: u64 = 4 * 1024 * 1024;
/// Resource limits a process can be given.
const RLIMITS: [&str; 15] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "sigpending",
    "stack",
];

type Parsed<T> = std::result::Result<T, String>;

/// A size such as `128M`, `128MiB`, `1g` or `1048576`: a step is 1024, as everywhere where memory is meant.
pub fn size(text: &str) -> Parsed<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.to_ascii_lowercase();
    let power = match unit.strip_suffix('b').unwrap_or(&unit).trim_end_matches('i') {
        "" if !unit.contains('i') => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err("a size is a number and K, M, G or T, such as 128M".into()),
    };
    let bytes = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1024_u64.pow(power)));
    match bytes {
        Some(0) => Err(
            "a size is more than 0; without one the limit is the configured one, see: \
             kato config get fence default_memory_mb"
                .into(),
        ),
        Some(bytes) => Ok(bytes),
        None => Err("not a size that a machine can have".into()),
    }
}

/// A time such as `30s`, `5m`, `1h30m` or a number of seconds; more than none.
pub fn duration(text: &str) -> Parsed<SignedDuration> {
    let parsed = match text.parse::<u32>() {
        Ok(seconds) => Ok(SignedDuration::from_secs(seconds.into())),
        Err(_) => text.parse::<SignedDuration>(),
    };
    let parsed = parsed.map_err(|_| "a time is a number of seconds, or such as 30s, 5m, 1h30m".to_owned())?;
    if parsed.is_positive() {
        Ok(parsed)
    } else {
        Err("a time has to be longer than none".into())
    }
}

/// A port of the container, or a port of the node before it: `8080`, `61010:8080`.
pub fn port(text: &str) -> Parsed<NetIn> {
    let number = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(u32::from(port)),
        _ => Err(format!("'{text}' is not a port from 1 to 65535")),
    };
    match text.split_once(':') {
        Some((host, container)) => Ok(NetIn {
            host_port: number(host)?,
            container_port: number(container)?,
        }),
        None => Ok(NetIn {
            host_port: 0,
            container_port: number(text)?,
        }),
    }
}

/// A mount: `SRC:DST`, `SRC:DST:ro` or `SRC:DST:rw`; only read where nothing is said. Its source is as it was typed.
pub fn mount(text: &str) -> Parsed<BindMount> {
    let parts: Vec<&str> = text.split(':').collect();
    let mode = match parts.get(2) {
        None | Some(&"ro") => 0,
        Some(&"rw") => 1,
        Some(other) => return Err(format!("a mount's mode is ro or rw, not '{other}'")),
    };
    match parts.as_slice() {
        [source, target] | [source, target, _] if !source.is_empty() && target.starts_with('/') => Ok(BindMount {
            src_path: (*source).into(),
            dst_path: (*target).into(),
            mode,
        }),
        _ => Err("a mount is SRC:DST, SRC:DST:ro or SRC:DST:rw, with DST an absolute path".into()),
    }
}

/// Where the file system comes from.
#[derive(Debug, PartialEq, Eq)]
pub enum Image {
    /// An image of the engine or a registry, in Garden's form.
    Name(String),
    /// A file or a directory of this machine.
    Path(String),
}

impl Image {
    /// As fence takes it.
    pub fn uri(self) -> String {
        match self {
            Image::Name(uri) | Image::Path(uri) => uri,
        }
    }
}

/// Where the file system comes from: what is here by that name, else a name, which becomes `docker:///name#tag`.
pub fn image(text: &str) -> Result<Image> {
    if text.contains("://") {
        return Ok(Image::Name(text.to_owned()));
    }
    let is_path = text.starts_with('/') || text.starts_with("./") || text.starts_with("../");
    if is_path || Path::new(text).exists() {
        return path(text, "to make the container from").map(Image::Path);
    }
    Ok(Image::Name(by_name(text)))
}

fn by_name(text: &str) -> String {
    // A colon after the last slash begins the tag; one before it belongs to a registry's port.
    let after_slash = text.rfind('/').map_or(0, |at| at + 1);
    match text[after_slash..].find(':') {
        Some(at) if !text.contains('@') => {
            let (name, tag) = text.split_at(after_slash + at);
            format!("docker:///{name}#{}", &tag[1..])
        }
        _ => format!("docker:///{text}"),
    }
}

/// `KEY=VALUE`, the value possibly empty.
pub fn pair(text: &str) -> Parsed<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("not of the form KEY=VALUE".into()),
    }
}

/// An environment entry: `KEY=VALUE`, or `KEY` for the value it has here.
pub fn env(text: &str) -> Parsed<String> {
    if text.contains('=') {
        return pair(text).map(|_| text.to_owned());
    }
    match std::env::var(text) {
        Ok(value) => Ok(format!("{text}={value}")),
        Err(_) => Err(format!("{text} has no value here; say {text}=VALUE")),
    }
}

/// A resource limit: `nofile=1024`, `core=unlimited`.
pub fn rlimit(text: &str) -> Parsed<(String, u64)> {
    let (name, value) = pair(text)?;
    if !RLIMITS.contains(&name.as_str()) {
        return Err(format!("the limits are {}", RLIMITS.join(", ")));
    }
    match value.as_str() {
        "unlimited" => Ok((name, u64::MAX)),
        number => number
            .parse()
            .map(|value| (name, value))
            .map_err(|_| format!("'{number}' is not a number")),
    }
}

/// The entries of a file: one a line as for [`env()`], without empty lines and those that begin with `#`.
pub fn env_file(path: &Path) -> Result<Vec<String>> {
    let shown = path.display();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Error::not_found(format!("there is no {shown} to read the environment from")),
        io::ErrorKind::FileTooLarge => Error::refused(format!("{shown} is longer than {MAX_ENV_FILE} bytes")),
        _ => Error::failed(format!("could not read {shown}")).because(error),
    };
    // Read within the limit: what is no plain file has no length of its own.
    let text = files::read_limited(path, MAX_ENV_FILE)
        .and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other))
        .map_err(failed)?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(at, line)| env(line).map_err(|problem| Error::refused(format!("{shown} line {}: {problem}", at + 1))))
        .collect()
}

/// A path of this machine without `.` and `..`, which fence does not take; `purpose` is what it is needed for. What
/// this user may not look at is fence's to judge.
pub fn path(text: &str, purpose: &str) -> Result<String> {
    let path = Path::new(text);
    let plain = !path
        .components()
        .any(|part| matches!(part, Component::CurDir | Component::ParentDir));
    let found = match path.canonicalize() {
        // As it was typed: fence follows links itself.
        Ok(_) if path.is_absolute() && plain => Ok(path.to_path_buf()),
        Err(error) if path.is_absolute() && plain && error.kind() == io::ErrorKind::PermissionDenied => {
            Ok(path.to_path_buf())
        }
        found => found,
    };
    let found: PathBuf = found.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::not_found(format!("there is no {text} {purpose}")),
        _ => Error::failed(format!("could not find {text}")).because(error),
    })?;
    found
        .into_os_string()
        .into_string()
        .map_err(|_| Error::usage(format!("{text} is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn sizes_go_by_1024_however_they_are_written() {
        for text in [
            "128M",
            "128m",
            "128MB",
            "128MiB",
            "128Mi",
            "131072k",
            "134217728",
            "134217728b",
        ] {
            assert_eq!(size(text), Ok(128 << 20), "{text}");
        }
        assert_eq!(size("2T"), Ok(2 << 40));
        for text in ["", "M", "-1M", "1.5M", "12Q", "0", "5i", "5ib", "18446744073709551615T"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_seconds_or_have_units() {
        assert_eq!(duration("90").unwrap().as_secs(), 90);
        assert_eq!(duration("5m").unwrap().as_secs(), 300);
        assert_eq!(duration("1h30m").unwrap().as_secs(), 5400);
        for text in ["", "0", "-5s", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_may_have_the_nodes_port_before_it() {
        assert_eq!(
            port("8080"),
            Ok(NetIn {
                host_port: 0,
                container_port: 8080
            })
        );
        assert_eq!(
            port("61010:8080"),
            Ok(NetIn {
                host_port: 61010,
                container_port: 8080
            })
        );
        for text in ["", "0", "70000", "a:1", "1:", "1:2:3"] {
            assert!(port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mount_is_only_read_unless_it_says_otherwise() {
        let mounted = |text: &str| mount(text).map(|mount| (mount.src_path, mount.dst_path, mount.mode));
        assert_eq!(mounted("/a:/b"), Ok(("/a".into(), "/b".into(), 0)));
        assert_eq!(mounted("/a:/b:ro"), Ok(("/a".into(), "/b".into(), 0)));
        assert_eq!(mounted("/a:/b:rw"), Ok(("/a".into(), "/b".into(), 1)));
        for text in ["/a", "/a:b", ":/b", "/a:/b:rx", "/a:/b:", "/a:/b:/c", "/a:/b:ro:rw"] {
            assert!(mount(text).is_err(), "{text}");
        }
        assert!(mount("/a:/b:rx").unwrap_err().contains("'rx'"));
    }

    #[test]
    fn a_path_is_whole_and_there() {
        assert_eq!(path("/usr/./../usr", "to mount").unwrap(), "/usr");
        assert!(path(".", "to mount").unwrap().starts_with('/'));
        let error = path("/no/such/place", "to mount").unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (Kind::NotFound, "there is no /no/such/place to mount".into())
        );
    }

    #[test]
    fn an_image_by_name_becomes_gardens_form() {
        for (text, uri) in [
            ("exampleco/newimg:1.0.0", "docker:///exampleco/newimg#1.0.0"),
            ("busybox", "docker:///busybox"),
            ("localhost:5000/a/b", "docker:///localhost:5000/a/b"),
            ("localhost:5000/a/b:2", "docker:///localhost:5000/a/b#2"),
            ("a/b@sha256:00", "docker:///a/b@sha256:00"),
            ("docker:///a#1", "docker:///a#1"),
        ] {
            assert_eq!(image(text).unwrap(), Image::Name(uri.into()), "{text}");
        }
        assert_eq!(image("/etc/hostname").unwrap(), Image::Path("/etc/hostname".into()));
        assert_eq!(image("/nosuch.tar").unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn an_entry_without_a_value_takes_the_one_that_is_set_here() {
        assert_eq!(env("A=b=c").unwrap(), "A=b=c");
        assert_eq!(env("A=").unwrap(), "A=");
        assert!(env("PATH").unwrap().starts_with("PATH=/"));
        assert!(env("NOT_SET_ANYWHERE_AT_ALL").is_err());
        assert!(env("=x").is_err());
    }

    #[test]
    fn limits_have_known_names() {
        assert_eq!(rlimit("nofile=1024"), Ok(("nofile".into(), 1024)));
        assert_eq!(rlimit("core=unlimited"), Ok(("core".into(), u64::MAX)));
        assert!(rlimit("files=1").unwrap_err().contains("nofile"));
        assert!(rlimit("nofile=many").is_err());
    }

    #[test]
    fn a_file_of_entries_has_comments_and_says_where_it_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("env");
        std::fs::write(&path, "# of the app\nA=1\n\nB=two words\n").unwrap();
        assert_eq!(env_file(&path).unwrap(), ["A=1", "B=two words"]);
        std::fs::write(&path, "A=1\n=2\n").unwrap();
        assert!(env_file(&path).unwrap_err().to_string().contains("line 2"));
        let endless = env_file(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(endless.contains("is longer than"), "{endless}");
    }
}
