//! The values that the options of the family take, from text: sizes, ports, mounts, images, times, environment.
//!
//! Pure but for the paths, variables and files of this machine that a value may name. Fence checks everything again.

use std::path::{Component, Path, PathBuf};

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
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "not a size that a machine can have".into())
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

/// A mount: `SRC:DST`, `SRC:DST:ro` or `SRC:DST:rw`; only read where nothing is said.
pub fn mount(text: &str) -> Parsed<BindMount> {
    let (pair, mode) = match text.rsplit_once(':') {
        Some((pair, "ro")) => (pair, 0),
        Some((pair, "rw")) => (pair, 1),
        _ => (text, 0),
    };
    match pair.split_once(':') {
        Some((source, target)) if !source.is_empty() && target.starts_with('/') => Ok(BindMount {
            src_path: absolute(source)?,
            dst_path: target.into(),
            mode,
        }),
        _ => Err("a mount is SRC:DST, SRC:DST:ro or SRC:DST:rw, with DST an absolute path".into()),
    }
}

/// Where the file system comes from, in Garden's form: a name becomes `docker:///name#tag`, a path is made absolute.
pub fn image(text: &str) -> Parsed<String> {
    if text.is_empty() {
        return Err("an image has a name".into());
    }
    if text.contains("://") {
        return Ok(text.to_owned());
    }
    if text.starts_with('/') || text.starts_with("./") || text.starts_with("../") {
        return absolute(text);
    }
    // A colon after the last slash begins the tag; one before it belongs to a registry's port.
    let after_slash = text.rfind('/').map_or(0, |at| at + 1);
    match text[after_slash..].find(':') {
        Some(at) if !text.contains('@') => {
            let (name, tag) = text.split_at(after_slash + at);
            Ok(format!("docker:///{name}#{}", &tag[1..]))
        }
        _ => Ok(format!("docker:///{text}")),
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
    let failed = |error| Error::failed(format!("could not read {shown}")).because(error);
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_ENV_FILE {
        return Err(Error::refused(format!("{shown} is longer than {MAX_ENV_FILE} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(at, line)| env(line).map_err(|problem| Error::refused(format!("{shown} line {}: {problem}", at + 1))))
        .collect()
}

/// A path of this machine without `.` and `..`, which fence does not take.
fn absolute(text: &str) -> Parsed<String> {
    let path = Path::new(text);
    let plain = !path
        .components()
        .any(|part| matches!(part, Component::CurDir | Component::ParentDir));
    let path: PathBuf = if path.is_absolute() && plain {
        path.to_path_buf()
    } else {
        path.canonicalize().map_err(|error| format!("{text}: {error}"))?
    };
    path.into_os_string()
        .into_string()
        .map_err(|_| format!("{text} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(mounted("/usr/./../usr:/b").unwrap().0, "/usr");
        for text in ["/a", "/a:b", ":/b", "./no/such/place:/b"] {
            assert!(mount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_image_by_name_becomes_gardens_form() {
        assert_eq!(
            image("exampleco/newimg:1.0.0").unwrap(),
            "docker:///exampleco/newimg#1.0.0"
        );
        assert_eq!(image("busybox").unwrap(), "docker:///busybox");
        assert_eq!(image("localhost:5000/a/b").unwrap(), "docker:///localhost:5000/a/b");
        assert_eq!(image("localhost:5000/a/b:2").unwrap(), "docker:///localhost:5000/a/b#2");
        assert_eq!(image("a/b@sha256:00").unwrap(), "docker:///a/b@sha256:00");
        assert_eq!(image("docker:///a#1").unwrap(), "docker:///a#1");
        assert_eq!(image("/srv/rootfs.tar").unwrap(), "/srv/rootfs.tar");
        assert!(image("").is_err());
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
    }
}
