//! Docker's answers and errors into our words, once. Pure.

use std::collections::HashMap;
use std::error::Error as _;

use bollard::errors::Error as Cause;
use bollard::models;

use super::Call;
use super::transport::{ApiVersion, Fault};
use crate::{
    Container, ContainerId, ContainerState, Error, Event, EventKind, Host, Image, ImageId, ImageName, Labels, Progress,
    Result, Stats, Version,
};

/// What stands for "no memory limit" where Docker takes a number only: the most that a 64-bit kernel counts.
pub(super) const UNLIMITED_MEMORY: i64 = i64::MAX & !0xfff;

/// What a failed request means.
pub(super) fn error(call: &Call, endpoint: &str, cause: Cause) -> Error {
    let attempt = call.attempt.clone();
    match cause {
        Cause::DockerResponseServerError { status_code, message } => refusal(call, endpoint, status_code, message),
        Cause::DockerStreamError { error } => Error::Failed { attempt, reason: error },
        cause => match fault(&cause) {
            Some(Fault::TooOld(_)) => Error::Refused {
                attempt,
                reason: root_message(&cause),
            },
            Some(Fault::TooLarge | Fault::NoVersion) => Error::Failed {
                attempt,
                reason: root_message(&cause),
            },
            None if is_connection(&cause) => Error::Unavailable {
                attempt,
                endpoint: endpoint.to_owned(),
                reason: root_message(&cause),
            },
            None => Error::Failed {
                attempt,
                reason: root_message(&cause),
            },
        },
    }
}

fn refusal(call: &Call, endpoint: &str, status: u16, message: String) -> Error {
    let attempt = call.attempt.clone();
    let unavailable = |reason| Error::Unavailable {
        attempt: call.attempt.clone(),
        endpoint: endpoint.to_owned(),
        reason,
    };
    match status {
        // Docker also answers 404 for what a container needs, such as a network; that is not "no such container".
        404 if is_missing(&message) => Error::NotFound {
            what: call.what.clone(),
        },
        409 => Error::Conflict {
            attempt,
            reason: message,
        },
        503 => unavailable(message),
        500 if is_containerd_away(&message) => unavailable(message),
        400..=499 | 501 => Error::Refused {
            attempt,
            reason: message,
        },
        _ => Error::Failed {
            attempt,
            reason: message,
        },
    }
}

fn is_missing(message: &str) -> bool {
    let message = message.to_lowercase();
    message.contains("no such container") || message.contains("no such image")
}

/// dockerd answers, but what it runs containers with does not.
fn is_containerd_away(message: &str) -> bool {
    message.contains("containerd.sock") || message.contains("code = Unavailable")
}

/// What a failed pull means. Docker passes on what the registry said as text alone, often with status 500 or in the
/// middle of the progress.
pub(super) fn pull_error(call: &Call, endpoint: &str, image: &ImageName, cause: Cause) -> Error {
    let message = match &cause {
        Cause::DockerResponseServerError { message, .. } => message,
        Cause::DockerStreamError { error } => error,
        _ => return error(call, endpoint, cause),
    };
    let (attempt, reason) = (call.attempt.clone(), message.clone());
    // The image's own name stands in most messages, and must not be read as one of the words.
    let path = image
        .registry()
        .and_then(|registry| image.repository().strip_prefix(registry));
    let message = message.replace(path.unwrap_or(image.repository()), "").to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&NO_ACCESS) {
        Error::Refused { attempt, reason }
    } else if says(&REGISTRY_AWAY) {
        Error::RegistryUnavailable { attempt, reason }
    } else if says(&NOT_IN_REGISTRY) {
        Error::NotFound {
            what: format!("{} in its registry", call.what),
        }
    } else if says(&UNSUITABLE) {
        Error::Refused { attempt, reason }
    } else {
        error(call, endpoint, cause)
    }
}

const NO_ACCESS: [&str; 4] = [
    "unauthorized",
    "no basic auth credentials",
    "access denied",
    "authentication required",
];
const NOT_IN_REGISTRY: [&str; 4] = ["manifest unknown", "name unknown", "not found", "does not exist"];
const UNSUITABLE: [&str; 2] = ["no matching manifest", "http response to https client"];
const REGISTRY_AWAY: [&str; 14] = [
    "connection refused",
    "connection reset",
    "no such host",
    "server misbehaving",
    "name resolution",
    "i/o timeout",
    "handshake timeout",
    "client.timeout",
    "unreachable",
    "no route to host",
    "unexpected http status: 5",
    "service unavailable",
    "toomanyrequests",
    ": eof",
];

