//! The real dockerd under the suite, and what only a look from outside proves: limits, rights and mounts in force.
#![allow(clippy::unwrap_used, reason = "tests: what fails is to panic")]

mod common;

use common::{bench, until};
use engine::conformance::{self, Bench};
use engine::{ContainerSpec, EventKind, Limits, Mount, NetworkMode};
use futures_util::StreamExt;

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn containers() {
    bench().await.run(conformance::containers).await;
}

#[tokio::test]
async fn limits() {
    bench().await.run(conformance::limits).await;
}

#[tokio::test]
async fn joining() {
    bench().await.run(conformance::joining).await;
}

#[tokio::test]
async fn images() {
    bench().await.run(conformance::images).await;
}

#[tokio::test]
async fn events() {
    bench().await.run(conformance::events).await;
}

#[tokio::test]
async fn the_host_is_described() {
    let bench = bench().await;
    bench
        .run(|bench| async move {
            let version = bench.engine.version().await.unwrap();
            assert_eq!((version.name.as_str(), version.os.as_str()), ("Docker", "linux"));
            assert!(version.api.starts_with("1."), "{version:?}");
            let host = bench.engine.host().await.unwrap();
            assert!(
                host.memory_bytes > MIB && host.cpus > 0 && host.data_dir.starts_with('/'),
                "{host:?}"
            );
            assert!(
                matches!(host.cgroup_version, 1 | 2) && !host.storage_driver.is_empty(),
                "{host:?}"
            );
        })
        .await;
}

#[tokio::test]
async fn limits_are_in_force() {
    bench()
        .await
        .run(|bench| async move {
            let limits = Limits {
                memory_bytes: Some(64 * MIB),
                cpu_shares: Some(512),
                pids: Some(32),
            };
            let id = bench
                .started("limited", &ContainerSpec { limits, ..bench.spec() })
                .await;
            let pid = bench.engine.inspect(&id).await.unwrap().pid;
            assert_eq!(Cgroup::of(pid).read(), (Some(64 * MIB), Some(32), 512));

            let limits = Limits {
                memory_bytes: Some(128 * MIB),
                cpu_shares: Some(2048),
                pids: None,
            };
            bench.engine.update(&id, &limits).await.unwrap();
            assert_eq!(Cgroup::of(pid).read(), (Some(128 * MIB), None, 2048));

            bench.engine.update(&id, &Limits::default()).await.unwrap();
            assert_eq!(Cgroup::of(pid).read(), (None, None, 1024));
        })
        .await;
}

#[tokio::test]
async fn rights_are_dropped_but_those_asked_for() {
    bench()
        .await
        .run(|bench| async move {
            let mut spec = bench.spec();
            spec.no_new_privileges = true;
            spec.capabilities = vec!["CHOWN".to_owned(), "KILL".to_owned()];
            let status = status_of(&bench, "few", &spec).await;
            // CHOWN is bit 0, KILL bit 5.
            for set in ["CapPrm", "CapEff", "CapBnd"] {
                assert_eq!(status(set), "0000000000000021", "{set}");
            }
            assert_eq!(
                (status("NoNewPrivs"), status("Seccomp"), status("Uid")),
                ("1".into(), "2".into(), "0".into())
            );

            spec.capabilities.clear();
            spec.user = "1000:1000".to_owned();
            let status = status_of(&bench, "none", &spec).await;
            assert_eq!((status("CapEff"), status("CapBnd")), ("0".repeat(16), "0".repeat(16)));
            assert_eq!((status("Uid"), status("Gid")), ("1000".into(), "1000".into()));
        })
        .await;
}

/// Reads `/proc/PID/status` of a new container's first process.
async fn status_of(bench: &Bench, what: &str, spec: &ContainerSpec) -> impl Fn(&str) -> String + use<> {
    let id = bench.started(what, spec).await;
    let pid = bench.engine.inspect(&id).await.unwrap().pid;
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    move |field| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|values| values.split_whitespace().next())
            .unwrap_or_default()
            .to_owned()
    }
}

#[tokio::test]
async fn the_first_process_finds_what_was_asked_for() {
    bench()
        .await
        .run(|bench| async move {
            let shared = tempfile::tempdir().unwrap();
            let mount = |target: &str, read_only| Mount {
                source: shared.path().display().to_string(),
                target: target.to_owned(),
                read_only,
            };
            let script = "{ hostname; pwd; echo $WORD; ls /sys/class/net; \
                          touch /ro/x 2>/dev/null || echo ro; touch /x 2>/dev/null || echo root-ro; } > /rw/out; \
                          mv /rw/out /rw/done; exec sleep 1000000";
            let script = script
                .replace("ls ", "busybox ls ")
                .replace("touch ", "busybox touch ")
                .replace("mv ", "busybox mv ");
            let spec = ContainerSpec {
                hostname: "inside".to_owned(),
                working_dir: "/tmp".to_owned(),
                env: vec!["WORD=said".to_owned()],
                mounts: vec![mount("/rw", false), mount("/ro", true)],
                read_only_root: true,
                ..bench.running(&["/bin/sh", "-c", &script])
            };
            bench.started("inside", &spec).await;
            let done = shared.path().join("done");
            until("the container wrote its report", || done.exists()).await;
            assert_eq!(
                std::fs::read_to_string(done).unwrap(),
                "inside\n/tmp\nsaid\nlo\nro\nroot-ro\n"
            );
        })
        .await;
}

