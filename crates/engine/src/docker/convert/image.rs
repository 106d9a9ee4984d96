//! Docker's images and the steps of a pull, in our words.

use bollard::models;

use super::super::Call;
use super::{count, labels, senseless};
use crate::{Image, ImageId, Progress, Result};

pub(in crate::docker) fn image(call: &Call, found: models::ImageInspect) -> Result<Image> {
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

pub(in crate::docker) fn progress(step: models::CreateImageInfo) -> Progress {
    let detail = step.progress_detail.unwrap_or_default();
    Progress {
        layer: step.id.unwrap_or_default(),
        status: step.status.unwrap_or_default(),
        current: count(detail.current),
        total: count(detail.total),
    }
}

pub(in crate::docker) fn pushed(step: models::PushImageInfo) -> Progress {
    let detail = step.progress_detail.unwrap_or_default();
    Progress {
        layer: String::new(),
        status: step.status.unwrap_or_default(),
        current: count(detail.current),
        total: count(detail.total),
    }
}
