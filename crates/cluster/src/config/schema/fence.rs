//! The component `fence`: the daemon that makes containers on each node.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{Applies, ComponentSchema, Key, Kind};
use crate::config::key::KeyPath;
use crate::config::tree::Tree;

/// The component `fence`, typed. Each field is the key of the same path, explained in the schema.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FenceConfig {
    pub docker: DockerConfig,
    pub garden: GardenConfig,
    pub ports: PortsConfig,
    pub max_containers: u64,
    pub max_container_processes: u64,
    /// `None`: no limit.
    #[serde(deserialize_with = "unless_zero")]
    pub default_memory_mb: Option<u64>,
    pub default_cpu_shares: u64,
    /// `None`: containers are never destroyed for being unused.
    #[serde(deserialize_with = "seconds_unless_zero")]
    pub container_grace_time: Option<Duration>,
    pub output_buffer_kb: u64,
    pub logs: LogsConfig,
    #[serde(deserialize_with = "seconds")]
    pub stop_timeout: Duration,
    pub retire: RetireConfig,
    pub images: ImagesConfig,
}

/// `fence logs`: how much of containers' output is kept on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct LogsConfig {
    pub max_size_kb: u64,
    pub max_files: u64,
    pub rate_kb: u64,
    pub max_total_mb: u64,
}

/// `fence images`: which images are kept on a node although nobody uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct ImagesConfig {
    pub keep: u64,
    #[serde(deserialize_with = "seconds")]
    pub min_age: Duration,
    pub disk_percent: u64,
}

/// `fence retire`: whether a node is being taken out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct RetireConfig {
    pub wanted: bool,
    #[serde(deserialize_with = "seconds")]
    pub timeout: Duration,
}

/// `fence docker`: the container engine and the base image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DockerConfig {
    pub image: ImageList,
    pub privileged: bool,
    #[serde(deserialize_with = "seconds")]
    pub pull_timeout: Duration,
    #[serde(deserialize_with = "seconds")]
    pub timeout: Duration,
}

/// `fence garden`: the Garden API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct GardenConfig {
    /// Where to listen beside the Unix socket; loopback only. `None`: nowhere else.
    #[serde(deserialize_with = "address")]
    pub listen: Option<SocketAddr>,
}

/// `fence ports`: the node's ports that can lead into containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct PortsConfig {
    pub first: u16,
    pub count: u16,
}

/// One image name, or several in order of preference. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum ImageList {
    One(String),
    Ordered(Vec<String>),
}

impl ImageList {
    /// The names in order: the first is wanted, the others are fallbacks.
    pub fn names(&self) -> &[String] {
        match self {
            ImageList::One(name) => std::slice::from_ref(name),
            ImageList::Ordered(names) => names,
        }
    }
}

/// The longest time in seconds that containers of a node that is being retired can have.
pub const MAX_RETIRE_TIMEOUT: i64 = 604_800;