/// What the transport found wrong, wherever in the chain of causes.
fn fault(cause: &Cause) -> Option<&Fault> {
    if let Cause::IOError { err } = cause {
        return err.get_ref()?.downcast_ref();
    }
    let mut source = cause.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.get_ref()?.downcast_ref();
        }
        source = error.source();
    }
    None
}

fn is_connection(cause: &Cause) -> bool {
    match cause {
        Cause::IOError { .. } | Cause::SocketNotFoundError(_) => true,
        Cause::HyperResponseError { err } => !err.is_user(),
        _ => false,
    }
}

/// The innermost message: the outer ones only say that a request failed.
fn root_message(cause: &Cause) -> String {
    let mut message = cause.to_string();
    let mut source = cause.source();
    while let Some(error) = source {
        message = error.to_string();
        source = error.source();
    }
    message
}

fn senseless(call: &Call, missing: &str) -> Error {
    Error::Failed {
        attempt: call.attempt.clone(),
        reason: format!("the answer has no {missing}"),
    }
}

pub(super) fn version(call: &Call, found: models::SystemVersion) -> Result<Version> {
    let newest = found.api_version.ok_or_else(|| senseless(call, "API version"))?;
    let api = ApiVersion::agree(&newest).map_err(|_| senseless(call, "usable API version"))?;
    Ok(Version {
        name: "Docker".to_owned(),
        version: found.version.unwrap_or_default(),
        api: api.to_string(),
        os: found.os.unwrap_or_default(),
        architecture: found.arch.unwrap_or_default(),
    })
}

pub(super) fn host(found: models::SystemInfo) -> Host {
    let cgroup_version = match found.cgroup_version {
        Some(models::SystemInfoCgroupVersionEnum::_2) => 2,
        _ => 1,
    };
    let seccomp = found
        .security_options
        .iter()
        .flatten()
        .any(|option| option.starts_with("name=seccomp"));
    Host {
        memory_bytes: count(found.mem_total),
        cpus: u32::try_from(found.ncpu.unwrap_or(0)).unwrap_or(0),
        data_dir: found.docker_root_dir.unwrap_or_default(),
        storage_driver: found.driver.unwrap_or_default(),
        cgroup_version,
        live_restore: found.live_restore_enabled.unwrap_or(false),
        seccomp,
    }
}

/// A count that can only be negative by mistake.
fn count(number: Option<i64>) -> u64 {
    u64::try_from(number.unwrap_or(0)).unwrap_or(0)
}

fn labels(found: Option<HashMap<String, String>>) -> Labels {
    found.unwrap_or_default().into_iter().collect()
}

/// The memory limit that a container was given, 0 = none.
pub(super) fn memory_limit(found: &models::ContainerInspectResponse) -> u64 {
    match found.host_config.as_ref().and_then(|config| config.memory) {
        Some(UNLIMITED_MEMORY..) | None => 0,
        limit => count(limit),
    }
}

pub(super) fn container(call: &Call, found: models::ContainerInspectResponse) -> Result<Container> {
    let state = found.state.ok_or_else(|| senseless(call, "state"))?;
    let created: jiff::Timestamp = found
        .created
        .and_then(|created| created.parse().ok())
        .ok_or_else(|| senseless(call, "date of creation"))?;
    let now = container_state(state.status.as_ref().map(AsRef::as_ref).unwrap_or_default());
    // Ours are on one network at most; the address is empty while the container does not run.
    let network = found
        .network_settings
        .and_then(|settings| settings.networks?.into_values().next())
        .unwrap_or_default();
    Ok(Container {
        id: ContainerId(found.id.ok_or_else(|| senseless(call, "container id"))?),
        name: plain_name(&found.name.unwrap_or_default()),
        labels: labels(found.config.and_then(|config| config.labels)),
        image: ImageId(found.image.unwrap_or_default()),
        state: now,
        pid: state.pid.and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0),
        created: created.as_second(),
        ip: network.ip_address.unwrap_or_default(),
        gateway: network.gateway.unwrap_or_default(),
        oom_killed: state.oom_killed.unwrap_or(false),
        exit_code: state.exit_code.filter(|_| now == ContainerState::Exited),
    })
}

pub(super) fn summary(call: &Call, found: models::ContainerSummary) -> Result<Container> {
    // Further names are links from other containers and have a second slash.
    let names = found.names.unwrap_or_default();
    let name = names.iter().find(|name| name.matches('/').count() <= 1);
    Ok(Container {
        id: ContainerId(found.id.ok_or_else(|| senseless(call, "container id"))?),
        name: name.map(|name| plain_name(name)).unwrap_or_default(),
        labels: labels(found.labels),
        image: ImageId(found.image_id.unwrap_or_default()),
        state: container_state(found.state.as_ref().map(AsRef::as_ref).unwrap_or_default()),
        pid: 0,
        created: found.created.unwrap_or(0),
        ip: String::new(),
        gateway: String::new(),
        oom_killed: false,
        exit_code: None,
    })
}

