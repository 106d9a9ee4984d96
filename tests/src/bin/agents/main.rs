//! Measures how soon many agents have seen a config change, and have confirmed it, on one real etcd, and prints the figures. It
//! asserts no time.
//!
//! `cargo run -p tests --release --bin agents [-- AGENTS [RUNS]]`. Every simulated agent is what a node's is to the
//! store: a connection of its own, a lease that it keeps alive, a watch on the configuration, and a report that it writes
//! when something changed. The administrator's change goes through the tree like any other, with its check and its
//! history. etcd is Debian's, on loopback, alone on its disk but for what else the machine does.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cluster::config::{Author, Component, Config, KeyPath, Name, Target};
use cluster::store::etcd::{Endpoints, EtcdStore};
use cluster::store::{Event, Page, Store, Txn};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::mpsc;
use tokio::time::{interval, sleep, timeout};

const AGENTS: usize = 1000;
const RUNS: usize = 20;
/// What a lease of an agent lasts, and how often it is kept alive.
const LEASE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3));
/// How long anything may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (agents, runs) = (
        number(AGENTS).context("how many agents")?,
        number(RUNS).context("how many runs")?,
    );
    if agents == 0 || runs == 0 {
        bail!("nothing to measure with {agents} agents and {runs} runs");
    }
    allow_descriptors()?;
    let etcd = Etcd::start().await?;
    let (seen_sender, seen) = mpsc::unbounded_channel();
    let alone = etcd.memory()?;
    let start = Instant::now();
    for number in 0..agents {
        // Each says when it watches, so that no change comes before somebody's watch.
        let agent = agent(etcd.store(), number, seen_sender.clone()).await;
        tokio::spawn(agent.with_context(|| format!("agent {number}"))?);
    }
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{agents} agents connected in {:.1} s",
        start.elapsed().as_secs_f64()
    )?;
    let (seen, confirmed) = measure(&etcd, agents, runs, seen).await?;
    writeln!(
        out,
        "\n{runs} changes, milliseconds{:>26}{:>9}{:>9}",
        "min", "median", "max"
    )?;
    for (what, times) in [
        ("until the last has seen it", seen),
        ("until the last has confirmed it", confirmed),
    ] {
        let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize].as_secs_f64() * 1e3;
        writeln!(out, "  {what:<40}{:>9.1}{:>9.1}{:>9.1}", at(0.0), at(0.5), at(1.0))?;
    }
    writeln!(
        out,
        "\netcd's memory: {alone} MiB alone, {} MiB with all",
        etcd.memory()?
    )?;
    Ok(())
}

/// An agent that watches already, to be run.
async fn agent(
    store: Arc<dyn Store>,
    number: usize,
    seen: mpsc::UnboundedSender<Instant>,
) -> Result<impl Future<Output = ()>> {
    let lease = store.grant(LEASE.0).await?;
    store
        .txn(Txn::new().put_leased(format!("state/{number}/alive"), "{}", lease))
        .await?;
    let revision = store
        .range(
            "config/",
            Page {
                limit: 1,
                descending: false,
            },
        )
        .await?
        .revision;
    let mut watch = store.watch("config/", revision).await?;
    Ok(async move {
        let mut beat = interval(LEASE.1);
        loop {
            tokio::select! {
                changes = watch.next() => {
                    let Ok(changes) = changes else { return };
                    // Whoever measures is gone when the program ends.
                    let _ = seen.send(Instant::now());
                    let report = Txn::new().put(format!("state/{number}/report"), changes.revision.to_string());
                    if store.txn(report).await.is_err() { return }
                }
                _ = beat.tick() => {
                    if store.keep_alive(lease).await.is_err() { return }
                }
            }
        }
    })
}

/// For each change how long it took until the last agent had seen it, and until the last had said so; sorted.
async fn measure(
    etcd: &Etcd,
    agents: usize,
    runs: usize,
    mut seen: mpsc::UnboundedReceiver<Instant>,
) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let config = Config::new(etcd.store(), Name::new("administrator")?);
    let target = Target::key(&Component::new("fence")?, &KeyPath::parse("max_containers")?)?;
    let author = Author {
        who: "root".to_owned(),
        command: "kato config set".to_owned(),
    };
    let observer = etcd.store();
    let (mut all_seen, mut all_confirmed) = (Vec::new(), Vec::new());
    for run in 0..runs {
        let revision = observer
            .range(
                "state/",
                Page {
                    limit: 1,
                    descending: false,
                },
            )
            .await?
            .revision;
        let mut reports = observer.watch("state/", revision).await?;
        let start = Instant::now();
        let changed = config.set(&target, serde_json::json!(run + 1), false, &author).await?;
        let wanted = changed.revision.to_string().into_bytes();
        let mut last = start;
        for _ in 0..agents {
            last = last.max(timeout(PATIENCE, seen.recv()).await?.context("an agent is gone")?);
        }
        let mut confirmed = 0;
        while confirmed < agents {
            let changes = timeout(PATIENCE, reports.next()).await??;
            confirmed += changes
                .events
                .iter()
                .filter(|event| matches!(event, Event::Put { value, .. } if *value == wanted))
                .count();
        }
        all_confirmed.push(start.elapsed());
        all_seen.push(last - start);
    }
    all_seen.sort();
    all_confirmed.sort();
    Ok((all_seen, all_confirmed))
}

/// A connection for each agent, on both sides.
fn allow_descriptors() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}

/// A real etcd on loopback, ended with the measurement.
struct Etcd {
    process: Child,
    url: String,
    _directory: tempfile::TempDir,
}

impl Etcd {
    async fn start() -> Result<Etcd> {
        let directory = tempfile::tempdir()?;
        let free = || Ok::<u16, std::io::Error>(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
        let (url, peer) = (
            format!("http://127.0.0.1:{}", free()?),
            format!("http://127.0.0.1:{}", free()?),
        );
        let process = Command::new("etcd")
            .args(["--name", "one", "--data-dir"])
            .arg(directory.path().join("data"))
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("one={peer}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("could not start etcd: apt-get install etcd-server")?;
        let etcd = Etcd {
            process,
            url,
            _directory: directory,
        };
        let store = etcd.store();
        timeout(PATIENCE, async {
            while store
                .range(
                    "",
                    Page {
                        limit: 1,
                        descending: false,
                    },
                )
                .await
                .is_err()
            {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .context("etcd did not answer")?;
        Ok(etcd)
    }

    /// A connection of its own.
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(EtcdStore::new(Endpoints::Given(vec![self.url.clone()]), None))
    }

    /// What it has in memory, in MiB.
    fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
