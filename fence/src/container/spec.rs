//! What a container shall be, as a client asks for it, and the checks that need nothing but the request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
        check_env(&self.env).map_err(SpecError)?;
        if let Some(problem) = self.limits.problem() {
            return Err(SpecError(problem));
        }
        for mount in &self.mounts {
            mount.check().map_err(SpecError)?;
        }
        let mut targets: Vec<String> = self.mounts.iter().map(|mount| normal(&mount.target)).collect();
        targets.sort_unstable();
        if let Some(twice) = targets.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(SpecError(format!("two mounts have the target {}", twice[0])));
        }
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
        if self.mounts.len() > MAX_MOUNTS {
            return too_many("mounts", MAX_MOUNTS);
        }
        if self.ports.len() > MAX_PORTS {
            return too_many("ports", MAX_PORTS);
        }
        check_properties(&self.properties).map_err(SpecError)
    }
}

impl BindMount {
    fn check(&self) -> Result<(), String> {
        for (what, path) in [("source", &self.source), ("target", &self.target)] {
            if !path.starts_with('/') || path.len() > 4096 || path.contains('\0') {
                return Err(format!("the mount's {what} {path:?} is not an absolute path"));
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

/// Whether every entry is `K=V` of a size that a process can be given.
pub fn check_env(env: &[String]) -> Result<(), String> {
    if env.len() > MAX_ENV {
        return Err(format!("it has more than {MAX_ENV} environment entries"));
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
        if key.is_empty() || key.len() > 1024 || value.len() > MAX_TEXT {
            let shown: String = key.chars().take(32).collect();
            return Err(format!("the property {shown:?} is empty or too long"));
        }
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
    fn a_password_is_never_written_down() {
        let source = ImageSource::Named {
            name: "a/b:1".into(),
            username: "u".into(),
            password: "secret".into(),
        };
        assert!(!serde_json::to_string(&source).unwrap().contains("secret"));
    }
}
