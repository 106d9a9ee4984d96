//! What the tests on real parts share: an image of busybox, programs that end with the test, waiting on conditions.
//!
//! A part that is missing fails the test with what to install; nothing is skipped.
#![allow(dead_code, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "tests: what fails is to panic")]

pub mod dockerd;
pub mod pretend;
pub mod registry;

use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use engine::conformance::Bench;
use engine::docker::{Docker, Timeouts};
use engine::{Engine, TarStream};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

pub const SOCKET: &str = "/var/run/docker.sock";
const BUSYBOX: &str = "/bin/busybox";
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// The node's Docker, with an image of busybox for this test alone.
pub async fn bench() -> Bench {
    let docker = Docker::connect(SOCKET.as_ref(), Timeouts::default());
    docker
        .version()
        .await
        .expect("dockerd has to run: ./test starts it, or `dockerd &` (package docker.io)");
    let mut bench = Bench::new(Arc::new(docker), "");
    bench.image = bench.name("base:1");
    bench
        .engine
        .import(&bench.image, busybox(&bench.id))
        .await
        .expect("an image of busybox");
    bench
}

/// A root file system with busybox alone. The mark makes it differ from every other.
pub fn busybox(mark: &str) -> TarStream {
    assert!(
        Path::new(BUSYBOX).exists(),
        "{BUSYBOX} is missing: apt-get install busybox-static"
    );
    let root = tempfile::tempdir().unwrap();
    for directory in ["bin", "tmp", "mnt"] {
        std::fs::create_dir(root.path().join(directory)).unwrap();
    }
    std::fs::copy(BUSYBOX, root.path().join("bin/busybox")).unwrap();
    for applet in ["sh", "sleep", "tail", "cat", "id", "hostname"] {
        std::os::unix::fs::symlink("busybox", root.path().join("bin").join(applet)).unwrap();
    }
    std::fs::write(root.path().join("mark"), mark).unwrap();
    let tar = Command::new("tar")
        .arg("-C")
        .arg(root.path())
        .args(["-cf", "-", "."])
        .output()
        .unwrap();
    assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
    Box::pin(std::io::Cursor::new(tar.stdout))
}

/// Runs a command to its end; its standard output.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until the condition holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// A future that has to end: for calls that must not hang.
pub async fn bounded<T>(what: &str, call: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(done) => done,
        Err(_) => panic!("{what} hangs"),
    }
}

/// A program that ends with the test, however that ends.
pub struct Program(pub Child);

impl Program {
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }

    /// Stops all its threads: the signal is only on its way to them when it was sent.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let is_stopped = |task: std::io::Result<std::fs::DirEntry>| {
            // A thread that ended is as good as stopped.
            let stat = task.and_then(|task| std::fs::read_to_string(task.path().join("stat")));
            stat.map_or(true, |stat| {
                stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
            })
        };
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let tasks = format!("/proc/{}/task", self.0.id());
        while !std::fs::read_dir(&tasks).unwrap().all(is_stopped) {
            assert!(std::time::Instant::now() < deadline, "it does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to end and waits; ends it by force when it does not.
    pub fn stop(&mut self) {
        if self.0.try_wait().unwrap().is_some() {
            return;
        }
        // A frozen program takes its signal when it goes on.
        self.signal(Signal::SIGTERM);
        self.signal(Signal::SIGCONT);
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while self.0.try_wait().unwrap().is_none() {
            if std::time::Instant::now() > deadline {
                self.0.kill().unwrap();
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop();
    }
}