#[tokio::test]
async fn too_much_memory_is_told() {
    bench()
        .await
        .run(|bench| async move {
            let mut events = bench.engine.events(&bench.labels()).await.unwrap();
            // The first process goes on: where it is the one that is killed, Docker may hear of its end alone.
            let mut spec = bench.running(&["/bin/sh", "-c", "tail /dev/zero; exec sleep 1000"]);
            spec.limits.memory_bytes = Some(8 * MIB);
            let id = bench.started("hungry", &spec).await;
            let told = async {
                loop {
                    match events.next().await.unwrap().unwrap().kind {
                        EventKind::OutOfMemory(of) => return of,
                        _ => continue,
                    }
                }
            };
            assert_eq!(common::bounded("the event", told).await, id);
        })
        .await;
}

#[tokio::test]
async fn docker_keeps_no_log_and_runs_nothing_of_the_image() {
    bench()
        .await
        .run(|bench| async move {
            let spec = ContainerSpec { network: NetworkMode::None, ..bench.spec() };
            let id = bench.started("plain", &spec).await;
            let format = "{{.HostConfig.LogConfig.Type}} {{.HostConfig.RestartPolicy.Name}} {{.Config.Healthcheck.Test}} \
                          {{.Config.Cmd}} {{.HostConfig.AutoRemove}} {{.HostConfig.OomScoreAdj}}";
            let shown = common::run(std::process::Command::new("docker").args(["inspect", "-f", format, &id.0]));
            assert_eq!(shown.trim(), "none no [NONE] [] false 0");
        })
        .await;
}

/// The cgroup files of a container, in either version.
struct Cgroup {
    memory: String,
    pids: String,
    cpu: String,
    unified: bool,
}

impl Cgroup {
    fn of(pid: i32) -> Cgroup {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let at = |controller: &str| {
            text.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':');
                let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
                (!controller.is_empty() && controllers.split(',').any(|name| name == controller))
                    .then(|| format!("/sys/fs/cgroup/{controller}{path}"))
            })
        };
        let (Some(memory), Some(pids), Some(cpu)) = (at("memory"), at("pids"), at("cpu")) else {
            let path = text
                .lines()
                .find_map(|line| line.strip_prefix("0::"))
                .expect("a cgroup");
            let path = format!("/sys/fs/cgroup{path}");
            return Cgroup {
                memory: path.clone(),
                pids: path.clone(),
                cpu: path,
                unified: true,
            };
        };
        Cgroup {
            memory,
            pids,
            cpu,
            unified: false,
        }
    }

    /// Memory and pids, where limited, and the CPU shares. Memory with swap has to be as memory alone.
    fn read(&self) -> (Option<u64>, Option<u64>, u64) {
        let file = |folder: &str, name: &str| {
            std::fs::read_to_string(format!("{folder}/{name}"))
                .unwrap()
                .trim()
                .to_owned()
        };
        // What is beyond every machine is no limit.
        let limit = |text: String| text.parse().ok().filter(|bytes: &u64| *bytes < 1 << 60);
        let pids = limit(file(&self.pids, "pids.max"));
        if self.unified {
            let memory = limit(file(&self.memory, "memory.max"));
            if memory.is_some() {
                assert_eq!(file(&self.memory, "memory.swap.max"), "0");
            }
            // runc maps 2..262144 shares on 1..10000 of weight.
            let weight: u64 = file(&self.cpu, "cpu.weight").parse().unwrap();
            let shares = [256, 512, 1024, 2048]
                .into_iter()
                .find(|shares| 1 + (shares - 2) * 9999 / 262_142 == weight);
            return (memory, pids, shares.unwrap_or(weight));
        }
        let memory = limit(file(&self.memory, "memory.limit_in_bytes"));
        // Absent where the kernel does not count swap.
        if let Ok(both) = std::fs::read_to_string(format!("{}/memory.memsw.limit_in_bytes", self.memory)) {
            assert_eq!(limit(both.trim().to_owned()), memory);
        }
        (memory, pids, file(&self.cpu, "cpu.shares").parse().unwrap())
    }
}
