//! The node as an image: run by Docker alone it is a micro cloud, or a node of a cluster, and its apps outlive it.

use std::time::Duration;

use serde_json::Value;
use tests::harness::docker::{self, docker};
use tests::harness::{
    Captured, Cluster, LIMIT, Machine, Network, Node, base_image, is_alive, kill_hard, node_image, page, until,
};

type Story = anyhow::Result<()>;

/// What a node needs of Docker when all that it keeps is below a root of its own.
const OPTIONS: &[&str] = &[
    "--network=host",
    "--pid=host",
    "--cap-add=NET_ADMIN",
    "--security-opt=systempaths=unconfined",
    "--security-opt=apparmor=unconfined",
    "-v=/var/run/docker.sock:/var/run/docker.sock",
];

/// A node that is a container of this machine's Docker. Its files are where this machine's own programs find them, too.
struct Boxed {
    /// Dropped after the container: it takes away what the node has made.
    node: Node,
    name: String,
}

impl Boxed {
    /// Started with this command.
    fn run(command: &[&str]) -> Boxed {
        let node = Node::bare();
        let name = format!("fence-test-node-{}", node.first_port);
        let boxed = Boxed { node, name };
        boxed.start(command);
        boxed
    }

    /// `docker run HOW… IMAGE COMMAND…` for this node.
    #[track_caller]
    fn docker_run(&self, how: &[&str], command: &[&str]) -> Captured {
        let root = self.node.root().display();
        let (mount, variable) = (format!("-v={root}:{root}"), format!("-e=KATO_ROOT={root}"));
        let own = ["run", mount.as_str(), variable.as_str()];
        docker(&[&own, how, OPTIONS, &[&node_image()], command].concat())
    }

    /// A new container of the same node.
    #[track_caller]
    fn start(&self, command: &[&str]) {
        self.docker_run(&["-d", "--name", &self.name], command).ok();
    }

    #[track_caller]
    fn remove(&self) {
        docker(&["rm", "-f", &self.name]).ok();
    }

    /// `kato ARGS…` in it.
    #[track_caller]
    fn kato(&self, args: &[&str]) -> Captured {
        docker(&[&["exec", &self.name, "kato"], args].concat())
    }

    /// The pid of its agent; 0 = none answers.
    fn agent(&self) -> i32 {
        let listed = serde_json::from_str::<Value>(&self.kato(&["process", "list", "-j", "agent"]).out());
        let pid = listed.ok().and_then(|listed| listed[0]["pid"].as_i64());
        pid.and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0)
    }

    /// Wait until its agent and its fence do what they are for; fence's pid.
    #[track_caller]
    fn ready(&self) -> i32 {
        until("the agent in the container answers", LIMIT, || {
            (self.kato(&["process", "list"]).code == 0).then_some(())
        });
        self.kato(&["process", "ready", "--block", "60", "fence"]).ok();
        self.node.fence_pid()
    }

    /// When its container was last started.
    fn since(&self) -> String {
        docker::inspect(&self.name)["State"]["StartedAt"].to_string()
    }
}

impl Drop for Boxed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = docker(&["logs", &self.name]);
            eprintln!("---- the node's container\n{}{}", logs.out(), logs.err());
        }
        docker(&["rm", "-f", &self.name]);
    }
}

