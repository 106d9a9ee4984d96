//! A dockerd of the test's own, which can be stopped, frozen and started again without anybody else noticing.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use engine::Engine;
use engine::docker::{Docker, Timeouts};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::{POLL, Program, bounded};

pub struct Dockerd {
    folder: TempDir,
    program: Option<Program>,
}

impl Dockerd {
    /// Not started yet.
    pub fn new() -> Dockerd {
        Dockerd {
            folder: tempfile::tempdir().unwrap(),
            program: None,
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    pub fn client(&self) -> Docker {
        Docker::connect(&self.socket(), Timeouts::default())
    }

    /// Starts it and waits until it answers.
    pub async fn start(&mut self) {
        let path = |name: &str| self.folder.path().join(name);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path("log"))
            .unwrap();
        // In a network namespace of its own: a dockerd without a bridge removes the one that the machine's own dockerd uses.
        let child = Command::new("unshare")
            .args(["--net", "dockerd", "--data-root"])
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .args([
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                "--storage-driver=vfs",
            ])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("dockerd starts (package docker.io)");
        self.program = Some(Program(child));
        let client = self.client();
        let answers = async {
            while client.version().await.is_err() {
                tokio::time::sleep(POLL).await;
            }
        };
        bounded("the start of dockerd", answers).await;
    }

    pub fn stop(&mut self) {
        self.program = None;
    }

    pub fn freeze(&self) {
        self.program.as_ref().expect("a dockerd that runs").freeze();
    }

    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        self.program.as_ref().expect("a dockerd that runs").signal(signal);
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // Before its folder goes.
        self.stop();
    }
}
