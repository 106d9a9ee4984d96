//! Containers of Docker: created with everything dropped that is not asked for, and the calls on them repeatable.

use std::collections::HashMap;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerUpdateBody, HealthConfig, HostConfig, HostConfigLogConfig,
    Mount as BindMount, MountType, PortBinding, PortMap, RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, KillContainerOptions, ListContainersOptions,
    RemoveContainerOptions, StatsOptions,
};
use futures_util::StreamExt;

use super::{Call, Docker, convert};
use crate::{
    Container, ContainerId, ContainerSpec, ContainerState, Error, IpcMode, Labels, Limits, Mount, NetworkMode, Port,
    ProcessMode, Result, Stats,
};

/// The user of the first process where the spec names none: root, whatever the image says.
const ROOT: &str = "0:0";
/// Between looks at a container that somebody else is removing.
const REMOVAL_POLL: Duration = Duration::from_millis(20);
const REMOVAL_POLL_MAX: Duration = Duration::from_millis(500);
const NORMAL_CPU_SHARES: u64 = 1024;

impl Docker {
    pub(super) async fn create_container(&self, name: &str, spec: &ContainerSpec) -> Result<ContainerId> {
        // The only thing that can be missing at this point is the image.
        let call = Call {
            attempt: format!("create container {name}"),
            what: format!("image {}", spec.image),
        };
        let options = CreateContainerOptions {
            name: Some(name.to_owned()),
            ..Default::default()
        };
        let created = self
            .call(&call, self.client.create_container(Some(options), create_body(spec)))
            .await?;
        Ok(ContainerId(created.id))
    }

    pub(super) async fn start_container(&self, id: &ContainerId) -> Result<()> {
        let call = on("start", id);
        let key = key(&call, id)?;
        self.call(&call, self.client.start_container(key, None)).await
    }

    pub(super) async fn kill_container(&self, id: &ContainerId, signal: i32) -> Result<()> {
        let call = on("signal", id);
        let key = key(&call, id)?;
        let options = KillContainerOptions {
            signal: signal.to_string(),
        };
        match self.call(&call, self.client.kill_container(key, Some(options))).await {
            // Docker says in several ways that there is nothing to signal; the state says it in one.
            Err(error @ (Error::Conflict { .. } | Error::Failed { .. })) => {
                match self.inspect_container(id).await?.state {
                    ContainerState::Running | ContainerState::Paused => Err(error),
                    _ => Ok(()),
                }
            }
            done => done,
        }
    }

    pub(super) async fn pause_container(&self, id: &ContainerId) -> Result<()> {
        let call = on("pause", id);
        let key = key(&call, id)?;
        let done = self.call(&call, self.client.pause_container(key)).await;
        self.done_if(done, id, ContainerState::Paused).await
    }

    pub(super) async fn resume_container(&self, id: &ContainerId) -> Result<()> {
        let call = on("resume", id);
        let key = key(&call, id)?;
        let done = self.call(&call, self.client.unpause_container(key)).await;
        self.done_if(done, id, ContainerState::Running).await
    }

    /// Docker has no one word for what is done already; the state has.
    async fn done_if(&self, done: Result<()>, id: &ContainerId, wanted: ContainerState) -> Result<()> {
        match done {
            Err(error @ (Error::Conflict { .. } | Error::Failed { .. })) => {
                match self.inspect_container(id).await?.state == wanted {
                    true => Ok(()),
                    false => Err(error),
                }
            }
            done => done,
        }
    }

