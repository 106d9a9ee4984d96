//! Measures fence side by side with Docker's own commands in one run, and prints the figures. It asserts no time.
//!
//! `cargo build --release -p fence -p kato && cargo run -p tests --release --bin bench [-- RUNS]`. Whatever is compared takes turns, so that a machine that
//! becomes slower becomes so for both. Processes are started a few in a row, the first of them not counted: Docker's
//! commands leave work behind that whoever comes next would pay for. Ratios are what counts: absolute figures are this
//! machine's.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tests::garden::{ContainerSpec, ProcessSpec};
use tests::harness::{Node, base_image, derived_image, docker, until};
use uuid::Uuid;

const RUNS: usize = 25;
/// How many containers a restarted daemon adopts.
const ADOPTED: usize = 10;
const LIMIT: Duration = Duration::from_secs(60);
/// How many processes are started in a row before it is the other's turn.
const IN_A_ROW: usize = 5;

fn main() -> Result<()> {
    let runs = match std::env::args().nth(1) {
        Some(runs) => runs.parse().context("the number of runs")?,
        None => RUNS,
    };
    let node = Node::fence_only();
    let mut report = Report::new(runs)?;
    process_start(&node, &mut report, runs)?;
    create(&node, &mut report, runs)?;
    restart(&node, &mut report, runs.div_ceil(5))?;
    config_change(&node, &mut report, runs.div_ceil(5))?;
    Ok(())
}

/// Start of a process to its exit, in a container that runs.
fn process_start(node: &Node, report: &mut Report, runs: usize) -> Result<()> {
    let web = node.container(&ContainerSpec::default())?;
    let theirs = DockerContainer::run()?;
    let (mut api, mut kato, mut exec) = (Times::default(), Times::default(), Times::default());
    for _ in 0..runs.div_ceil(IN_A_ROW) {
        api.measure_in_a_row(|| Ok(web.run(&ProcessSpec::new("/bin/true", &[]))?.wait()?))?;
        kato.measure_in_a_row(|| Ok(node.kato(&["container", "run", &web.handle, "--", "/bin/true"]).ok()))?;
        exec.measure_in_a_row(|| Ok(docker::docker(&["exec", &theirs.name, "/bin/true"]).ok()))?;
    }
    report.heading("run /bin/true to its exit")?;
    report.line("docker exec", &exec, None)?;
    report.line("fence, Garden API", &api, Some(&exec))?;
    report.line("fence, kato container run", &kato, Some(&exec))?;
    web.garden.destroy(&web.handle)?;
    Ok(())
}

/// From nothing to a container that runs, and away again.
fn create(node: &Node, report: &mut Report, runs: usize) -> Result<()> {
    let garden = node.garden();
    let (mut api, mut kato, mut theirs) = (Times::default(), Times::default(), Times::default());
    let (mut destroy, mut remove) = (Times::default(), Times::default());
    for _ in 0..runs {
        let handle = api.measure(|| Ok(garden.create(&ContainerSpec::default())?))?;
        destroy.measure(|| Ok(garden.destroy(&handle)?))?;
        let handle = kato.measure(|| Ok(node.kato(&["container", "create", "--start"]).ok()))?;
        destroy.measure(|| Ok(garden.destroy(handle.trim())?))?;
        let container = theirs.measure(DockerContainer::run)?;
        remove.measure(|| {
            drop(container);
            Ok(())
        })?;
    }
    report.heading("create to running")?;
    report.line("docker run -d", &theirs, None)?;
    report.line("fence, Garden create", &api, Some(&theirs))?;
    report.line("fence, kato container create --start", &kato, Some(&theirs))?;
    report.heading("destroy")?;
    report.line("docker rm -f", &remove, None)?;
    report.line("fence, Garden destroy", &destroy, Some(&remove))
}

