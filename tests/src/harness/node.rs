//! One node under a temporary root: its own tree, sockets, ports and containers, beside any number of others on the machine.
//!
//! The machine's Docker is shared: a node's containers are those with its id in the label `io.fence.node`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::command::{Captured, run, run_with_input};
use super::docker;
use super::image::base_image;
use super::ports::{COUNT, Ports};
use super::processes::{is_alive, kill_hard, of_container, of_root, terminate};
use super::programs::{fence_init, program};
use super::wait::{LIMIT, poll, until};
use crate::garden::{Address, Client, ContainerSpec, Process, ProcessSpec, Result};

/// The machine's own Docker.
const DOCKER: &str = "/var/run/docker.sock";

/// A node that runs, as long as it is not dropped.
pub struct Node {
    root: TempDir,
    /// The first of the node's ports.
    pub first_port: u16,
    _ports: Ports,
    /// The daemon, where the node runs it without an agent.
    fence: Mutex<Option<Child>>,
    /// What is started as the daemon.
    program: PathBuf,
}

impl Node {
    /// A node that is nothing but a daemon; it has no agent.
    pub fn fence_only() -> Node {
        Node::with_config(&[])
    }

    /// [`Node::fence_only`] with these settings of the component `fence` made before the daemon starts.
    pub fn with_config(settings: &[(&str, &str)]) -> Node {
        Node::behind(Path::new(DOCKER), settings)
    }

    /// [`Node::with_config`] with another socket for Docker's.
    pub fn behind(docker: &Path, settings: &[(&str, &str)]) -> Node {
        let node = Node::prepared(docker);
        for (key, value) in settings {
            node.kato(&["config", "set", "fence", key, value]).ok();
        }
        node.start_fence();
        node
    }

    /// [`Node::fence_only`] with another program for the daemon.
    pub fn with_program(program: PathBuf) -> Node {
        let mut node = Node::prepared(Path::new(DOCKER));
        node.program = program;
        node.start_fence();
        node
    }

    /// A micro cloud as `kato node setup micro` leaves it, agent and daemon ready.
    pub fn micro() -> Node {
        let node = Node::prepared(Path::new(DOCKER));
        node.kato(&["node", "setup", "micro"]).ok();
        node.wait_until_ready();
        node
    }

    /// A root in which nothing was set up.
    pub fn bare() -> Node {
        base_image();
        let root = TempDir::with_prefix("fence-").unwrap_or_else(|error| panic!("could not make a folder: {error}"));
        let ports = Ports::take();
        Node {
            root,
            first_port: ports.first,
            _ports: ports,
            fence: Mutex::new(None),
            program: program("fence"),
        }
    }

    /// A node that is set up, with ports of its own, of which nothing runs yet.
    fn prepared(docker: &Path) -> Node {
        let node = Node::bare();
        let docker = docker.display().to_string();
        node.kato(&["node", "setup", "micro", "--no-start", "--docker", &docker])
            .ok();
        let (first, count) = (node.first_port.to_string(), COUNT.to_string());
        node.kato(&["config", "set", "fence", "ports/first", &first]).ok();
        node.kato(&["config", "set", "fence", "ports/count", &count]).ok();
        node
    }

    /// The node's root.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// What the node's containers carry in the label `io.fence.node`; none before it is set up.
    pub fn id(&self) -> Option<String> {
        let file = fs::read_to_string(self.root().join("etc/kato/node.yml")).ok()?;
        Some(
            file.lines()
                .find_map(|line| line.strip_prefix("id:"))?
                .trim()
                .to_owned(),
        )
    }

    /// A client of the node's Garden API.
    pub fn garden(&self) -> Client {
        Client::new(Address::Unix(self.socket()))
    }

    /// Where the daemon listens.
    pub fn socket(&self) -> PathBuf {
        self.root().join("run/fence/garden.sock")
    }

