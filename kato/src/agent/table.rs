//! How each process of a node is started and asked: the one place that knows their programs and arguments.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cluster::files;
use cluster::nodes::{NodeFile, Paths};
use cluster::process::{self, Process};

use super::joining::etcd::{self, Settings};
use super::probe::{ConfigProbe, DockerProbe, FenceProbe, Probe};
use super::process_control::{Launch, Place, systemd};
use crate::{docker_api, fence_api};

/// Where an administrator's programs may be although the PATH does not say so.
const SBIN: &str = "/usr/local/sbin:/usr/sbin:/sbin";
/// The largest file of Docker's settings that is read.
const MAX_SETTINGS: u64 = 1024 * 1024;

/// One process of the node.
#[derive(Clone)]
pub struct Entry {
    /// Which it is.
    pub process: Process,
    /// How it is started; `None` where somebody else starts it.
    pub launch: Option<Launch>,
    /// How it is asked.
    pub probe: Arc<dyn Probe>,
    /// Where its output goes.
    pub log: PathBuf,
}

/// The processes that the agent of this node looks after, in the order of starting.
pub fn of_node(paths: &Paths, node: &NodeFile) -> Vec<Entry> {
    process::of_roles(&node.roles)
        .into_iter()
        .filter_map(|process| entry(process, paths, node))
        .collect()
}

/// Where a process's output goes.
pub fn log_file(paths: &Paths, process: Process) -> PathBuf {
    paths.log_dir().join(format!("{process}.log"))
}

/// The unit of a process where systemd starts it. Docker's is Docker's own.
fn unit(process: Process) -> String {
    match process {
        Process::Agent => systemd::AGENT_UNIT.to_owned(),
        // "config.service" would say nothing of whose it is.
        Process::Config => "kato-config.service".to_owned(),
        Process::Docker | Process::Fence => format!("{process}.service"),
    }
}

/// The path of a program of the system, if it is installed.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = env::split_paths(&path).chain(env::split_paths(SBIN));
    places.find_map(|place| Some(place.join(name)).filter(|program| program.is_file()))
}

fn entry(process: Process, paths: &Paths, node: &NodeFile) -> Option<Entry> {
    let log = log_file(paths, process);
    let (launch, probe): (Option<Launch>, Arc<dyn Probe>) = match process {
        // The agent does not look after itself.
        Process::Agent => return None,
        Process::Config => (Some(member(paths, log.clone())), Arc::new(ConfigProbe::new(paths))),
        Process::Docker => {
            let engine = docker_api::Engine::new(&node.docker.socket, DockerProbe::BOUND);
            let pid_file = node.docker.managed.then(|| docker_pid_file(paths));
            let launch = node.docker.managed.then(|| dockerd(paths, node, log.clone()));
            (launch, Arc::new(DockerProbe { engine, pid_file }))
        }
        Process::Fence => (
            Some(fence(paths, log.clone())),
            Arc::new(FenceProbe(fence_api::Client::new(paths))),
        ),
    };
    Some(Entry {
        process,
        launch,
        probe,
        log,
    })
}

fn member(paths: &Paths, log: PathBuf) -> Launch {
    let mut settings = OsString::from("--config-file=");
    settings.push(Settings::file(paths));
    Launch {
        process: Process::Config,
        unit: unit(Process::Config),
        program: installed("etcd").unwrap_or_else(|| "etcd".into()),
        args: vec![settings],
        log,
        place: Some(Place {
            directory: paths.etcd(),
            socket: etcd::socket(paths),
        }),
    }
}

fn fence(paths: &Paths, log: PathBuf) -> Launch {
    let beside = env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.join("fence")));
    let program = beside.filter(|path| path.is_file()).or_else(|| installed("fence"));
    let args = vec!["--root".into(), paths.root().into()];
    Launch {
        process: Process::Fence,
        unit: unit(Process::Fence),
        program: program.unwrap_or_else(|| "fence".into()),
        args,
        log,
        place: None,
    }
}

fn dockerd(paths: &Paths, node: &NodeFile, log: PathBuf) -> Launch {
    let settings = paths.root().join("etc/docker/daemon.json");
    let configured = configured_keys(&settings);
    let pid_file = docker_pid_file(paths);
    let socket = format!("unix://{}", node.docker.socket.display());
    let mut args: Vec<OsString> = Vec::new();
    // dockerd refuses to start when a setting is both in its file and among its arguments; the file is the
    // administrator's word.
    let mut set = |key: &str, arg: &str, value: OsString| {
        if !configured.iter().any(|known| known == key) {
            let mut whole = OsString::from(arg);
            whole.push(value);
            args.push(whole);
        }
    };
    set("live-restore", "--live-restore", OsString::new());
    set("hosts", "--host=", socket.into());
    set("pidfile", "--pidfile=", pid_file.into());
    if paths.root() != Path::new("/") {
        set("data-root", "--data-root=", paths.root().join("var/lib/docker").into());
        set("exec-root", "--exec-root=", paths.root().join("run/docker").into());
        if settings.is_file() {
            set("config-file", "--config-file=", settings.into());
        }
    }
    Launch {
        process: Process::Docker,
        unit: unit(Process::Docker),
        program: installed("dockerd").unwrap_or_else(|| "dockerd".into()),
        args,
        log,
        place: None,
    }
}

fn docker_pid_file(paths: &Paths) -> PathBuf {
    paths.kato_run().join("docker.pid")
}

/// The settings that Docker's own file makes. What cannot be read makes none; dockerd itself will say what is wrong.
pub fn configured_keys(settings: &Path) -> Vec<String> {
    let content = files::read_limited(settings, MAX_SETTINGS).unwrap_or_default();
    let parsed = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&content);
    parsed
        .map(|settings| settings.keys().cloned().collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::config::Name;
    use cluster::nodes::DockerSettings;

    fn node(managed: bool) -> NodeFile {
        NodeFile::micro(
            &Name::new("one").unwrap(),
            DockerSettings {
                socket: "/s/docker.sock".into(),
                managed,
            },
        )
    }

    fn args(launch: &Launch) -> Vec<&str> {
        launch.args.iter().map(|arg| arg.to_str().unwrap()).collect()
    }

    #[test]
    fn an_engine_that_was_there_before_is_never_started() {
        let table = of_node(&Paths::from_root(None), &node(false));
        let processes: Vec<Process> = table.iter().map(|entry| entry.process).collect();
        assert_eq!(processes, [Process::Docker, Process::Fence]);
        assert_eq!(table[0].launch, None);
        assert_eq!(args(table[1].launch.as_ref().unwrap()), ["--root", "/"]);
    }

    #[test]
    fn dockerd_keeps_containers_and_is_not_told_twice() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::from_root(Some(root.path()));
        let launch = dockerd(&paths, &node(true), "log".into());
        let all = args(&launch);
        assert_eq!(all[..2], ["--live-restore", "--host=unix:///s/docker.sock"]);
        assert!(all.iter().any(|arg| arg.ends_with("/var/lib/docker")), "{all:?}");

        std::fs::create_dir_all(root.path().join("etc/docker")).unwrap();
        let settings = root.path().join("etc/docker/daemon.json");
        std::fs::write(&settings, r#"{"live-restore": true, "hosts": []}"#).unwrap();
        let launch = dockerd(&paths, &node(true), "log".into());
        let all = args(&launch);
        assert!(
            !all.iter()
                .any(|arg| arg.starts_with("--live") || arg.starts_with("--host")),
            "{all:?}"
        );
        assert!(all.iter().any(|arg| arg.starts_with("--config-file=")), "{all:?}");
    }
}