/// Start of a daemon to its readiness with containers to adopt, after a kill.
fn restart(node: &Node, report: &mut Report, runs: usize) -> Result<()> {
    let garden = node.garden();
    let handles = (0..ADOPTED)
        .map(|_| garden.create(&ContainerSpec::default()))
        .collect::<Result<Vec<_>, _>>()?;
    let mut times = Times::default();
    for _ in 0..runs {
        node.kill_fence();
        times.measure(|| {
            node.start_fence();
            Ok(())
        })?;
    }
    for handle in handles {
        garden.destroy(&handle)?;
    }
    report.heading(&format!("restart after a kill, {ADOPTED} containers adopted"))?;
    report.line("start to ready", &times, None)
}

/// Setting another image to its being in use.
fn config_change(node: &Node, report: &mut Report, runs: usize) -> Result<()> {
    let other = derived_image("ENV A=b");
    let names = [other.name.clone(), base_image()];
    let (mut command, mut effect) = (Times::default(), Times::default());
    for name in names.iter().cycle().take(runs * 2) {
        command.measure(|| Ok(node.kato(&["config", "set", "fence", "docker/image", name]).ok()))?;
        effect.measure(|| {
            until("fence uses the image", LIMIT, || {
                node.status()
                    .ok()
                    .filter(|status| status["image"]["in_use"] == name.as_str())
            });
            Ok(())
        })?;
    }
    report.heading("kato config set fence docker/image")?;
    report.line("the command", &command, None)?;
    report.line("its end to the image in use (asked every 10 ms)", &effect, None)
}

/// A container of Docker's own of the same image, removed when dropped.
struct DockerContainer {
    name: String,
}

impl DockerContainer {
    fn run() -> Result<DockerContainer> {
        let name = format!("bench-{}", Uuid::new_v4());
        docker::docker(&["run", "-d", "--name", &name, &base_image()]).ok();
        Ok(DockerContainer { name })
    }
}

impl Drop for DockerContainer {
    fn drop(&mut self) {
        docker::docker(&["rm", "-f", &self.name]);
    }
}

/// How long something took, each time.
#[derive(Default)]
struct Times {
    all: Vec<Duration>,
}

impl Times {
    fn measure<T>(&mut self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let result = act()?;
        self.all.push(start.elapsed());
        Ok(result)
    }

    fn measure_in_a_row<T>(&mut self, mut act: impl FnMut() -> Result<T>) -> Result<()> {
        act()?;
        for _ in 0..IN_A_ROW {
            self.measure(&mut act)?;
        }
        Ok(())
    }

    /// The time that this part of the runs stayed below, in milliseconds.
    fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.all.clone();
        sorted.sort();
        let at = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len());
        sorted[at - 1].as_secs_f64() * 1e3
    }
}

/// The figures on standard output.
struct Report {
    out: std::io::Stdout,
}

impl Report {
    fn new(runs: usize) -> Result<Report> {
        let mut report = Report { out: std::io::stdout() };
        let docker = docker::docker(&["version", "--format", "{{.Server.Version}}"]).ok();
        writeln!(
            report.out,
            "{runs} runs each, in turns; Docker {}, image {}; milliseconds",
            docker.trim(),
            base_image()
        )?;
        Ok(report)
    }

    fn heading(&mut self, text: &str) -> Result<()> {
        Ok(writeln!(
            self.out,
            "\n{text:<52}{:>9}{:>9}{:>9}",
            "min", "median", "p95"
        )?)
    }

    fn line(&mut self, what: &str, times: &Times, against: Option<&Times>) -> Result<()> {
        let [min, median, p95] = [0.0, 0.5, 0.95].map(|part| times.quantile(part));
        write!(self.out, "  {what:<50}{min:>9.2}{median:>9.2}{p95:>9.2}")?;
        if let Some(against) = against {
            write!(self.out, "   {}", compared(median, against.quantile(0.5)))?;
        }
        Ok(writeln!(self.out)?)
    }
}

fn compared(ours: f64, theirs: f64) -> String {
    if ours < theirs {
        format!("{:.1} times faster", theirs / ours)
    } else {
        format!("{:.2} times as long", ours / theirs)
    }
}
