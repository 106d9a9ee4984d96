//! Measures how soon many agents have seen a config change, and have confirmed it, on one real etcd, and prints the figures. It
//! asserts no time.
//!
//! `cargo run -p tests --release --bin agents [-- AGENTS [RUNS]]`. Every simulated agent is what a node's is to the
//! store: a connection of its own with its own certificate through the gateway, a lease that it keeps alive, a watch on the
//! configuration, and a report that it writes a moment after something changed. The administrator's change goes through the tree like
//! any other, with its check and its history. etcd is Debian's, at its socket, alone on its disk but for what else the machine
//! does; agents and gateway are in this program.

mod store;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cluster::config::{Author, Component, Config, KeyPath, Name, Target};
use cluster::store::etcd::gateway::{Grant, Keys, Right};
use cluster::store::{Event, Page, Revision, Store, Txn};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::mpsc;
use tokio::time::{interval, sleep_until, timeout};

use self::store::Etcd;

const AGENTS: usize = 1000;
const RUNS: usize = 20;
/// What a lease of an agent lasts, and how often it is kept alive.
const LEASE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3));
/// How long an agent waits for more changes before it reports, as kato's agent does.
const GATHER: Duration = Duration::from_millis(100);
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
    let stores = etcd.guests((0..agents).map(|number| (format!("n{number}"), rights(number))))?;
    for (number, store) in stores.into_iter().enumerate() {
        // Each says when it watches, so that no change comes before somebody's watch.
        let agent = agent(store, number, seen_sender.clone()).await;
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

/// What a node's agent may do.
fn rights(number: usize) -> Vec<Grant> {
    let prefix = |prefix: &str, right| Grant {
        keys: Keys::Prefix(prefix.to_owned()),
        right,
    };
    vec![
        prefix("config/", Right::Read),
        prefix(&format!("state/{number}/"), Right::Write),
    ]
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
        let mut due = None;
        loop {
            tokio::select! {
                changes = watch.next() => {
                    let Ok(changes) = changes else { return };
                    // Whoever measures is gone when the program ends.
                    let _ = seen.send(Instant::now());
                    due = Some((Instant::now() + GATHER, changes.revision));
                }
                () = until(due) => {
                    let revision = due.take().map_or(0, |(_, revision)| revision);
                    let report = Txn::new().put(format!("state/{number}/report"), revision.to_string());
                    if store.txn(report).await.is_err() { return }
                }
                _ = beat.tick() => {
                    if store.keep_alive(lease).await.is_err() { return }
                }
            }
        }
    })
}

async fn until(due: Option<(Instant, Revision)>) {
    match due {
        Some((at, _)) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// For each change how long it took until the last agent had seen it, and until the last had said so; sorted.
async fn measure(
    etcd: &Etcd,
    agents: usize,
    runs: usize,
    mut seen: mpsc::UnboundedReceiver<Instant>,
) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let config = Config::new(etcd.administrator("administrator")?, Name::new("administrator")?);
    let target = Target::key(&Component::new("fence")?, &KeyPath::parse("max_containers")?)?;
    let author = Author {
        who: "root".to_owned(),
        command: "kato config set".to_owned(),
    };
    let observer = etcd.administrator("observer")?;
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
