//! What a container shall be, as a client asks for it, and the checks that need nothing but the request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::process::check_args;
use super::{Handle, Limits};

/// Free text a client keeps with a container.
pub type Properties = BTreeMap<String, String>;

/// The most of each list in one request.
pub const MAX_ENV: usize = 2_000;
pub const MAX_MOUNTS: usize = 100;
pub const MAX_PORTS: usize = 100;
pub const MAX_PROPERTIES: usize = 500;
/// The longest single string in a request (an environment entry, a property), in bytes.
pub const MAX_TEXT: usize = 128 * 1024;
/// The most bytes of environment entries together: what a process gets has to fit a message to its container's init.
pub const MAX_ENV_BYTES: usize = 512 * 1024;
/// The longest key of a property, and the most bytes of keys and values together, in bytes.
pub const MAX_KEY: usize = 1024;
pub const MAX_PROPERTY_BYTES: usize = 1024 * 1024;
/// The longest path, as the kernel has it, in bytes.
pub const MAX_PATH: usize = 4096;
/// The longest name of an image with registry, tag and digest, in bytes.
pub const MAX_IMAGE: usize = 512;
/// The longest account name and password for an image's registry, in bytes; some registries give tokens of several KiB.
pub const MAX_ACCOUNT: usize = 512;
pub const MAX_PASSWORD: usize = 16 * 1024;

/// A container to make.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// `None` = fence makes one up.
    pub handle: Option<Handle>,
    pub image: ImageSource,
    pub env: Vec<String>,
    pub limits: Limits,
    /// Nanoseconds without a client until it is destroyed; `None` = the node's default, 0 = never.
    pub grace_time_ns: Option<u64>,
    pub properties: Properties,
    pub mounts: Vec<BindMount>,
    pub ports: Vec<PortMapping>,
    pub privileged: bool,
    /// Start the image's command (or `command`) as the process `main`.
    pub start: bool,
    /// Instead of the image's command; empty = the image's.
    pub command: Vec<String>,
}

/// Where the container's root file system comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageSource {
    /// The image configured for the cluster.
    #[default]
    Configured,
    /// An image by name: the node's Docker, else its registry.
    Named {
        name: String,
        username: String,
        #[serde(skip)]
        password: String,
    },
    /// A tar file or a directory on this node.
    Path(String),
}

/// A directory or file of this node inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindMount {
    pub source: String,
    pub target: String,
    pub read_only: bool,
}

/// A port of the node that leads to one of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// In a request: 0 = fence chooses.
    pub host_port: u16,
    /// In a request: 0 = as the host port.
    pub container_port: u16,
}

/// A request that can never be met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the container cannot be made as asked: {0}")]
pub struct SpecError(pub String);

impl ContainerSpec {
    /// Check everything that can be checked without looking at the node.
    pub fn check(&self) -> Result<(), SpecError> {
        self.check_sizes()?;
        self.image.check().map_err(SpecError)?;
        check_args(&self.command).map_err(SpecError)?;
        check_env(&self.env).map_err(SpecError)?;
        if let Some(problem) = self.limits.problem() {
            return Err(SpecError(problem));
        }
        check_mounts(&self.mounts).map_err(SpecError)?;
        let mut ports: Vec<u16> = self.ports.iter().map(|p| p.host_port).filter(|p| *p != 0).collect();
        ports.sort_unstable();
        if let Some(twice) = ports.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(SpecError(format!("host port {} is asked for twice", twice[0])));
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), SpecError> {
        let too_many = |what: &str, most: usize| Err(SpecError(format!("it has more than {most} {what}")));
        if self.env.len() > MAX_ENV {
            return too_many("environment entries", MAX_ENV);
        }
        if self.ports.len() > MAX_PORTS {
            return too_many("ports", MAX_PORTS);
        }
        check_properties(&self.properties).map_err(SpecError)
    }
}