    pub(super) async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        let call = on("remove", id);
        let key = key(&call, id)?;
        let remove = || async {
            let options = RemoveContainerOptions {
                v: true,
                force: true,
                link: false,
            };
            match self.call(&call, self.client.remove_container(key, Some(options))).await {
                Err(Error::NotFound { .. }) => Ok(()),
                done => done,
            }
        };
        // A conflict means that a removal is in progress already: wait for its end, which is that nothing is found.
        let limit = self.timeouts().call;
        let polls = ExponentialBuilder::default()
            .with_min_delay(REMOVAL_POLL)
            .with_max_delay(REMOVAL_POLL_MAX)
            .without_max_times()
            .with_total_delay(Some(limit));
        let patient = remove
            .retry(polls)
            .when(|error| matches!(error, Error::Conflict { .. }));
        match tokio::time::timeout(limit, patient).await {
            Ok(done) => done,
            Err(_) => Err(self.timed_out(&call, limit)),
        }
    }

    pub(super) async fn inspect_container(&self, id: &ContainerId) -> Result<Container> {
        Ok(self.look(id).await?.0)
    }

    pub(super) async fn container_spec(&self, id: &ContainerId) -> Result<ContainerSpec> {
        Ok(convert::spec(self.ask(&on("inspect", id), id).await?))
    }

    /// The container, and the memory limit it was given (0 = none).
    async fn look(&self, id: &ContainerId) -> Result<(Container, u64)> {
        let call = on("inspect", id);
        let found = self.ask(&call, id).await?;
        let limit = convert::memory_limit(&found);
        Ok((convert::container(&call, found)?, limit))
    }

    async fn ask(&self, call: &Call, id: &ContainerId) -> Result<ContainerInspectResponse> {
        let request = self
            .client
            .inspect_container(key(call, id)?, None::<InspectContainerOptions>);
        self.call(call, request).await
    }

    pub(super) async fn list_containers(&self, labels: &Labels) -> Result<Vec<Container>> {
        let call = Call::new("list", "containers".to_owned());
        let wanted = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), wanted)])),
            ..Default::default()
        };
        let found = self.call(&call, self.client.list_containers(Some(options))).await?;
        found
            .into_iter()
            .map(|summary| convert::summary(&call, summary))
            .collect()
    }

    pub(super) async fn update_container(&self, id: &ContainerId, limits: &Limits) -> Result<()> {
        let call = on("change the limits of", id);
        let key = key(&call, id)?;
        // For Docker 0 means "as before", and -1 for swap never reaches runc: only a limit out of reach lifts one.
        let memory = limits.memory_bytes.map_or(convert::UNLIMITED_MEMORY, signed);
        // Memory and swap go in one request: runc then writes them in the order that the present limits allow.
        let body = ContainerUpdateBody {
            memory: Some(memory),
            memory_swap: Some(memory),
            cpu_shares: Some(signed(limits.cpu_shares.unwrap_or(NORMAL_CPU_SHARES))),
            pids_limit: Some(limits.pids.map_or(-1, signed)),
            ..Default::default()
        };
        self.call(&call, self.client.update_container(key, body)).await
    }

    pub(super) async fn container_stats(&self, id: &ContainerId) -> Result<Stats> {
        let call = on("read the figures of", id);
        let key = key(&call, id)?;
        let (container, memory_limit) = self.look(id).await?;
        // Docker would answer for a container that does not run, with nothing but zeros.
        if !matches!(container.state, ContainerState::Running | ContainerState::Paused) {
            return Err(Error::Conflict {
                attempt: call.attempt,
                reason: "it does not run".to_owned(),
            });
        }
        let mut readings = self.client.stats(
            key,
            Some(StatsOptions {
                stream: false,
                one_shot: true,
            }),
        );
        let reading = self.call(&call, async { readings.next().await.transpose() }).await?;
        match reading {
            Some(reading) => Ok(convert::stats(reading, memory_limit)),
            None => Err(Error::Failed {
                attempt: call.attempt,
                reason: "the answer was empty".to_owned(),
            }),
        }
    }
}

fn on(verb: &str, id: &ContainerId) -> Call {
    Call::new(verb, format!("container {}", id.0))
}

/// The id as it may stand in a request path. Nothing else can be the id of a container.
fn key<'a>(call: &Call, id: &'a ContainerId) -> Result<&'a str> {
    let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-');
    match id.0.bytes().all(good) && id.0.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        true => Ok(&id.0),
        false => Err(Error::NotFound {
            what: call.what.clone(),
        }),
    }
}

