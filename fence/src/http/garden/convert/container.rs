//! Containers: what a client asks for, and what it is told.

use std::collections::BTreeMap;

use super::Result;
use crate::container::{
    BindMount, ContainerInfo, ContainerSpec, ImageSource, Limits, PortMapping, ProcessState, State, shown,
};
use crate::http::garden::containers::STATE;
use crate::http::garden::{Error, wire};

/// The container a client asks for.
pub fn container_spec(spec: wire::ContainerSpec) -> Result<ContainerSpec> {
    if !spec.network.is_empty() {
        return Err(Error::unsupported("choosing a container's network"));
    }
    let image = if spec.image.uri.is_empty() {
        wire::ImageRef {
            uri: spec.rootfs,
            ..spec.image
        }
    } else {
        spec.image
    };
    let handle = match spec.handle.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|error| Error::plain(format!("{error}")))?),
    };
    let grace = if spec.grace_time == 0 {
        None
    } else {
        Some(grace_time(spec.grace_time)?)
    };
    Ok(ContainerSpec {
        handle,
        image: image_source(image)?,
        env: spec.env,
        limits: limits(&spec.limits),
        grace_time_ns: grace,
        properties: spec.properties,
        mounts: spec.bind_mounts.into_iter().map(bind_mount).collect::<Result<_>>()?,
        ports: spec.netin.iter().map(port_mapping).collect::<Result<_>>()?,
        privileged: spec.privileged,
        start: false,
        command: Vec::new(),
    })
}

/// Nanoseconds without a client.
pub fn grace_time(nanoseconds: i64) -> Result<u64> {
    u64::try_from(nanoseconds).map_err(|_| Error::plain("the grace time is negative"))
}

/// `docker:///name#tag` and `docker://host/name#tag` are images by name, an absolute path one on this node, nothing the
/// configured one.
pub(super) fn image_source(image: wire::ImageRef) -> Result<ImageSource> {
    let uri = image.uri;
    let refuse = |why: &str| {
        let uri = shown(&uri);
        Err(Error::plain(format!("the image {uri:?} cannot be used: {why}")))
    };
    if uri.is_empty() {
        return Ok(ImageSource::Configured);
    }
    let Some((scheme, rest)) = uri.split_once("://") else {
        return match uri.starts_with('/') {
            true => Ok(ImageSource::Path(uri)),
            false => refuse("it is neither docker:///NAME#TAG nor an absolute path on this node"),
        };
    };
    if scheme != "docker" {
        return refuse("only docker:///NAME#TAG, docker://HOST/NAME#TAG and absolute paths on this node are known");
    }
    let (place, tag) = rest.split_once('#').unwrap_or((rest, ""));
    let name = place.strip_prefix('/').unwrap_or(place);
    if name.is_empty() || (!place.starts_with('/') && !place.contains('/')) {
        return refuse("it names no image");
    }
    let name = if tag.is_empty() {
        name.to_owned()
    } else {
        format!("{name}:{tag}")
    };
    Ok(ImageSource::Named {
        name,
        username: image.username,
        password: image.password,
    })
}

/// 0 is none everywhere; shares win over weight, which is the older word for them.
pub(super) fn limits(limits: &wire::Limits) -> Limits {
    let some = |value: u64| (value != 0).then_some(value);
    Limits {
        memory_bytes: some(limits.memory_limits.limit_in_bytes),
        cpu_shares: some(limits.cpu_limits.limit_in_shares).or(some(limits.cpu_limits.weight)),
        pids: some(limits.pid_limits.max),
    }
}

pub(super) fn bind_mount(mount: wire::BindMount) -> Result<BindMount> {
    let read_only = match mount.mode {
        0 => true,
        1 => false,
        other => return Err(Error::plain(format!("a bind mount's mode is 0 or 1, not {other}"))),
    };
    match mount.origin {
        0 => Ok(BindMount {
            source: mount.src_path,
            target: mount.dst_path,
            read_only,
        }),
        1 => Err(Error::unsupported("a bind mount from inside the container")),
        other => Err(Error::plain(format!("a bind mount's origin is 0 or 1, not {other}"))),
    }
}

/// A port that leads into the container.
pub fn port_mapping(net_in: &wire::NetIn) -> Result<PortMapping> {
    let port = |number: u32| u16::try_from(number).map_err(|_| Error::plain(format!("{number} is not a port")));
    Ok(PortMapping {
        host_port: port(net_in.host_port)?,
        container_port: port(net_in.container_port)?,
    })
}

/// A container as Garden describes one.
pub fn container_info(info: ContainerInfo) -> wire::ContainerInfo {
    let properties = properties(&info);
    let running = info
        .processes
        .into_iter()
        .filter(|process| process.state == ProcessState::Running);
    wire::ContainerInfo {
        state: match info.state {
            State::Creating | State::Active => "active",
            State::Stopped | State::Lost | State::Destroying => "stopped",
        },
        events: info.events,
        external_ip: info.host_ip.clone(),
        host_ip: info.host_ip,
        container_ip: info.ip,
        container_ipv6: String::new(),
        container_path: String::new(),
        process_ids: running.map(|process| process.id.into()).collect(),
        properties,
        mapped_ports: info.ports.iter().map(mapped_port).collect(),
    }
}

fn mapped_port(port: &PortMapping) -> wire::MappedPort {
    wire::MappedPort {
        host_port: port.host_port.into(),
        container_port: port.container_port.into(),
    }
}