/// Whether all of these can be mounted in one container.
pub(super) fn check_mounts(mounts: &[BindMount]) -> Result<(), String> {
    if mounts.len() > MAX_MOUNTS {
        return Err(format!("it has more than {MAX_MOUNTS} mounts"));
    }
    for mount in mounts {
        mount.check()?;
    }
    let mut targets: Vec<String> = mounts.iter().map(|mount| normal(&mount.target)).collect();
    targets.sort_unstable();
    match targets.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => Err(format!("two mounts have the target {}", twice[0])),
        None => Ok(()),
    }
}

impl ImageSource {
    pub(super) fn check(&self) -> Result<(), String> {
        let (what, text, most) = match self {
            ImageSource::Configured => return Ok(()),
            ImageSource::Named { name, .. } => ("name", name, MAX_IMAGE),
            ImageSource::Path(path) => ("path", path, MAX_PATH),
        };
        if text.len() > most || text.contains('\0') {
            let shown = shown(text);
            return Err(format!(
                "the image's {what} {shown:?} has a zero byte or more than {most} bytes"
            ));
        }
        match self {
            ImageSource::Named { username, password, .. }
                if username.len() > MAX_ACCOUNT || password.len() > MAX_PASSWORD =>
            {
                Err(format!(
                    "the account for the image has a name of more than {MAX_ACCOUNT} bytes or a password of more than {MAX_PASSWORD}"
                ))
            }
            _ => Ok(()),
        }
    }
}

impl BindMount {
    fn check(&self) -> Result<(), String> {
        for (what, path) in [("source", &self.source), ("target", &self.target)] {
            if !path.starts_with('/') || path.len() > MAX_PATH || path.contains('\0') {
                let shown = shown(path);
                return Err(format!("the mount's {what} {shown:?} is not an absolute path"));
            }
            if path.split('/').any(|part| part == "..") {
                return Err(format!("the mount's {what} {path:?} has a '..' in it"));
            }
        }
        let target = normal(&self.target);
        if target == "/" || target == "/.fence" || target.starts_with("/.fence/") {
            return Err(format!(
                "{} is not a place a mount can have in a container",
                self.target
            ));
        }
        Ok(())
    }
}

/// An absolute path without `..`, written as the kernel understands it: one way to name one place.
fn normal(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    format!("/{}", parts.join("/"))
}

/// The beginning of a client's text, for a message.
pub fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Whether every entry is `K=V` of a size that a process can be given.
pub fn check_env(env: &[String]) -> Result<(), String> {
    let bytes: usize = env.iter().map(String::len).sum();
    if env.len() > MAX_ENV || bytes > MAX_ENV_BYTES {
        return Err(format!(
            "it has more than {MAX_ENV} environment entries or {MAX_ENV_BYTES} bytes of them"
        ));
    }
    for entry in env {
        let shown: String = entry.chars().take(32).take_while(|c| *c != '=').collect();
        if entry.len() > MAX_TEXT {
            return Err(format!("the environment entry {shown} is longer than {MAX_TEXT} bytes"));
        }
        if entry.contains('\0') || !matches!(entry.find('='), Some(at) if at > 0) {
            return Err(format!("the environment entry {shown:?} is not of the form NAME=VALUE"));
        }
    }
    Ok(())
}

