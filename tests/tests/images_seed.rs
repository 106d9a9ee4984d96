//! Both procedures that an administrator of such a cluster once went through by hand for an image of their own, line by line as they
//! were written: built on every DEA, and built once and fetched from a registry that is run by hand on the core. Then the same end by
//! today's commands.
//!
//! What is typed and answered goes to standard error; `docs/images-by-hand.md` shows it, and what had to be another word and why.

use serde_json::Value;
use tests::harness::{Cluster, LIMIT, Machine, base_image, until};

type Story = anyhow::Result<()>;

/// What the text pulls from Docker's own registry.
const REGISTRY: &str = "samalba/docker-registry";

/// Type a line as the text has it, in `~/newimg` once that is there; the answer is all that the terminal shows. A machine has no
/// `sudo` and needs none, since who types is root.
#[track_caller]
fn types(machine: &Machine, line: &str) -> String {
    let shell = format!("exec 2>&1; sudo() {{ \"$@\"; }}; [ ! -d ~/newimg ] || cd ~/newimg; {line}");
    let answer = machine.run(&["sh", "-c", &shell]).ok();
    eprintln!("{}# {line}\n{answer}", machine.name());
    answer
}

/// The first three steps: a directory, the image that is in use, and a Dockerfile on top of it. Installing a package would take a
/// network; a file is written instead.
#[track_caller]
fn write_dockerfile(machine: &Machine, mark: &str) {
    types(machine, "mkdir ~/newimg\ncd ~/newimg");
    let current = types(machine, "kato config get fence docker/image");
    assert_eq!(current.trim(), base_image());
    let current = current.trim();
    types(
        machine,
        &format!("cat >Dockerfile <<'END'\nFROM {current}\nRUN echo {mark} > /etc/newimg\nCMD [\"start.sh\"]\nEND"),
    );
}

/// Done once: the configuration is shared with all nodes. The answer is the text's own.
#[track_caller]
fn configure(core: &Machine, image: &str) {
    let answer = types(core, &format!("kato config set fence docker/image {image}"));
    assert_eq!(answer, format!("WARNING: Assumed type string\n{image}\n"));
}

/// The last step on a DEA, and what it was all for.
#[track_caller]
fn restart_and_use(dea: &Machine, image: &str, mark: &str, handle: &str) {
    let before = dea.ready("fence");
    types(dea, "kato process restart fence");
    assert_ne!(dea.ready("fence"), before);
    let said = format!("{image} (in use: {image}, ok)");
    until(&format!("{image} is in use on {}", dea.name()), LIMIT, || {
        dea.kato(&["status"]).out().contains(&said).then_some(())
    });
    let status = types(dea, "kato status");
    assert!(status.contains("All is in order."), "{status}");
    types(dea, &format!("kato container create --start --handle {handle}"));
    let content = types(dea, &format!("kato container run {handle} -- cat /etc/newimg"));
    assert_eq!(content.trim(), mark);
    let made = dea.kato_json(&["container", "info", handle]);
    assert_eq!((&made["image"], &made["state"]), (&image.into(), &"active".into()));
}

/// Image ids of the DEAs, in their order.
fn ids(cluster: &Cluster, image: &str) -> [String; 2] {
    let inspect = ["docker", "image", "inspect", "-f", "{{.Id}}", image];
    cluster.deas().map(|dea| dea.run(&inspect).ok())
}

/// "Modifying or Updating the Container Image", on all nodes with the role dea.
fn on_every_dea(cluster: &Cluster) {
    let image = "exampleco/newimg:1.0.0";
    for dea in cluster.deas() {
        write_dockerfile(dea, "1.0.0");
        // The text forgets the directory, which Docker wants to know.
        types(dea, &format!("sudo docker build -t {image} ."));
    }
    configure(&cluster.core, image);
    for dea in cluster.deas() {
        restart_and_use(dea, image, "1.0.0", "by-hand");
    }
    let [first, second] = ids(cluster, image);
    assert_ne!(first, second, "two builds, two images");
}

/// "Creating a Docker Registry": one build for all nodes.
fn through_a_registry(cluster: &Cluster) {
    let core = &cluster.core;
    let location = run_registry(core);
    is_nobodys(cluster, &location);
    log_in(cluster, &location);
    write_dockerfile(core, "registry");
    let image = format!("{location}/newimg:1.0.0");
    types(core, &format!("sudo docker build -t {image} ."));
    fetch_and_use(cluster, &image, "by-registry");
    let [first, second] = ids(cluster, &image);
    assert_eq!(first, second, "one build, one image");
    // Later editions keep the organisation in the name; an image that is there is given that one.
    let named = format!("{location}/exampleco/newimg");
    types(core, &format!("sudo docker tag {image} {named}"));
    fetch_and_use(cluster, &named, "by-tag");
    assert_eq!(ids(cluster, &named), [first, second]);
    only_who_may(cluster, &image);
}