fn plain_name(name: &str) -> String {
    name.trim_start_matches('/').to_owned()
}

fn container_state(word: &str) -> ContainerState {
    match word {
        "created" => ContainerState::Created,
        "running" | "restarting" | "stopping" => ContainerState::Running,
        "paused" => ContainerState::Paused,
        "exited" => ContainerState::Exited,
        _ => ContainerState::Removing,
    }
}

pub(super) fn stats(found: models::ContainerStatsResponse, memory_limit: u64) -> Stats {
    let memory = found.memory_stats.unwrap_or_default();
    let parts = memory.stats.unwrap_or_default();
    let cpu = found.cpu_stats.and_then(|cpu| cpu.cpu_usage).unwrap_or_default();
    let networks = found.networks.unwrap_or_default();
    Stats {
        memory_bytes: memory.usage.unwrap_or(0),
        memory_limit_bytes: memory_limit,
        // The first is cgroup v1's name, the second v2's.
        memory_cache_bytes: parts
            .get("total_inactive_file")
            .or(parts.get("inactive_file"))
            .copied()
            .unwrap_or(0),
        cpu_usage_ns: cpu.total_usage.unwrap_or(0),
        cpu_user_ns: cpu.usage_in_usermode.unwrap_or(0),
        cpu_system_ns: cpu.usage_in_kernelmode.unwrap_or(0),
        pids: found.pids_stats.and_then(|pids| pids.current).unwrap_or(0),
        rx_bytes: networks.values().filter_map(|network| network.rx_bytes).sum(),
        tx_bytes: networks.values().filter_map(|network| network.tx_bytes).sum(),
    }
}

pub(super) fn image(call: &Call, found: models::ImageInspect) -> Result<Image> {
    let config = found.config.unwrap_or_default();
    let mut command = config.entrypoint.unwrap_or_default();
    command.extend(config.cmd.unwrap_or_default());
    let mut ports: Vec<u16> = config
        .exposed_ports
        .iter()
        .flatten()
        .filter_map(|port| tcp_port(port))
        .collect();
    ports.sort_unstable();
    Ok(Image {
        id: ImageId(found.id.ok_or_else(|| senseless(call, "image id"))?),
        tags: found
            .repo_tags
            .unwrap_or_default()
            .into_iter()
            .filter(|tag| !tag.contains("<none>"))
            .collect(),
        digests: found
            .repo_digests
            .unwrap_or_default()
            .into_iter()
            .filter(|digest| !digest.contains("<none>"))
            .collect(),
        size_bytes: count(found.size),
        created: found.created.unwrap_or_default(),
        os: found.os.unwrap_or_default(),
        architecture: found.architecture.unwrap_or_default(),
        command,
        env: config.env.unwrap_or_default(),
        user: config.user.unwrap_or_default(),
        working_dir: config.working_dir.unwrap_or_default(),
        exposed_ports: ports,
        volumes: config.volumes.unwrap_or_default(),
        labels: labels(config.labels),
    })
}

/// `8080/tcp` or `8080`; other protocols are left out.
fn tcp_port(exposed: &str) -> Option<u16> {
    exposed.strip_suffix("/tcp").unwrap_or(exposed).parse().ok()
}

pub(super) fn progress(step: models::CreateImageInfo) -> Progress {
    let detail = step.progress_detail.unwrap_or_default();
    Progress {
        layer: step.id.unwrap_or_default(),
        status: step.status.unwrap_or_default(),
        current: count(detail.current),
        total: count(detail.total),
    }
}

/// The event, if it is one of ours: of an image, or of a container that carries these labels.
pub(super) fn event(message: models::EventMessage, wanted: &Labels) -> Option<Event> {
    let actor = message.actor?;
    let attributes = actor.attributes.unwrap_or_default();
    let subject = actor.id?;
    let kind = match message.typ? {
        models::EventMessageTypeEnum::IMAGE => EventKind::ImageChanged(subject),
        models::EventMessageTypeEnum::CONTAINER => {
            if !wanted.iter().all(|(key, value)| attributes.get(key) == Some(value)) {
                return None;
            }
            let id = ContainerId(subject);
            match message.action.as_deref()? {
                "create" => EventKind::Created(id),
                "start" => EventKind::Started(id),
                "die" => EventKind::Died {
                    id,
                    exit_code: attributes.get("exitCode")?.parse().ok()?,
                },
                "oom" => EventKind::OutOfMemory(id),
                "destroy" => EventKind::Removed(id),
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(Event {
        kind,
        time_ns: message.time_nano.unwrap_or(0),
    })
}
