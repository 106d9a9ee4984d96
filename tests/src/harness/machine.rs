//! A whole machine for a story: a container with systemd, an engine of its own and the programs under test installed.
//!
//! What `tests/node` makes. The story's programs are mounted where an installation has them; nothing of the host is
//! shared but its kernel, and everything is taken away when the machine is dropped.

use std::process::Command;

use serde_json::Value;

use super::command::{Captured, run};
use super::docker::docker;
use super::image::base_image;
use super::programs::{debians_registry, fence_init, program, workspace};
use super::wait::{LIMIT, until};

/// What is printed of a machine whose story failed.
const LAST_LINES: &str = "for log in /var/log/kato/*.log; do echo \"---- $log\"; tail -n 40 $log; done; \
                          journalctl --no-pager -n 60; systemctl --failed --no-pager";

/// A machine that runs.
pub struct Machine {
    id: String,
    name: String,
}

impl Machine {
    /// A machine of this name with the programs installed and nothing set up.
    pub fn installed(name: &str) -> Machine {
        Machine::with(name, &[])
    }

    /// The same, with further options of `docker run`.
    pub fn with(name: &str, options: &[&str]) -> Machine {
        let mount = |source: std::path::PathBuf, target: &str| format!("{}:{target}:ro", source.display());
        let mounts = [
            mount(program("kato"), "/usr/local/bin/kato"),
            mount(program("fence"), "/usr/local/bin/fence"),
            mount(program("registry-bootstrap"), "/usr/local/bin/registry-bootstrap"),
            // A node needs it where it reaches no other registry.
            mount(debians_registry(), "/usr/bin/docker-registry"),
            mount(fence_init(), "/usr/local/bin/fence-init"),
            mount(workspace().join("packaging/systemd"), "/usr/local/lib/systemd/system"),
        ];
        let mut command = Command::new(workspace().join("tests/node/run"));
        command.args(["--hostname", name]).args(options);
        for mount in &mounts {
            command.args(["-v", mount]);
        }
        let id = run(&mut command).ok().trim().to_owned();
        let name = name.to_owned();
        Machine { id, name }
    }

    /// A machine that is a micro cloud: all its processes run as units, the base image is there.
    pub fn micro(name: &str) -> Machine {
        let machine = Machine::installed(name);
        machine.kato(&["node", "setup", "micro"]).ok();
        machine.run(&["systemctl", "enable", "kato-agent.service"]).ok();
        machine.load_image(&base_image());
        machine
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its container on this host.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Run a command in it, as root.
    #[track_caller]
    pub fn run(&self, command: &[&str]) -> Captured {
        docker(&[&["exec", self.id.as_str()], command].concat())
    }

    /// `kato ARGS…` in it.
    #[track_caller]
    pub fn kato(&self, args: &[&str]) -> Captured {
        self.run(&[&["kato"], args].concat())
    }

    /// What `kato ARGS… -j` prints; `Null` where it does not.
    pub fn kato_json(&self, args: &[&str]) -> Value {
        let said = self.kato(&[args, &["-j"]].concat());
        serde_json::from_str(&said.out()).unwrap_or(Value::Null)
    }

    /// What the agent says of a process.
    pub fn process(&self, name: &str) -> Value {
        let all = self.kato_json(&["process", "list"]);
        let all = all.as_array().cloned().unwrap_or_default();
        all.into_iter()
            .find(|process| process["process"] == name)
            .unwrap_or(Value::Null)
    }

    /// The pid of a process once it is ready, in the machine's own numbering.
    #[track_caller]
    pub fn ready(&self, name: &str) -> i64 {
        until(&format!("{name} is ready on {}", self.name), LIMIT, || {
            let process = self.process(name);
            process["pid"].as_i64().filter(|_| process["state"] == "RUNNING")
        })
    }

    /// What systemd says of a unit.
    pub fn unit(&self, unit: &str, property: &str) -> String {
        let said = self.run(&["systemctl", "show", "--value", "-p", property, unit]);
        said.out().trim().to_owned()
    }

    /// How busy a process of it was until now, by its pid there.
    #[track_caller]
    pub fn busy(&self, pid: i64) -> Busy {
        let said = self.run(&["cat", "/proc/uptime", &format!("/proc/{pid}/stat")]).ok();
        let words: Vec<&str> = said.split_whitespace().collect();
        // Of `uptime` the first, after its two words those that proc(5) counts as 14 and 15 of `stat`, in ticks.
        let number = |index: usize| words.get(index).and_then(|word| word.parse::<f64>().ok());
        let (Some(up), Some(user), Some(system)) = (number(0), number(15), number(16)) else {
            panic!("not what the kernel says of a process: {said}");
        };
        let ticks = 100.0;
        Busy {
            at: up,
            used: (user + system) / ticks,
        }
    }

    /// Have an image of the host in the machine's own engine.
    #[track_caller]
    pub fn load_image(&self, name: &str) {
        let pipe = format!("docker save {name} | docker exec -i {} docker load -q", self.id);
        run(Command::new("bash").args(["-o", "pipefail", "-c", &pipe])).ok();
    }

    /// Give its Docker a disk of its own of so many MiB, with nothing but the base image on it.
    #[track_caller]
    pub fn have_small_disk(&self, size: u32) {
        self.kato(&["process", "stop", "fence", "docker"]).ok();
        let size = format!("size={size}m");
        self.run(&["mount", "-t", "tmpfs", "-o", &size, "tmpfs", "/var/lib/docker"])
            .ok();
        self.kato(&["process", "start", "docker"]).ok();
        self.load_image(&base_image());
        self.kato(&["process", "start", "fence"]).ok();
    }

    /// End it in order and start it again, as an administrator's `reboot` does.
    #[track_caller]
    pub fn reboot(&self) {
        docker(&["restart", "-t", "60", &self.id]).ok();
        self.is_up();
    }

    /// Cut its power and switch it on again.
    #[track_caller]
    pub fn power_cycle(&self) {
        docker(&["kill", &self.id]).ok();
        docker(&["start", &self.id]).ok();
        self.is_up();
    }

    #[track_caller]
    fn is_up(&self) {
        until(&format!("systemd of {} is up", self.name), LIMIT, || {
            let said = self.run(&["systemctl", "is-system-running"]).out();
            matches!(said.trim(), "running" | "degraded").then_some(())
        });
    }
}

/// How much of a processor a process has used by then, both in seconds.
#[derive(Debug)]
pub struct Busy {
    at: f64,
    used: f64,
}

impl Busy {
    /// Whether the process has mostly waited since: one that goes round in a circle has not.
    pub fn used_less_than_half_since(&self, before: &Busy) -> bool {
        self.used - before.used < (self.at - before.at) / 2.0
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.run(&["sh", "-c", LAST_LINES]).out());
        }
        docker(&["rm", "-f", "-v", &self.id]);
    }
}