/// Whether the properties are of a size that fence keeps.
pub fn check_properties(properties: &Properties) -> Result<(), String> {
    if properties.len() > MAX_PROPERTIES {
        return Err(format!("it has more than {MAX_PROPERTIES} properties"));
    }
    for (key, value) in properties {
        if key.is_empty() || key.len() > MAX_KEY || value.len() > MAX_TEXT {
            let shown: String = key.chars().take(32).collect();
            return Err(format!("the property {shown:?} is empty or too long"));
        }
    }
    let bytes: usize = properties.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MAX_PROPERTY_BYTES {
        return Err(format!(
            "its properties have more than {MAX_PROPERTY_BYTES} bytes together"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut ContainerSpec)) -> Result<(), SpecError> {
        let mut spec = ContainerSpec::default();
        change(&mut spec);
        spec.check()
    }

    #[test]
    fn the_empty_request_is_fine() {
        assert_eq!(with(|_| ()), Ok(()));
    }

    #[test]
    fn refuses_what_can_never_be() {
        let mount = |source: &str, target: &str| BindMount {
            source: source.into(),
            target: target.into(),
            read_only: true,
        };
        assert!(with(|s| s.env = vec!["novalue".into()]).is_err());
        assert!(with(|s| s.env = vec!["A=1".into(); MAX_ENV + 1]).is_err());
        assert!(with(|s| s.mounts = vec![mount("relative", "/x")]).is_err());
        assert!(with(|s| s.mounts = vec![mount("/a", "/.fence/run")]).is_err());
        assert!(with(|s| s.mounts = vec![mount("/a", "/x/../y")]).is_err());
        assert!(with(|s| s.mounts = vec![mount("/a", "/x"), mount("/b", "/x/")]).is_err());
        for place in [
            "/",
            "//",
            "/.",
            "/.fence",
            "//.fence",
            "/./.fence/bin",
            "/.fence//.",
            "/.fence/./run/",
        ] {
            assert!(with(|s| s.mounts = vec![mount("/a", place)]).is_err(), "{place}");
        }
        for again in ["//x", "/./x", "/x/.", "/x//"] {
            let twice = vec![mount("/a", "/x"), mount("/b", again)];
            assert!(with(|s| s.mounts = twice).is_err(), "{again}");
        }
        assert_eq!(
            with(|s| s.mounts = vec![mount("/a", "/x"), mount("/a", "/x/.fence")]),
            Ok(())
        );
        assert!(
            with(|s| s.ports = vec![
                PortMapping {
                    host_port: 61001,
                    container_port: 1
                };
                2
            ])
            .is_err()
        );
        assert!(with(|s| s.limits.pids = Some(1)).is_err());
        assert!(with(|s| drop(s.properties.insert(String::new(), "x".into()))).is_err());
    }

    #[test]
    fn what_is_too_long_or_too_much_is_refused_and_not_repeated() {
        let named = |name: String, username: usize, password: usize| ImageSource::Named {
            name,
            username: "u".repeat(username),
            password: "p".repeat(password),
        };
        let huge = "x".repeat(1 << 20);
        let most = "y".repeat(MAX_TEXT);
        let many: Vec<String> = (0..=MAX_ENV_BYTES / MAX_TEXT)
            .map(|n| format!("{n}={}", &most[4..]))
            .collect();
        let properties: Properties = (0..=MAX_PROPERTY_BYTES / MAX_TEXT)
            .map(|n| (n.to_string(), most.clone()))
            .collect();
        let refused = [
            with(|s| s.image = named(huge.clone(), 0, 0)),
            with(|s| s.image = named("a\0".into(), 0, 0)),
            with(|s| s.image = named("a".into(), MAX_ACCOUNT + 1, 0)),
            with(|s| s.image = named("a".into(), 0, MAX_PASSWORD + 1)),
            with(|s| s.image = ImageSource::Path(format!("/{huge}"))),
            with(|s| s.command = vec![huge.clone()]),
            with(|s| s.command = vec!["a\0b".into()]),
            with(|s| s.env = many),
            with(|s| s.properties = properties),
            with(|s| {
                s.mounts = vec![BindMount {
                    source: huge.clone(),
                    target: "/x".into(),
                    read_only: true,
                }]
            }),
        ];
        for refused in refused {
            let message = refused.unwrap_err().to_string();
            assert!(message.len() < 300, "{message}");
        }
        assert_eq!(with(|s| s.image = named("a".into(), MAX_ACCOUNT, MAX_PASSWORD)), Ok(()));
    }

    #[test]
    fn a_password_is_never_written_down() {
        let source = ImageSource::Named {
            name: "a/b:1".into(),
            username: "u".into(),
            password: "secret".into(),
        };
        assert!(!serde_json::to_string(&source).unwrap().contains("secret"));
    }
}