#[test]
fn what_is_in_the_image_is_told_and_what_a_container_lacks() -> Story {
    let image = node_image();
    let version = |options: &[&str]| docker(&[&["run", "--rm"], options, &[&image, "version"]].concat()).ok();
    let told = version(&["-v=/var/run/docker.sock:/var/run/docker.sock"]);
    let line = |name: &str| {
        let found = told.lines().find_map(|line| line.strip_prefix(name));
        found.map(str::trim).unwrap_or_default().to_owned()
    };
    for part in ["fence  ", "kato", "registry-bootstrap"] {
        assert_eq!(line(part), env!("CARGO_PKG_VERSION"), "{part} in\n{told}");
    }
    assert_eq!(line("architecture"), std::env::consts::ARCH);
    assert!(
        line("kernel").starts_with("Linux ") && line("operating system").contains("Debian"),
        "{told}"
    );
    assert!(line("docker").contains("(API 1."), "{told}");
    assert!(version(&[]).contains("no Docker engine answers"));

    let bare = docker(&["run", "--rm", &image, "standalone"]).expect_code(3);
    for option in docker(&["run", "--rm", &image, "options"]).ok().split_whitespace() {
        let is_named = bare.err().contains(option);
        // These make a node better and are missed by none.
        let more = [
            "/run:/run:rslave",
            "/var/log/kato",
            "/etc/docker",
            "/root/.docker",
            "apparmor",
        ];
        assert!(
            is_named || more.iter().any(|more| option.contains(more)),
            "{option} in\n{}",
            bare.err()
        );
    }
    let volume = ["-v=fence-test-volume:/srv/node", "-e=KATO_ROOT=/srv/node"];
    let run = [&["run", "--rm"], OPTIONS, &volume, &[&image, "standalone"]].concat();
    let said = docker(&run).expect_code(3);
    docker(&["volume", "rm", "-f", "fence-test-volume"]).ok();
    assert!(said.err().contains("-v /srv/node:/srv/node"), "{}", said.err());
    Ok(())
}

#[test]
fn a_container_is_a_node_and_its_apps_outlive_it() -> Story {
    let boxed = Boxed::run(&["standalone", "--name", "boxed"]);
    let node = &boxed.node;
    boxed.ready();
    let first = node.first_port.to_string();
    boxed.kato(&["config", "set", "fence", "ports/first", &first]).ok();
    boxed.kato(&["config", "set", "fence", "ports/count", "32"]).ok();
    let before = boxed.since();
    boxed.kato(&["process", "restart", "agent", "fence"]).ok();
    let agent = boxed.agent();
    kill_hard(agent);
    until("there is an agent again", LIMIT, || {
        (![0, agent].contains(&boxed.agent())).then_some(())
    });
    assert_eq!(
        boxed.since(),
        before,
        "the container goes on when its agent is replaced"
    );
    let listed = boxed.kato(&["process", "list", "-j", "docker"]).ok();
    assert!(listed.contains("\"external\""), "{listed}");
    let told = docker(&["exec", &boxed.name, "fence-node", "version"]).ok();
    let init = told.lines().find_map(|line| line.strip_prefix("fence-init"));
    assert!(
        boxed.kato(&["version"]).ok().contains(init.unwrap_or("?").trim()),
        "{told}"
    );

    boxed
        .kato(&["container", "create", "--start", "--handle", "web", "--port", "8080"])
        .ok();
    let address = format!("127.0.0.1:{first}");
    let answers = || until("the app answers", LIMIT, || page(&address));
    assert!(answers().contains("It works"));
    let ran = boxed.kato(&["container", "run", "web", "--", "sh", "-c", "hostname; exit 7"]);
    assert_eq!(ran.expect_code(7).out(), "web\n");
    let app = node.first_pid("web");

    let here_again = |fence: i32| {
        assert_ne!(boxed.ready(), fence);
        assert_eq!(node.first_pid("web"), app, "the app is the same");
        let ran = boxed.kato(&["container", "run", "web", "--", "echo", "here"]);
        assert_eq!(ran.ok(), "here\n");
        boxed.kato(&["status"]).ok();
    };
    let fence = boxed.ready();
    docker(&["restart", &boxed.name]).ok();
    here_again(fence);

    let fence = boxed.ready();
    docker(&["kill", "-s", "KILL", &boxed.name]).ok();
    until("fence is gone with its container", LIMIT, || {
        (!is_alive(fence)).then_some(())
    });
    assert!(is_alive(app) && answers().contains("It works"));
    docker(&["start", &boxed.name]).ok();
    here_again(fence);

    // A new image is a new container; what the node is stays as it is.
    let fence = boxed.ready();
    boxed.remove();
    boxed.start(&["attach", "core.invalid"]);
    here_again(fence);
    let logs = docker(&["logs", &boxed.name]).err();
    assert!(logs.contains("this is a micro cloud, and goes on as one"), "{logs}");

    // Nobody else is the agent of the same node meanwhile.
    let said = boxed.docker_run(&["--rm"], &["standalone"]).expect_code(3);
    assert!(said.err().contains("runs already"), "{}", said.err());
    boxed.kato(&["container", "destroy", "web"]).ok();
    assert_eq!(node.containers_in_docker(), Vec::<String>::new());
    Ok(())
}

