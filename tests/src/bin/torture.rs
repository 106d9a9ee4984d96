//! Tortures the daemon for as long as one likes, and prints a record of it.
//!
//! `cargo run -p tests --bin torture -- [--rounds N] [--cycles N] [--seed N]`, after the builds that `docs/faults.md` names.
//! A round is a kill at one of the fault points, chosen at random; everything is compared after every tenth. A cycle is a
//! container made, used and destroyed. The same seed asks for the same things in the same order; what the machine makes
//! of them is never the same.

use std::io::Write;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tests::harness::Node;
use tests::torture::cycles::{self, Figures};
use tests::torture::{Torture, points};

const BETWEEN_CHECKS: u64 = 10;
/// How often a run of cycles tells its figures.
const TELLS: u64 = 10;

struct Arguments {
    rounds: u64,
    cycles: u64,
    seed: u64,
}

fn main() -> Result<()> {
    let arguments = read(std::env::args().skip(1))?;
    if arguments.rounds > 0 {
        rounds(&arguments)?;
    }
    if arguments.cycles > 0 {
        turn(arguments.cycles)?;
    }
    Ok(())
}

fn read(mut given: impl Iterator<Item = String>) -> Result<Arguments> {
    let since = std::time::UNIX_EPOCH.elapsed().context("the clock")?;
    let mut arguments = Arguments {
        rounds: 0,
        cycles: 0,
        seed: since.as_secs(),
    };
    while let Some(name) = given.next() {
        let value = given.next().with_context(|| format!("{name} needs a number"))?;
        let value: u64 = value.parse().with_context(|| format!("{name} {value}"))?;
        match name.as_str() {
            "--rounds" => arguments.rounds = value,
            "--cycles" => arguments.cycles = value,
            "--seed" => arguments.seed = value,
            _ => bail!("{name} is not known; there are --rounds, --cycles and --seed"),
        }
    }
    if arguments.rounds + arguments.cycles == 0 {
        bail!("nothing to do; say --rounds N or --cycles N");
    }
    Ok(arguments)
}

fn rounds(arguments: &Arguments) -> Result<()> {
    let begun = Instant::now();
    tell(&format!("seed {}, {} rounds", arguments.seed, arguments.rounds))?;
    let mut torture = Torture::new(arguments.seed);
    let mut done = 0;
    while done < arguments.rounds {
        let next = BETWEEN_CHECKS.min(arguments.rounds - done);
        torture.kill_anywhere(next);
        done += next;
        if done % (BETWEEN_CHECKS * 5) == 0 {
            let (longest, last) = torture.longest();
            let (so_far, longest) = (begun.elapsed().as_secs(), longest.as_secs_f64());
            tell(&format!(
                "{done} rounds after {so_far} s; in order after {longest:.1} s at the longest, last: {last}"
            ))?;
        }
    }
    torture.destroy_all();
    torture.check();
    for point in points::all() {
        let kills = torture.kills().get(&point).copied().unwrap_or(0);
        tell(&format!("{kills:>5}  {point}"))?;
    }
    let (longest, last) = torture.longest();
    tell(&format!(
        "in order after {:.1} s at the longest, last: {last}",
        longest.as_secs_f64()
    ))?;
    let counts = torture.counts();
    tell(&format!(
        "{done} kills in {} s; of the clients' calls {} were acknowledged, {} refused, {} cut off; \
         nothing acknowledged is missing, nothing else is left",
        begun.elapsed().as_secs(),
        counts.acknowledged,
        counts.refused,
        counts.open
    ))
}

fn turn(times: u64) -> Result<()> {
    let begun = Instant::now();
    let node = Node::fence_only();
    let before = cycles::warmed_up(&node, 20, true)?;
    tell(&format!("{times} cycles\n    before: {before}"))?;
    let mut done = 0;
    while done < times {
        let next = times.div_ceil(TELLS).min(times - done);
        cycles::turn(&node, next)?;
        done += next;
        tell(&format!("{done:>6}: {}", Figures::of(&node, true)))?;
    }
    let after = cycles::settled(&node, &before, true);
    tell(&format!(
        "     after: {after}\nnothing has grown in {} s",
        begun.elapsed().as_secs()
    ))
}

fn tell(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}