    /// `kato ARGS…` for this node, to run in any way.
    pub fn kato_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("kato"));
        command
            .args(args)
            .env("KATO_ROOT", self.root())
            .env("FENCE_INIT", fence_init());
        command
    }

    /// `kato ARGS…` for this node, to its end.
    #[track_caller]
    pub fn kato(&self, args: &[&str]) -> Captured {
        run(&mut self.kato_command(args))
    }

    /// `kato ARGS…` for this node with this on standard input.
    #[track_caller]
    pub fn kato_with_input(&self, args: &[&str], input: &[u8]) -> Captured {
        run_with_input(&mut self.kato_command(args), input)
    }

    /// The JSON that `kato ARGS…` prints; it has to end with 0.
    #[track_caller]
    pub fn kato_json(&self, args: &[&str]) -> Value {
        let printed = self.kato(args).ok();
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("kato {args:?}: {error}\n{printed}"))
    }

    /// What the daemon says of itself.
    pub fn status(&self) -> Result<Value> {
        self.garden().call("GET", "/fence/v1/status", None)
    }

    /// The container as the daemon's own API shows it.
    pub fn shown(&self, handle: &str) -> Result<Value> {
        self.garden()
            .call("GET", &format!("/fence/v1/containers/{handle}"), None)
    }

    /// The container as Docker shows it.
    #[track_caller]
    pub fn inspect(&self, handle: &str) -> Value {
        let shown = self
            .shown(handle)
            .unwrap_or_else(|error| panic!("no container {handle}: {error}"));
        let instance = shown["instance"]
            .as_str()
            .unwrap_or_else(|| panic!("{shown} has no instance"));
        docker::instance(instance)
    }

    /// All of the node's containers in Docker, running or not.
    pub fn containers_in_docker(&self) -> Vec<String> {
        self.id()
            .map(|id| docker::labelled("io.fence.node", &id))
            .unwrap_or_default()
    }

    /// The pid of the container's first process on the host.
    #[track_caller]
    pub fn first_pid(&self, handle: &str) -> i32 {
        docker::pid(&self.inspect(handle))
    }

    /// The pids on the host of the container's processes with this name.
    #[track_caller]
    pub fn pids_named(&self, handle: &str, name: &str) -> Vec<i32> {
        let all = of_container(self.first_pid(handle)).into_iter();
        all.filter(|(_, comm)| comm == name).map(|(pid, _)| pid).collect()
    }

    /// Remove the node's containers from Docker, behind the daemon's back.
    pub fn remove_containers(&self) {
        if let Some(id) = self.id() {
            docker::remove_labelled("io.fence.node", &id);
        }
    }

    /// Make a container through the Garden API.
    pub fn container(&self, spec: &ContainerSpec) -> Result<ContainerOf> {
        let garden = self.garden();
        Ok(ContainerOf {
            handle: garden.create(spec)?,
            garden,
        })
    }

    /// The daemon's pid.
    #[track_caller]
    pub fn fence_pid(&self) -> i32 {
        let status = self.status().unwrap_or_else(|error| panic!("no status: {error}"));
        status["pid"]
            .as_i64()
            .and_then(|pid| i32::try_from(pid).ok())
            .unwrap_or_else(|| panic!("no pid in {status}"))
    }

    /// Start the daemon of a [`Node::fence_only`] and wait until it is ready.
    #[track_caller]
    pub fn start_fence(&self) {
        self.spawn_fence();
        self.wait_until_ready();
    }

    /// Start the daemon of a [`Node::fence_only`] and wait for nothing.
    #[track_caller]
    pub fn spawn_fence(&self) {
        self.spawn_fence_with(&[]);
    }

    /// [`Node::spawn_fence`] with these variables in its environment.
    #[track_caller]
    pub fn spawn_fence_with(&self, env: &[(&str, &str)]) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.root().join("fence.log"));
        let log = log.unwrap_or_else(|error| panic!("could not open the log: {error}"));
        let second = log
            .try_clone()
            .unwrap_or_else(|error| panic!("could not share the log: {error}"));
        let child = Command::new(&self.program)
            .arg("--root")
            .arg(self.root())
            .env("FENCE_INIT", fence_init())
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(second)
            .spawn()
            .unwrap_or_else(|error| panic!("could not start fence: {error}"));
        *self.fence() = Some(child);
    }

    /// Ask the daemon of a [`Node::fence_only`] to end, and wait until it has; the answer is its exit code.
    #[track_caller]
    pub fn stop_fence(&self) -> i32 {
        let mut child = self.fence().take().unwrap_or_else(|| panic!("fence does not run"));
        terminate(i32::try_from(child.id()).unwrap_or(0));
        super::command::wait(&mut child, LIMIT).unwrap_or_else(|| panic!("fence did not end within {LIMIT:?}"))
    }

    /// Kill the daemon of a [`Node::fence_only`] as hard as can be.
    #[track_caller]
    pub fn kill_fence(&self) {
        let mut child = self.fence().take().unwrap_or_else(|| panic!("fence does not run"));
        child
            .kill()
            .and_then(|()| child.wait())
            .unwrap_or_else(|error| panic!("could not kill fence: {error}"));
    }

    /// How the daemon of a [`Node::fence_only`] ended, if it has.
    pub fn fence_ended(&self) -> Option<ExitStatus> {
        self.fence().as_mut()?.try_wait().ok().flatten()
    }

    /// The node's ports.
    pub fn ports(&self) -> Range<u16> {
        self.first_port..self.first_port + COUNT
    }

    /// Wait until the daemon says that it is ready.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        let ready = poll(LIMIT, || {
            self.check_that_fence_lives();
            self.status().ok().filter(|status| status["ready"] == true)
        });
        assert!(
            ready.is_some(),
            "fence was not ready within {LIMIT:?}: {:?}",
            self.status()
        );
    }

    /// Wait until the daemon has seen what was configured before.
    #[track_caller]
    pub fn wait_for_image(&self, name: &str) {
        until(&format!("fence uses the image {name}"), LIMIT, || {
            self.status().ok().filter(|status| status["image"]["in_use"] == name)
        });
    }

    /// Everything the node's programs have logged.
    pub fn logs(&self) -> BTreeMap<PathBuf, String> {
        let kept = fs::read_dir(self.root().join("var/log/kato"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let files = kept.chain([self.root().join("fence.log")]);
        files
            .filter_map(|path| Some((path.clone(), fs::read_to_string(path).ok()?)))
            .collect()
    }

    #[track_caller]
    fn check_that_fence_lives(&self) {
        if let Some(Ok(Some(status))) = self.fence().as_mut().map(Child::try_wait) {
            panic!("fence ended before it was ready: {status}");
        }
    }

    fn fence(&self) -> MutexGuard<'_, Option<Child>> {
        self.fence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Take the node's table out of the packet filter: a daemon that ends leaves its ports open, as it has to, and the next
    /// node would find them leading nowhere.
    fn remove_rules(&self) {
        let id = self.id().unwrap_or_default();
        let short: String = id.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        // There is none where the node had no port in use.
        run(Command::new("nft").args(["delete", "table", "ip", &format!("fence_{short}")]));
    }

    /// Ask all programs of the node to end, and make those that do not.
    fn end_processes(&self) {
        let pids = of_root(self.root());
        pids.iter().copied().for_each(terminate);
        let ended = poll(Duration::from_secs(5), || {
            // Our own child is a zombie until it is waited for.
            let _ = self.fence().as_mut().map(Child::try_wait);
            pids.iter().all(|pid| !is_alive(*pid)).then_some(())
        });
        if ended.is_none() {
            of_root(self.root()).into_iter().for_each(kill_hard);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (path, log) in self.logs() {
                let tail: Vec<&str> = log.lines().rev().take(200).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                eprintln!("---- {} (its last lines)\n{}", path.display(), tail.join("\n"));
            }
        }
        self.end_processes();
        self.remove_containers();
        self.remove_rules();
    }
}

/// A container and the client that made it.
pub struct ContainerOf {
    pub handle: String,
    pub garden: Client,
}

impl ContainerOf {
    /// Start a process with both outputs.
    pub fn run(&self, spec: &ProcessSpec) -> Result<Process> {
        self.garden.run(&self.handle, spec)
    }

    /// Run a process to its end: exit status, standard output and standard error.
    pub fn output(&self, spec: &ProcessSpec) -> Result<(i32, String, String)> {
        self.garden.output(&self.handle, spec)
    }

    /// Unpack an archive in the container.
    pub fn put(&self, user: &str, destination: &str, archive: &[u8]) -> Result<()> {
        self.garden.stream_in(&self.handle, user, destination, archive)
    }

    /// An archive of what is in the container.
    pub fn get(&self, user: &str, source: &str) -> Result<Vec<u8>> {
        self.garden.stream_out(&self.handle, user, source)
    }

    /// What a shell script prints; it has to end with 0.
    pub fn shell(&self, script: &str) -> Result<String> {
        let (status, stdout, stderr) = self.output(&ProcessSpec::script(script))?;
        assert_eq!(
            status, 0,
            "`{script}` ended with {status}\nstdout: {stdout}\nstderr: {stderr}"
        );
        Ok(stdout)
    }
}
