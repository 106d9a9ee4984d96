//! Starts init in namespaces of its own. A test owns its [`Container`]; all that ran in it dies with it.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use fence_init::protocol::*;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use tempfile::TempDir;

use crate::peer::Peer;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The accounts of a test container.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nalice:x:1234:1235:Alice:HOMES/alice:/bin/sh\n";
const GROUP: &str = "root:x:0:\nalice:x:1235:\nstaff:x:50:bob,alice\naudio:x:29:alice\n";

/// Waits for a condition.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// One init with everything below it.
pub struct Container {
    unshare: Child,
    listener: Option<UnixListener>,
    dir: TempDir,
    /// Init's pid as the test sees it.
    pub pid: i32,
}

impl Container {
    /// A container with the files of this machine but its own `/etc`, and its init's first connection.
    pub fn start() -> (Self, Peer) {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        let homes = dir.path().join("homes");
        std::fs::write(etc.join("passwd"), PASSWD.replace("HOMES", homes.to_str().unwrap())).unwrap();
        std::fs::write(etc.join("group"), GROUP).unwrap();
        let script = "mount -t proc proc /proc && mount --bind \"$1\" /etc && exec \"$2\" \"$3\"";
        let mut command = Command::new("unshare");
        command.args([
            "--pid",
            "--fork",
            "--mount",
            "--kill-child",
            "--",
            "sh",
            "-c",
            script,
            "sh",
        ]);
        command.args([etc.as_os_str(), OsStr::new(env!("CARGO_BIN_EXE_fence-init"))]);
        command.arg(dir.path().join(SOCKET_NAME));
        Self::run(dir, command)
    }

    /// A container whose root holds nothing but `init` and the socket.
    pub fn start_empty(init: &Path) -> (Self, Peer) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(init, dir.path().join(BIN_NAME)).unwrap();
        let root = format!("--root={}", dir.path().display());
        let mut command = Command::new("unshare");
        command.args([
            "--pid",
            "--fork",
            "--mount",
            "--kill-child",
            &root,
            "--",
            "/fence-init",
            "/init.sock",
        ]);
        Self::run(dir, command)
    }

    fn run(dir: TempDir, mut command: Command) -> (Self, Peer) {
        assert!(
            nix::unistd::geteuid().is_root(),
            "these tests make namespaces and change users: run them as root"
        );
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let listener = UnixListener::bind(dir.path().join(SOCKET_NAME)).unwrap();
        // SAFETY: the closure makes one system call and allocates nothing.
        unsafe { command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)) };
        let unshare = command.spawn().expect("unshare from util-linux");
        let mut container = Self {
            unshare,
            listener: Some(listener),
            dir,
            pid: 0,
        };
        let peer = container.accept();
        container.pid = getsockopt(&peer.stream, PeerCredentials).unwrap().pid();
        (container, peer)
    }

    /// A path below the container's own folder, the same inside and outside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Takes init's next connection and its greeting.
    pub fn accept(&self) -> Peer {
        let listener = self.listener.as_ref().expect("a listening container");
        listener.set_nonblocking(true).unwrap();
        let mut accepted = None;
        eventually("init connects", || {
            accepted = listener.accept().ok();
            accepted.is_some()
        });
        let (stream, _) = accepted.unwrap();
        Peer::greet(stream)
    }

    /// Stops listening, as a fence that ends.
    pub fn stop_listening(&mut self) {
        self.listener = None;
        std::fs::remove_file(self.path(SOCKET_NAME)).unwrap();
    }

    /// Listens again.
    pub fn listen(&mut self) {
        self.listener = Some(UnixListener::bind(self.path(SOCKET_NAME)).unwrap());
    }

    /// A file of init's in /proc, as seen from outside.
    pub fn proc(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.pid)).unwrap()
    }

    /// The pids of init's children, those that wait to be reaped too.
    pub fn children(&self) -> Vec<String> {
        self.proc(&format!("task/{}/children", self.pid))
            .split_whitespace()
            .map(Into::into)
            .collect()
    }

    /// How init exited.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("init exits", || {
            status = self.unshare.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}
