//! Docker's answers and errors into our words, once. Pure.

mod container;
mod failure;
mod image;

use std::collections::HashMap;

use bollard::models;

use super::Call;
use super::transport::ApiVersion;
use crate::{ContainerId, Error, Event, EventKind, Host, Labels, Result, Version};

pub(super) use container::{UNLIMITED_MEMORY, container, memory_limit, spec, stats, summary};
pub(super) use failure::{error, pull_error};
pub(super) use image::{image, progress, pushed};

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
    // systemd takes slices alone for parents, and the second version no processes beside children.
    let driver = found.cgroup_driver.as_ref().map(AsRef::as_ref);
    let nests_cgroups = cgroup_version == 1 && driver == Some("cgroupfs");
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
        nests_cgroups,
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
