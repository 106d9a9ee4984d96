//! Whole machines in a network of their own, and the cluster of three that most stories begin with.
//!
//! The network is Docker's on this host: machines find each other by name, and can be cut off and joined again. Machines and
//! network are taken away when the cluster is dropped.

use std::process::Command;
use std::thread;

use serde_json::Value;
use uuid::Uuid;

use super::command::{Captured, run_with_input};
use super::docker::docker;
use super::image::base_image;
use super::machine::Machine;
use super::wait::{LIMIT, until};

/// A network for machines.
pub struct Network {
    name: String,
}

impl Network {
    /// A new one.
    pub fn new() -> Network {
        let name = format!("fence-test-{}", Uuid::new_v4().simple());
        docker(&["network", "create", &name]).ok();
        Network { name }
    }

    /// A machine in it, with the programs installed and nothing set up; the others find it by its name.
    pub fn machine(&self, name: &str) -> Machine {
        Machine::with(name, &["--network", &self.name, "--network-alias", name])
    }

    /// Pull a machine's cable. Its address stays its own.
    pub fn cut(&self, machine: &Machine) {
        machine.run(&["ip", "link", "set", "eth0", "down"]).ok();
    }

    /// Put it back.
    pub fn join(&self, machine: &Machine) {
        machine.run(&["ip", "link", "set", "eth0", "up"]).ok();
    }
}

/// What a machine's kernel does with all packets to and from another: nothing, and nobody is told.
const SILENCE: &str = "table inet silence {
    chain in { type filter hook input priority -300; ip saddr ADDRESS drop; }
    chain out { type filter hook output priority -300; ip daddr ADDRESS drop; }
}";

impl Network {
    /// Lose every packet between a machine and another, as a broken switch on the way does.
    #[track_caller]
    pub fn lose(&self, machine: &Machine, other: &str) {
        let found = machine.run(&["getent", "ahostsv4", other]).ok();
        let address = found.split_whitespace().next().unwrap_or_default();
        machine.run(&["nft", &SILENCE.replace("ADDRESS", address)]).ok();
    }

    /// Lose none any more.
    #[track_caller]
    pub fn find(&self, machine: &Machine) {
        machine.run(&["nft", "delete table inet silence"]).ok();
    }
}

impl Default for Network {
    fn default() -> Self {
        Network::new()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        docker(&["network", "rm", &self.name]);
    }
}

/// A core and two DEAs.
pub struct Cluster {
    pub core: Machine,
    pub one: Machine,
    pub two: Machine,
    /// Dropped after the machines in it.
    pub network: Network,
}

impl Cluster {
    /// Three machines with the programs installed, nothing set up yet; the base image is in the DEAs' engines' reach once they run.
    pub fn installed() -> Cluster {
        let network = Network::new();
        let machine = |name: &'static str| {
            let network = &network;
            move || network.machine(name)
        };
        let (core, one, two) = thread::scope(|scope| {
            let others = [machine("dea1"), machine("dea2")].map(|make| scope.spawn(make));
            let core = machine("core")();
            let [one, two] = others.map(|made| made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            (core, one, two)
        });
        Cluster {
            core,
            one,
            two,
            network,
        }
    }

    /// The core is set up, both DEAs are paired by tokens, and all is in order.
    pub fn paired() -> Cluster {
        let cluster = Cluster::installed();
        cluster.core.kato(&["node", "setup", "core", "core"]).ok();
        cluster.enable(&cluster.core);
        for dea in cluster.deas() {
            cluster.attach(dea);
        }
        for dea in cluster.deas() {
            dea.ready("fence");
            dea.load_image(&base_image());
        }
        cluster.in_order();
        cluster
    }

    /// The two that run containers.
    pub fn deas(&self) -> [&Machine; 2] {
        [&self.one, &self.two]
    }

    /// Attach a machine with the role dea, by a token of its own.
    #[track_caller]
    pub fn attach(&self, machine: &Machine) {
        let token = self.core.kato(&["node", "token", "create"]).ok();
        Cluster::attach_by(machine, &token).ok();
        self.enable(machine);
    }

    /// Try to attach a machine with the role dea by this token.
    #[track_caller]
    pub fn attach_by(machine: &Machine, token: &str) -> Captured {
        let kato = ["kato", "node", "attach", "-e", "dea", "--token-file", "-"];
        let arguments = [&["exec", "-i", machine.id()], kato.as_slice()].concat();
        run_with_input(Command::new("docker").args(arguments), token.as_bytes())
    }

    /// Its agent comes up with the machine.
    #[track_caller]
    pub fn enable(&self, machine: &Machine) {
        machine.run(&["systemctl", "enable", "kato-agent.service"]).ok();
    }

    /// Power the core, or another machine that was switched off, and wait until its agent answers.
    #[track_caller]
    pub fn power_on(&self, machine: &Machine) {
        docker(&["start", machine.id()]).ok();
        machine.ready("agent");
    }

    /// Cut a machine's power.
    #[track_caller]
    pub fn power_off(&self, machine: &Machine) {
        docker(&["kill", machine.id()]).ok();
    }

    /// What `kato node list` on `asked` tells of the node of this name.
    pub fn node(&self, asked: &Machine, name: &str) -> Value {
        let all = asked.kato_json(&["node", "list"]);
        let all = all.as_array().cloned().unwrap_or_default();
        all.into_iter().find(|node| node["name"] == name).unwrap_or(Value::Null)
    }

    /// Wait until the core says that all is in order.
    #[track_caller]
    pub fn in_order(&self) {
        until("the cluster is in order", LIMIT, || {
            (self.core.kato(&["status"]).code == 0).then_some(())
        });
    }
}