/// Run a registry on the core, and tell where it is: the cluster's endpoint and the port that Docker chose.
fn run_registry(core: &Machine) -> String {
    core.run(&["systemctl", "start", "docker"]).ok();
    core.load_image(&base_image());
    // In place of its `docker pull`: a test machine reaches no other registry.
    assert_eq!(
        types(core, &format!("kato registry pack {REGISTRY}")).trim(),
        format!("{REGISTRY}:latest")
    );
    // The Docker of the text published every port that an image exposes, today's only what it is told to.
    let container = types(core, &format!("sudo docker run -d -p 5000 {REGISTRY}"));
    let port = types(core, &format!("sudo docker port {} 5000", &container[..12]));
    let port = port.lines().next().and_then(|line| line.rsplit(':').next());
    let endpoint = types(core, "kato config get cluster endpoint");
    format!("{}:{}", endpoint.trim(), port.unwrap_or_default())
}

/// Until who runs it says so it is nobody's: there is nothing without TLS, and no Docker believes its certificate.
fn is_nobodys(cluster: &Cluster, location: &str) {
    until("dea1 does not believe it", LIMIT, || {
        let early = cluster
            .one
            .run(&["docker", "pull", &format!("{location}/newimg:1.0.0")]);
        assert_ne!(early.code, 0);
        early
            .err()
            .contains("certificate signed by unknown authority")
            .then_some(())
    });
}

/// What the text did not need: a Docker of today wants TLS and an account, and both come with kato's login on the core.
fn log_in(cluster: &Cluster, location: &str) {
    let core = &cluster.core;
    let said = types(core, &format!("kato registry login {location}"));
    assert_eq!(said.trim(), format!("root's Docker is logged in at {location}"));
    let knows = "test -s \"/etc/docker/certs.d/$1/ca.crt\" && grep -q \"\\\"$1\\\"\" /root/.docker/config.json";
    for machine in [core, &cluster.one, &cluster.two] {
        until(&format!("{} knows the registry", machine.name()), LIMIT, || {
            (machine.run(&["sh", "-c", knows, "sh", location]).code == 0).then_some(())
        });
    }
    let status = types(core, "kato registry status");
    assert!(status.contains("It answers."), "{status}");
}

/// A node's account pulls and does not push, and who has none does neither.
fn only_who_may(cluster: &Cluster, image: &str) {
    let dea = &cluster.one;
    dea.run(&["docker", "push", image]).refused(1, "denied");
    let stranger = "docker --config /nowhere";
    for verb in ["pull", "push"] {
        let said = dea.run(&["sh", "-c", &format!("{stranger} {verb} {image}")]);
        assert_ne!(said.code, 0, "{verb}");
        let words = said.err();
        assert!(
            words.contains("authentication required") || words.contains("unauthorized"),
            "{words}"
        );
    }
}

/// Publish it from the core, fetch it on all DEAs, and use it.
fn fetch_and_use(cluster: &Cluster, image: &str, handle: &str) {
    types(&cluster.core, &format!("sudo docker push {image}"));
    for dea in cluster.deas() {
        types(dea, &format!("sudo docker pull {image}"));
    }
    configure(&cluster.core, image);
    for dea in cluster.deas() {
        restart_and_use(dea, image, "registry", handle);
    }
}

/// The same end by today's commands: nothing is done on the DEAs.
fn by_commands(cluster: &Cluster) {
    let core = &cluster.core;
    types(core, "kato registry down");
    types(core, "registry-bootstrap up");
    let recipe = format!(
        "FROM {}\nRUN echo commands > /etc/newimg\nCMD [\"start.sh\"]",
        base_image()
    );
    types(core, &format!("cat >Dockerfile <<'END'\n{recipe}\nEND"));
    types(core, "kato image build -t exampleco/newimg:1.0.0 .");
    types(core, "kato image push exampleco/newimg:1.0.0");
    types(core, "kato image rollout --restart exampleco/newimg:1.0.0");
    // The name, and the digest that decides.
    let image = types(core, "kato config get fence docker/image");
    let image = image.trim();
    assert!(image.starts_with("core:5000/exampleco/newimg:1.0.0@sha256:"), "{image}");
    for dea in cluster.deas() {
        restart_and_use(dea, image, "commands", "by-commands");
    }
    let [first, second] = ids(cluster, image);
    assert_eq!(first, second, "one build, one image");
}

/// A container that was there before, as it is now: which it is, that it runs, and what runs in it.
fn old(dea: &Machine) -> [Value; 3] {
    let shown = dea.kato_json(&["container", "info", "old"]);
    ["engine_id", "state", "processes"].map(|fact| shown[fact].clone())
}

#[test]
fn both_procedures_work_as_they_were_written() -> Story {
    let cluster = Cluster::paired();
    for dea in cluster.deas() {
        dea.kato(&["container", "create", "--start", "--handle", "old"]).ok();
    }
    let before = cluster.deas().map(old);
    assert!(before.iter().all(|[_, state, _]| state == "active"), "{before:?}");
    on_every_dea(&cluster);
    // The other one begins where this one did.
    cluster.core.kato(&["config", "del", "fence", "docker/image"]).ok();
    for dea in cluster.deas() {
        let said = format!("(in use: {}, ok)", base_image());
        until("the base image is in use again", LIMIT, || {
            dea.kato(&["status"]).out().contains(&said).then_some(())
        });
    }
    through_a_registry(&cluster);
    by_commands(&cluster);
    assert_eq!(
        cluster.deas().map(old),
        before,
        "what ran before is left alone by all of it"
    );
    Ok(())
}