fn create_body(spec: &ContainerSpec) -> ContainerCreateBody {
    let user = if spec.user.is_empty() { ROOT } else { &spec.user };
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        // With an entrypoint of its own Docker leaves the image's command out as well.
        entrypoint: (!spec.command.is_empty()).then(|| spec.command.clone()),
        env: Some(spec.env.clone()),
        hostname: given(&spec.hostname),
        user: Some(user.to_owned()),
        working_dir: given(&spec.working_dir),
        exposed_ports: Some(spec.ports.iter().map(|port| tcp(port.container)).collect()),
        labels: Some(spec.labels.clone().into_iter().collect()),
        tty: Some(false),
        // A health check of the image would run processes in the container that nobody asked for.
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..Default::default()
        }),
        // The image's own may be one that the first process we put there does not know.
        stop_signal: Some("SIGTERM".to_owned()),
        host_config: Some(host_config(spec)),
        ..Default::default()
    }
}

fn host_config(spec: &ContainerSpec) -> HostConfig {
    let memory = spec.limits.memory_bytes.map(signed);
    let network = match &spec.network {
        NetworkMode::Bridge => "bridge".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Of(other) => of(other),
    };
    let processes = match &spec.processes {
        ProcessMode::Own => None,
        ProcessMode::Of(other) => Some(of(other)),
    };
    let ipc = match &spec.ipc {
        IpcMode::Own => "private".to_owned(),
        IpcMode::Open => "shareable".to_owned(),
        IpcMode::Of(other) => of(other),
    };
    HostConfig {
        memory,
        memory_swap: memory,
        cpu_shares: spec.limits.cpu_shares.map(signed),
        pids_limit: spec.limits.pids.map(signed),
        privileged: Some(spec.privileged),
        // A privileged container has every capability, and Docker refuses to take some away.
        cap_drop: (!spec.privileged).then(|| vec!["ALL".to_owned()]),
        cap_add: (!spec.privileged).then(|| spec.capabilities.clone()),
        security_opt: spec.no_new_privileges.then(|| vec!["no-new-privileges".to_owned()]),
        readonly_rootfs: Some(spec.read_only_root),
        network_mode: Some(network),
        pid_mode: processes,
        ipc_mode: Some(ipc),
        cgroup_parent: (!spec.cgroup_parent.is_empty()).then(|| spec.cgroup_parent.clone()),
        // Mounts, unlike binds, fail where the source is missing instead of making a directory there.
        mounts: Some(spec.mounts.iter().map(bind_mount).collect()),
        port_bindings: Some(port_bindings(&spec.ports)),
        restart_policy: Some(RestartPolicy {
            name: Some(match spec.restarts {
                true => RestartPolicyNameEnum::UNLESS_STOPPED,
                false => RestartPolicyNameEnum::NO,
            }),
            maximum_retry_count: None,
        }),
        // The first process keeps the output of the others; Docker's own log of it would grow without bound.
        log_config: Some(HostConfigLogConfig {
            typ: Some("none".to_owned()),
            config: None,
        }),
        init: Some(false),
        ..Default::default()
    }
}

/// Docker's word for what another container has.
fn of(other: &ContainerId) -> String {
    format!("container:{}", other.0)
}

fn port_bindings(ports: &[Port]) -> PortMap {
    let mut bindings = PortMap::new();
    for port in ports {
        let binding = PortBinding {
            host_ip: None,
            host_port: Some(port.host.to_string()),
        };
        let of_one = bindings.entry(tcp(port.container)).or_default();
        of_one.get_or_insert_default().push(binding);
    }
    bindings
}

fn tcp(port: u16) -> String {
    format!("{port}/tcp")
}

fn bind_mount(mount: &Mount) -> BindMount {
    BindMount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.clone()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..Default::default()
    }
}

/// Docker counts in signed numbers; what does not fit is out of reach anyway.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