/// `kato ARGS…` in the container `node` of a machine's own engine.
#[track_caller]
fn kato(machine: &Machine, args: &[&str]) -> Captured {
    machine.run(&[&["docker", "exec", "node", "kato"], args].concat())
}

/// A machine with Docker, whose containers outlive it, and nothing of Fence but the images.
fn with_docker(network: &Network, name: &str) -> Machine {
    let machine = network.machine(name);
    let settings = "mkdir -p /etc/docker && echo '{\"live-restore\": true}' >/etc/docker/daemon.json";
    machine.run(&["sh", "-c", settings]).ok();
    machine.run(&["systemctl", "enable", "--now", "docker"]).ok();
    machine.load_image(&node_image());
    machine.load_image(&base_image());
    machine
}

#[test]
fn a_container_is_a_node_of_a_cluster_once_it_is_paired() -> Story {
    let network = Network::new();
    let (core, edge) = std::thread::scope(|scope| {
        let edge = scope.spawn(|| with_docker(&network, "edge"));
        let core = network.machine("core");
        core.kato(&["node", "setup", "core", "core"]).ok();
        core.run(&["systemctl", "start", "docker"]).ok();
        core.load_image(&base_image());
        core.kato(&["registry", "setup"]).ok();
        (
            core,
            edge.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        )
    });
    let ca = core.kato_json(&["info"])["cluster"]["ca"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let image = node_image();
    let run = format!(
        "docker run -d --name node --restart unless-stopped $(docker run --rm {image} options) \
         {image} attach --ca-fingerprint {ca} core"
    );
    edge.run(&["sh", "-c", &run]).ok();

    // It asks, and is nobody until it is paired.
    let asks = until("the node asks", LIMIT, || {
        let pending = core.kato_json(&["node", "pending"]);
        pending[0]["fingerprint"].as_str().map(str::to_owned)
    });
    let unpaired = until("its log says what to do", LIMIT, || {
        let said = edge.run(&["docker", "logs", "node"]).err();
        said.contains(&format!("kato node pair {asks}")).then_some(said)
    });
    assert!(unpaired.contains("this node is unpaired"), "{unpaired}");
    let refused = kato(&edge, &["node", "list"]).expect_code(5);
    assert!(refused.err().contains("unpaired"), "{}", refused.err());
    core.kato(&["node", "pair", &asks, "default", "edge1"]).ok();
    until("the node is in and alive", LIMIT, || {
        let nodes = core.kato(&["node", "list"]).out();
        let is_it = |line: &str| line.contains(" edge1 ") && line.ends_with("alive");
        nodes.lines().any(is_it).then_some(())
    });

    kato(&edge, &["process", "ready", "--block", "60", "fence"]).ok();
    kato(&edge, &["container", "create", "--start", "--handle", "web"]).ok();
    let runs = || kato(&edge, &["container", "run", "web", "--", "echo", "here"]).ok();
    assert_eq!(runs(), "here\n");
    core.kato(&["process", "restart", "-n", "edge1", "fence"]).ok();
    assert_eq!(runs(), "here\n");
    edge.run(&["docker", "restart", "node"]).ok();
    until("the node is in order again", LIMIT, || {
        (kato(&edge, &["status"]).code == 0).then_some(())
    });
    assert_eq!(runs(), "here\n");

    // Its Docker pulls from the cluster's registry.
    let image = format!("core:5000/{}", base_image());
    for push in [
        ["docker", "tag", &base_image(), &image].as_slice(),
        &["docker", "push", &image],
    ] {
        core.run(push).ok();
    }
    core.kato(&["config", "set", "fence", "docker/image", &image]).ok();
    until("new containers are made of the published image", LIMIT, || {
        kato(&edge, &["container", "create", "--handle", "pulled"]);
        let listed = kato(&edge, &["container", "list"]).out();
        let made = listed
            .lines()
            .any(|line| line.starts_with("pulled") && line.contains(&image));
        kato(&edge, &["container", "destroy", "pulled"]);
        made.then_some(())
    });

    // Docker itself comes again, at a new socket, and the node finds it there.
    let before = edge.run(&["docker", "inspect", "-f", "{{.State.Pid}}", "node"]).ok();
    edge.run(&["systemctl", "restart", "docker.socket", "docker.service"])
        .ok();
    until("a further container is made", Duration::from_secs(60), || {
        (kato(&edge, &["container", "create"]).code == 0).then_some(())
    });
    let after = edge.run(&["docker", "inspect", "-f", "{{.State.Pid}}", "node"]).ok();
    assert_eq!(after, before, "the node's container went on");

    // The machine boots: Docker starts the node, and the node the app.
    edge.reboot();
    until("the app runs again", Duration::from_secs(60), || {
        let listed = kato(&edge, &["container", "list"]).out();
        let active = listed
            .lines()
            .any(|line| line.starts_with("web ") && line.contains("active, started"));
        (active && kato(&edge, &["status"]).code == 0).then_some(())
    });
    assert_eq!(runs(), "here\n");
    Ok(())
}

#[test]
fn one_name_has_the_node_for_each_architecture() -> Story {
    let cluster = Cluster::with_registry();
    let (core, dea) = (&cluster.core, &cluster.one);
    let version = env!("CARGO_PKG_VERSION");
    let tags = ["amd64", "arm64"].map(|architecture| format!("fence/node:{version}-slim-{architecture}"));
    core.load_image(&node_image());
    core.kato(&["image", "tag", &node_image(), &tags[0]]).ok();
    // The same files for a machine that is not here: what it says of itself is another architecture.
    let recipe = "set -e; mkdir /ctx-node; cd /ctx-node; docker create --name files \"$1\" >/dev/null
docker export files >node.tar; docker rm files >/dev/null
printf 'FROM scratch\\nADD node.tar /\\nENTRYPOINT [\"fence-node\"]\\n' >Dockerfile";
    core.run(&["sh", "-c", recipe, "sh", &node_image()]).ok();
    let build = ["--platform", "linux/arm64", "-t", &tags[1], "/ctx-node"];
    core.kato(&[&["image", "build"], build.as_slice()].concat()).ok();
    let pushed = core.kato(&["image", "push", &tags[0], &tags[1]]).ok();
    assert_eq!(pushed.lines().count(), 2, "{pushed}");

    let name = format!("fence/node:{version}-slim");
    let create = [
        "image", "index", "create", &name, "--from", &tags[0], "--from", &tags[1],
    ];
    let made = core.kato(&create).ok();
    assert!(made.starts_with(&format!("core:5000/{name} sha256:")), "{made}");
    eprintln!("{made}{}", core.kato(&["image", "inspect", &name]).ok());
    assert_eq!(core.platforms_of(&name), ["amd64", "arm64"]);

    // A node of the one name gets its own, and that one runs.
    let name = format!("core:5000/{name}");
    until("dea1 has pulled the name", LIMIT, || {
        (dea.run(&["docker", "pull", &name]).code == 0).then_some(())
    });
    assert_eq!(dea.architecture_of(&name), "amd64");
    let socket = "/var/run/docker.sock:/var/run/docker.sock";
    let told = dea.run(&["docker", "run", "--rm", "-v", socket, &name, "version"]).ok();
    eprintln!("{told}");
    for part in ["kato", "fence ", "registry-bootstrap"] {
        let line = told.lines().find(|line| line.starts_with(part)).unwrap_or_default();
        assert!(line.ends_with(version), "{part} in\n{told}");
    }
    assert!(told.contains("fence-init") && told.contains("x86_64"), "{told}");
    Ok(())
}
