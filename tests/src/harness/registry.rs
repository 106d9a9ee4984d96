//! A cluster with an image registry, images in it that are made of the base image by a few lines, and for what images are.

use serde_json::Value;

use super::cluster::Cluster;
use super::image::base_image;
use super::machine::Machine;

impl Cluster {
    /// Paired nodes, and a registry on the core, whose Docker has the base image.
    pub fn with_registry() -> Cluster {
        let cluster = Cluster::paired();
        let core = &cluster.core;
        core.run(&["systemctl", "enable", "--now", "docker"]).ok();
        core.load_image(&base_image());
        core.kato(&["registry", "setup"]).ok();
        cluster
    }

    /// Build and publish `exampleco/NAME`: the base image with these lines after it; its whole name.
    #[track_caller]
    pub fn publish(&self, name: &str, lines: &str) -> String {
        let recipe = format!("FROM {}\n{lines}\n", base_image());
        let script = "rm -rf /ctx && mkdir /ctx && printf %s \"$1\" >/ctx/Dockerfile";
        self.core.run(&["sh", "-c", script, "sh", &recipe]).ok();
        let name = format!("exampleco/{name}");
        self.core.kato(&["image", "build", "-t", &name, "/ctx"]).ok();
        let pushed = self.core.kato(&["image", "push", &name]).ok();
        pushed.split_whitespace().next().unwrap_or_default().to_owned()
    }

    /// The image that new containers are made of on a machine, by name, as its fence says.
    pub fn image_in_use(machine: &Machine) -> String {
        // Whether or not all is in order.
        let said = machine.kato(&["status", "-j"]).out();
        let status: Value = serde_json::from_str(&said).unwrap_or_default();
        status["nodes"][0]["image"]["in_use"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

impl Machine {
    /// The architectures of the images under a name in the registry, as `kato image inspect` lists them.
    pub fn platforms_of(&self, name: &str) -> Vec<String> {
        let shown = self.kato_json(&["image", "inspect", name]);
        let images = shown["images"].as_array().cloned().unwrap_or_default();
        let word = |image: &Value| {
            image["platform"]["architecture"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        images.iter().map(word).collect()
    }

    /// The architecture of an image in this machine's engine; "" where it is not there.
    pub fn architecture_of(&self, name: &str) -> String {
        let said = self.run(&["docker", "image", "inspect", "-f", "{{.Architecture}}", name]);
        said.out().trim().to_owned()
    }
}