pub(super) static SCHEMA: ComponentSchema = ComponentSchema {
    name: "fence",
    help: "the daemon that makes containers on each node",
    check: check_ports,
    keys: &[
        Key {
            path: "docker/image",
            aliases: &["docker/images"],
            kind: Kind::Images,
            default: || json!(concat!("fence/base:", env!("CARGO_PKG_VERSION"))),
            help: "the image new containers are made of; of a list the first one, the others are fallbacks",
            applies: Applies::Live,
            secret: false,
        },
        Key {
            path: "docker/privileged",
            aliases: &[],
            kind: Kind::Boolean,
            default: || json!(false),
            help: "allow containers with all privileges of the host to those who ask for it",
            applies: Applies::Live,
            secret: false,
        },
        integer(
            "docker/pull_timeout",
            1,
            86_400,
            || json!(900),
            "seconds an image may take to be pulled",
            Applies::Live,
        ),
        integer(
            "docker/timeout",
            1,
            3600,
            || json!(60),
            "seconds any other call to Docker may take",
            Applies::Live,
        ),
        integer(
            "max_containers",
            1,
            100_000,
            || json!(256),
            "containers this node may have",
            Applies::Live,
        ),
        integer(
            "max_container_processes",
            8,
            4_000_000,
            || json!(256),
            "processes and threads a new container may have",
            Applies::Live,
        ),
        Key {
            path: "default_memory_mb",
            aliases: &[],
            // No container starts with less than 8 MiB.
            kind: Kind::ZeroOrInteger {
                min: 8,
                max: 16_777_216,
            },
            default: || json!(512),
            help: "memory in MiB of a new container that asks for none in particular; 0 is no limit",
            applies: Applies::Live,
            secret: false,
        },
        integer(
            "default_cpu_shares",
            2,
            262_144,
            || json!(1024),
            "CPU weight of a new container that asks for none in particular",
            Applies::Live,
        ),
        integer(
            "container_grace_time",
            0,
            31_536_000,
            || json!(0),
            "seconds after which an unused container that asks for no other time is destroyed; 0 is never",
            Applies::Live,
        ),
        Key {
            path: "garden/listen",
            aliases: &[],
            kind: Kind::Text {
                check: check_listen,
                accepts: "nothing, or a loopback address and port such as 127.0.0.1:7777",
            },
            default: || json!(""),
            help: "loopback address and port of the Garden API beside its Unix socket; empty is the socket alone",
            applies: Applies::Restart,
            secret: false,
        },
        integer(
            "ports/first",
            1024,
            65_535,
            || json!(61_001),
            "first port of the node that can lead into containers",
            Applies::Restart,
        ),
        integer(
            "ports/count",
            1,
            64_512,
            || json!(4500),
            "how many such ports there are",
            Applies::Restart,
        ),
        integer(
            "output_buffer_kb",
            1,
            65_536,
            || json!(10_240),
            "output in KiB that is kept of a new process while nobody reads it",
            Applies::Live,
        ),
        integer(
            "logs/max_size_kb",
            16,
            1_048_576,
            || json!(4096),
            "size in KiB at which a file of a container's log is followed by the next",
            Applies::Live,
        ),
        integer(
            "logs/max_files",
            1,
            100,
            || json!(4),
            "files that are kept of a container's log; the oldest go",
            Applies::Live,
        ),
        integer(
            "logs/rate_kb",
            1,
            1_048_576,
            || json!(1024),
            "KiB a second that an output may add to a log; what comes faster for long is dropped, and marked",
            Applies::Live,
        ),
        integer(
            "logs/max_total_mb",
            1,
            16_777_216,
            || json!(4096),
            "MiB that all logs of a node take; beyond that a container that writes keeps one file",
            Applies::Live,
        ),
        integer(
            "stop_timeout",
            0,
            600,
            || json!(10),
            "seconds a container's processes have to end by themselves before they are killed",
            Applies::Live,
        ),
        integer(
            "images/keep",
            0,
            1000,
            || json!(3),
            "how many unused images of each name a node keeps, the last used ones; others are removed",
            Applies::Live,
        ),
        integer(
            "images/min_age",
            0,
            31_536_000,
            || json!(86_400),
            "seconds an image has to be unused before it is removed",
            Applies::Live,
        ),
        integer(
            "images/disk_percent",
            1,
            100,
            || json!(85),
            "how full the disk of Docker's data may be in percent before unused images go, however many and young they are",
            Applies::Live,
        ),
        Key {
            path: "retire/wanted",
            aliases: &[],
            kind: Kind::Boolean,
            default: || json!(false),
            help: "take nothing new, and stop the containers after retire/timeout; kato node retire sets it for a node",
            applies: Applies::Live,
            secret: false,
        },
        integer(
            "retire/timeout",
            0,
            MAX_RETIRE_TIMEOUT,
            || json!(600),
            "seconds the containers of a node that is being retired have before they are stopped",
            Applies::Live,
        ),
    ],
};

const fn integer(
    path: &'static str,
    min: i64,
    max: i64,
    default: fn() -> Value,
    help: &'static str,
    applies: Applies,
) -> Key {
    Key {
        path,
        aliases: &[],
        kind: Kind::Integer { min, max },
        default,
        help,
        applies,
        secret: false,
    }
}

/// The range of ports must end within what a port can be.
fn check_ports(all: &Tree) -> Result<(), String> {
    let number = |path| {
        KeyPath::parse(path)
            .ok()
            .and_then(|path| all.leaf(&path).and_then(Value::as_u64))
    };
    match (number("fence/ports/first"), number("fence/ports/count")) {
        (Some(first), Some(count)) if first + count > 65_536 => Err(format!(
            "{count} ports (ports/count) from {first} (ports/first) go beyond port 65535"
        )),
        _ => Ok(()),
    }
}

/// The Garden API is root on the node, so it never listens beyond it.
fn check_listen(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let address: SocketAddr = text
        .parse()
        .map_err(|_| format!("{text:?} is not an address and a port"))?;
    if !address.ip().is_loopback() {
        return Err(format!("{} is not a loopback address", address.ip()));
    }
    if address.port() == 0 {
        return Err("port 0 is none".to_owned());
    }
    Ok(())
}

fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u64::deserialize(from).map(Duration::from_secs)
}

fn seconds_unless_zero<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    Ok(unless_zero(from)?.map(Duration::from_secs))
}

fn unless_zero<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    u64::deserialize(from).map(|number| (number > 0).then_some(number))
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garden_listens_on_loopback_only() {
        for text in ["", "127.0.0.1:7777", "[::1]:7777"] {
            assert_eq!(check_listen(text), Ok(()), "{text}");
        }
        for text in [
            "0.0.0.0:7777",
            "10.0.0.1:7777",
            "127.0.0.1",
            "localhost:x",
            "127.0.0.1:0",
            "[::]:1",
            ":7777",
        ] {
            assert!(check_listen(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn ports_end_at_the_last_port() {
        let tree = |first: u64, count: u64| {
            let value = json!({"fence": {"ports": {"first": first, "count": count}}});
            Tree::flatten(&KeyPath::root(), &value).unwrap()
        };
        assert_eq!(check_ports(&tree(65_000, 536)), Ok(()));
        assert!(check_ports(&tree(65_000, 537)).is_err());
    }

    #[test]
    fn an_image_and_a_list_of_images_read_alike() {
        let one: ImageList = serde_json::from_value(json!("a")).unwrap();
        let two: ImageList = serde_json::from_value(json!(["a", "b"])).unwrap();
        assert_eq!(one.names(), ["a"]);
        assert_eq!(two.names(), ["a", "b"]);
    }
}
