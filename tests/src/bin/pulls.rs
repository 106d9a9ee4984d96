//! Measures how long it takes until N nodes have pulled an image, and what the core sends meanwhile at its peak, in waves and all at
//! once, and prints the figures. It asserts no time.
//!
//! `cargo run -p tests --bin pulls [-- MEBIBYTES]`. The nodes are machines as in the stories, on one host: there is no wire between
//! them but the kernel, so the figures are for comparing with each other. Each run has an image of its own, of random bytes.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tests::harness::{Cluster, Machine};

/// How many nodes.
const NODES: [usize; 3] = [2, 4, 8];
/// How large the image is, in MiB.
const SIZE: usize = 128;
/// How often it is looked how much was sent.
const SAMPLE: Duration = Duration::from_millis(100);

fn main() -> Result<()> {
    let size = std::env::args().nth(1).map_or(Ok(SIZE), |text| text.parse());
    let size = size.context("how many MiB the image has")?;
    let cluster = Cluster::with_registry();
    let mut more = Vec::new();
    let mut out = std::io::stdout();
    writeln!(
        out,
        "an image of {size} MiB\n\n{:<24}{:>12}{:>18}",
        "", "seconds", "peak in MiB/s"
    )?;
    for nodes in NODES {
        while more.len() + 2 < nodes {
            let machine = cluster.network.machine(&format!("dea{}", more.len() + 3));
            cluster.attach(&machine);
            machine.ready("fence");
            more.push(machine);
        }
        let half = format!("in waves of {}", nodes / 2);
        for (wave, how) in [(nodes / 2, half.as_str()), (nodes, "all at once")] {
            let (seconds, peak) = pull(&cluster, &format!("pulls:{nodes}-{wave}"), size, wave)?;
            writeln!(
                out,
                "{:<24}{seconds:>12.1}{peak:>18.0}",
                format!("{nodes} nodes, {how}")
            )?;
        }
    }
    Ok(())
}

/// Have all nodes pull a new image: the seconds it takes, and the MiB a second that the core sends at its peak.
fn pull(cluster: &Cluster, name: &str, size: usize, wave: usize) -> Result<(f64, f64)> {
    let core = &cluster.core;
    let name = cluster.publish(
        name,
        &format!("LABEL run={name}\nRUN dd if=/dev/urandom of=/random bs=1M count={size} 2>/dev/null"),
    );
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let peak = scope.spawn(|| peak(core, &is_over));
        let begun = Instant::now();
        core.kato(&["image", "pull", &name, "--wave", &wave.to_string()]).ok();
        let seconds = begun.elapsed().as_secs_f64();
        is_over.store(true, Ordering::Relaxed);
        let peak = peak.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((seconds, peak))
    })
}

/// The most that a machine sends in a second, in MiB, until it is over.
fn peak(machine: &Machine, is_over: &AtomicBool) -> Result<f64> {
    let (mut last, mut at, mut peak) = (sent(machine)?, Instant::now(), 0.0_f64);
    while !is_over.load(Ordering::Relaxed) {
        thread::sleep(SAMPLE);
        let (now, elapsed) = (sent(machine)?, at.elapsed().as_secs_f64());
        at = Instant::now();
        peak = peak.max((now - last) / elapsed);
        last = now;
    }
    Ok(peak)
}

/// What a machine has sent in all, in MiB.
fn sent(machine: &Machine) -> Result<f64> {
    let bytes = machine.run(&["cat", "/sys/class/net/eth0/statistics/tx_bytes"]).out();
    let bytes: f64 = bytes.trim().parse().context("how much the core has sent")?;
    Ok(bytes / f64::from(1 << 20))
}