/// The client's properties, and those that Garden's own server has on every container and clients read.
pub fn properties(info: &ContainerInfo) -> BTreeMap<String, String> {
    let mut properties = info.properties.clone();
    let own = [
        ("garden.network.container-ip", info.ip.as_str()),
        ("garden.network.host-ip", info.host_ip.as_str()),
        ("garden.network.external-ip", info.host_ip.as_str()),
        (STATE, "created"),
    ];
    for (key, value) in own {
        properties.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
    properties
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::json;

    fn create(body: &str) -> Result<ContainerSpec> {
        container_spec(json::decode(body.as_bytes()).unwrap())
    }

    fn image(uri: &str) -> Result<ImageSource> {
        image_source(wire::ImageRef {
            uri: uri.into(),
            ..wire::ImageRef::default()
        })
    }

    fn named(name: &str) -> ImageSource {
        ImageSource::Named {
            name: name.into(),
            username: String::new(),
            password: String::new(),
        }
    }

    #[test]
    fn the_smallest_request_asks_for_the_defaults() {
        let smallest = r#"{"image":{},"limits":{"bandwidth_limits":{},"cpu_limits":{},"disk_limits":{},
            "memory_limits":{},"pid_limits":{}}}"#;
        assert_eq!(create(smallest), Ok(ContainerSpec::default()));
    }

    #[test]
    fn a_full_request_is_understood() {
        let spec = create(
            r#"{"handle":"h","grace_time":5000000000,"image":{"uri":"docker:///a/b#1","username":"u","password":"p"},
            "bind_mounts":[{"src_path":"/s","dst_path":"/d","mode":1}],"properties":{"A.b":"C"},"env":["K=V"],
            "privileged":true,"limits":{"cpu_limits":{"weight":5,"limit_in_shares":10},"memory_limits":
            {"limit_in_bytes":67108864},"pid_limits":{"max":64}},"netin":[{"host_port":0,"container_port":8080}]}"#,
        )
        .unwrap();
        assert_eq!(spec.handle.unwrap().as_str(), "h");
        assert_eq!(spec.grace_time_ns, Some(5_000_000_000));
        let source = ImageSource::Named {
            name: "a/b:1".into(),
            username: "u".into(),
            password: "p".into(),
        };
        assert_eq!(spec.image, source);
        assert_eq!(
            spec.mounts,
            [BindMount {
                source: "/s".into(),
                target: "/d".into(),
                read_only: false
            }]
        );
        assert_eq!(spec.properties["A.b"], "C");
        assert_eq!(
            spec.limits,
            Limits {
                memory_bytes: Some(64 << 20),
                cpu_shares: Some(10),
                pids: Some(64)
            }
        );
        assert_eq!(
            spec.ports,
            [PortMapping {
                host_port: 0,
                container_port: 8080
            }]
        );
        assert!(spec.privileged);
    }

    #[test]
    fn images_are_names_or_paths() {
        assert_eq!(image("").unwrap(), ImageSource::Configured);
        assert_eq!(image("docker:///a/b#1.0").unwrap(), named("a/b:1.0"));
        assert_eq!(image("docker:///busybox").unwrap(), named("busybox"));
        assert_eq!(image("docker://reg:5000/a#t").unwrap(), named("reg:5000/a:t"));
        assert_eq!(
            image("/srv/rootfs.tar").unwrap(),
            ImageSource::Path("/srv/rootfs.tar".into())
        );
        for uri in [
            "relative/path",
            "oci:///x",
            "docker://",
            "docker:///",
            "docker://busybox",
            "docker:///#t",
        ] {
            assert!(image(uri).is_err(), "{uri}");
        }
        let deprecated = create(r#"{"rootfs":"docker:///a#1"}"#).unwrap();
        assert_eq!(deprecated.image, named("a:1"));
        let both = create(r#"{"rootfs":"/old","image":{"uri":"/new"}}"#).unwrap();
        assert_eq!(both.image, ImageSource::Path("/new".into()));
    }

    #[test]
    fn weight_counts_where_there_are_no_shares() {
        assert_eq!(
            create(r#"{"limits":{"cpu_limits":{"weight":512}}}"#)
                .unwrap()
                .limits
                .cpu_shares,
            Some(512)
        );
    }

    #[test]
    fn what_would_not_be_kept_is_refused() {
        for body in [
            r#"{"network":"10.0.0.0/30"}"#,
            r#"{"bind_mounts":[{"src_path":"/a","dst_path":"/b","origin":1}]}"#,
            r#"{"bind_mounts":[{"src_path":"/a","dst_path":"/b","mode":2}]}"#,
            r#"{"netin":[{"host_port":70000}]}"#,
            r#"{"grace_time":-1}"#,
            r#"{"handle":"a/b"}"#,
        ] {
            let error = create(body).unwrap_err();
            assert_eq!((error.status.as_u16(), error.body.kind), (500, ""), "{body}");
        }
    }

    #[test]
    fn what_has_no_effect_in_garden_either_is_accepted() {
        let body = r#"{"netout_rules":[{"protocol":1,"networks":[{"start":"1.2.3.4"}],"icmps":{"type":8}}],
            "limits":{"disk_limits":{"byte_hard":1},"bandwidth_limits":{"rate":1,"burst":2}}}"#;
        assert_eq!(create(body), Ok(ContainerSpec::default()));
    }
}
