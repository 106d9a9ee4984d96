//! Kills the daemon at its fault points while four clients make, use and destroy containers, and compares what they
//! know with what is there. The tests of the group `faults` and the program `torture` are both made of this.
//!
//! [`points`]: where, and what load comes by there. [`client`], [`deeds`] and [`job`]: the load, and what each client knows.
//! [`world`]: what is there, seen from outside. [`cycles`]: the same thing many times, and whether anything grows.

mod client;
pub mod cycles;
mod deeds;
mod images;
mod job;
mod model;
pub mod points;
mod random;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{DerivedImage, Node, base_image, derived_image, program_with_faults};
use client::Client;
pub use client::Counts;
use images::Images;
use points::{Favour, Image};
use random::Random;
use world::Expected;

const CLIENTS: usize = 4;
/// How long the load may take to lead the daemon to a point.
const HIT: Duration = Duration::from_secs(60);
/// How long a daemon may take to have everything in order after the last kill.
const IN_ORDER: Duration = Duration::from_secs(90);
/// How often the configured image changes.
const CHANGE: Duration = Duration::from_secs(2);
const RESTLESS: Duration = Duration::from_millis(100);
const NOWHERE: &str = "localhost:1/nowhere:1";
const SIGKILL: i32 = 9;

/// What all threads of a run share.
pub(crate) struct Shared {
    begun: Instant,
    stop: AtomicBool,
    /// How often a daemon was started.
    starts: AtomicU64,
    images: Images,
}

/// A node under torture.
pub struct Torture {
    node: Node,
    other: DerivedImage,
    shared: Arc<Shared>,
    clients: Vec<Client>,
    random: Random,
    /// What was nobody's before.
    foreign: BTreeSet<String>,
    kills: BTreeMap<String, u64>,
    longest: (Duration, String),
}

impl Torture {
    /// A node whose daemon has fault points.
    pub fn new(seed: u64) -> Torture {
        let node = Node::with_program(program_with_faults());
        let shared = Arc::new(Shared {
            begun: Instant::now(),
            stop: AtomicBool::new(false),
            starts: AtomicU64::new(1),
            images: Images::new(&base_image()),
        });
        let clients = (0..CLIENTS)
            .map(|number| Client::new(number, node.garden(), shared.clone(), seed))
            .collect();
        Torture {
            node,
            other: derived_image("ENV A=b"),
            shared,
            clients,
            random: Random::new(seed, 0),
            foreign: world::owned_by_nobody(),
            kills: BTreeMap::new(),
            longest: (Duration::ZERO, String::new()),
        }
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Kill the daemon that often at this point, under load.
    #[track_caller]
    pub fn kill_at(&mut self, point: &str, times: u64) {
        let favour = points::favour(point);
        if favour.ports == points::Ports::None {
            self.destroy_all();
        }
        let points: Vec<&str> = (0..times).map(|_| point).collect();
        self.kill(&points, favour);
    }

    /// Kill the daemon at one point after another, chosen at random, under a load of everything.
    #[track_caller]
    pub fn kill_anywhere(&mut self, times: u64) {
        let all = points::all();
        for _ in 0..times {
            let point = self.random.one_of(&all);
            let favour = points::favour(&point);
            if favour.ports == points::Ports::None {
                self.destroy_all();
            }
            self.kill(&[&point], favour);
        }
        self.check();
    }

    #[track_caller]
    fn kill(&mut self, points: &[&str], favour: Favour) {
        self.shared.stop.store(false, Ordering::Release);
        if favour.image == Image::Missing {
            self.node.wait_for_image(&base_image());
        }
        if favour.populated {
            self.populate();
        }
        let (node, shared, other) = (&self.node, &self.shared, self.other.name.as_str());
        let (random, kills) = (&mut self.random, &mut self.kills);
        let clients = &mut self.clients;
        let done = thread::scope(|scope| {
            let clients: Vec<_> = clients
                .iter_mut()
                .map(|client| scope.spawn(move || client.run(favour).map_err(|broken| with_log(client, &broken))))
                .collect();
            let images = scope.spawn(move || change_images(node, shared, favour.image, other));
            let mut failed = None;
            for point in points {
                let hit = 1 + random.below(favour.hits);
                if let Err(why) = kill_once(node, shared, point, hit, &clients) {
                    failed = Some(why);
                    break;
                }
                *kills.entry((*point).to_owned()).or_default() += 1;
            }
            start(node, shared, "");
            shared.stop.store(true, Ordering::Release);
            let mut ends: Vec<String> = clients
                .into_iter()
                .filter_map(|client| client.join().unwrap_or(Err("a client has panicked".into())).err())
                .collect();
            ends.extend(failed);
            drop(images.join());
            ends
        });
        let problems = self.node.status().map(|status| status["problems"].to_string());
        assert!(
            done.is_empty(),
            "killed at {points:?}: {}\n{problems:?}",
            done.join("\n\n")
        );
    }

    /// Nothing acknowledged is missing and nothing else is left.
    #[track_caller]
    pub fn check(&mut self) {
        let begun = Instant::now();
        let waited_for = self.wait_until_in_order();
        let took = begun.elapsed();
        if took > self.longest.0 {
            self.longest = (took, waited_for);
        }
    }

    /// Gives what was the last thing to be put in order.
    #[track_caller]
    fn wait_until_in_order(&self) -> String {
        let mut last = String::new();
        let containers = self.clients.iter().flat_map(|client| &client.containers);
        let expected: Vec<Expected> = containers
            .clone()
            .map(|container| Expected {
                instance: container.instance.clone(),
                ports: container.ports.clone(),
            })
            .collect();
        let known: BTreeSet<String> = containers.map(|container| container.handle.clone()).collect();
        let deadline = Instant::now() + IN_ORDER;
        loop {
            let mut found = world::differences(&self.node, &expected, &self.foreign);
            match self.node.garden().list(&[]) {
                Ok(listed) if listed.iter().cloned().collect::<BTreeSet<_>>() == known => {}
                other => found.push(format!("listed is {other:?}, known are {known:?}")),
            }
            let problems = self.node.status().map(|status| status["problems"].clone());
            if !matches!(&problems, Ok(problems) if problems.as_array().is_some_and(Vec::is_empty)) {
                found.push(format!("problems: {problems:?}"));
            }
            if found.is_empty() {
                return last;
            }
            let logs: Vec<String> = self.clients.iter().map(|client| with_log(client, "")).collect();
            assert!(Instant::now() < deadline, "{}\n{}", found.join("\n"), logs.join("\n"));
            last = found.join("; ");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The longest that the daemon took to have everything in order after a kill, and what came last.
    pub fn longest(&self) -> &(Duration, String) {
        &self.longest
    }

    /// Destroy everything.
    #[track_caller]
    pub fn destroy_all(&mut self) {
        for client in &mut self.clients {
            let done = client.destroy_all().map_err(|broken| with_log(client, &broken));
            assert!(done.is_ok(), "{done:?}");
        }
    }

    /// Give every client something that the daemon has to take over.
    #[track_caller]
    fn populate(&mut self) {
        for client in &mut self.clients {
            let done = client.have_one().map_err(|broken| with_log(client, &broken));
            assert!(done.is_ok(), "{done:?}");
        }
    }

    /// How often the daemon was killed at each point.
    pub fn kills(&self) -> &BTreeMap<String, u64> {
        &self.kills
    }

    /// What the clients' calls came to, all together.
    pub fn counts(&self) -> Counts {
        let mut all = Counts::default();
        for Client { counts, .. } in &self.clients {
            all.acknowledged += counts.acknowledged;
            all.refused += counts.refused;
            all.open += counts.open;
        }
        all
    }
}

type Ends<'scope> = thread::ScopedJoinHandle<'scope, Result<(), String>>;

/// Start a daemon that dies there, and wait until it has.
fn kill_once(node: &Node, shared: &Shared, point: &str, hit: u64, clients: &[Ends]) -> Result<(), String> {
    let before = hits(node, point);
    start(node, shared, &format!("{point}:{hit}"));
    let deadline = Instant::now() + HIT;
    let ended = loop {
        if let Some(ended) = node.fence_ended() {
            break Some(ended);
        }
        if Instant::now() > deadline || clients.iter().any(|client| client.is_finished()) {
            break None;
        }
        thread::sleep(Duration::from_millis(1));
    };
    match ended {
        Some(ended) if killed(&ended) && hits(node, point) == before + 1 => Ok(()),
        Some(ended) => Err(format!("fence ended with {ended}, not at {point}")),
        None => Err(format!("fence did not come by {point} {hit} times")),
    }
}

/// The one before, if there is one, goes as one does that is killed anywhere.
fn start(node: &Node, shared: &Shared, fault: &str) {
    node.kill_fence();
    shared.starts.fetch_add(1, Ordering::AcqRel);
    node.spawn_fence_with(&[("FENCE_FAULT", fault)]);
}

fn killed(ended: &ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    ended.signal() == Some(SIGKILL)
}

/// How often the point was hit, by the daemon's own word.
fn hits(node: &Node, point: &str) -> usize {
    let line = format!("fault: {point}");
    let logs = node.logs().into_values();
    logs.map(|log| log.lines().filter(|it| *it == line).count()).sum()
}

/// Configure one image after the other until told to stop, and then the first.
fn change_images(node: &Node, shared: &Shared, how: Image, other: &str) {
    let base = base_image();
    let pause = if how == Image::Restless { RESTLESS } else { CHANGE };
    let set = |name: &str| drop(node.kato(&["config", "set", "fence", "docker/image", name]).ok());
    let set_present = |name: &str| {
        shared.images.asked(name);
        set(name);
        shared.images.acknowledged();
    };
    if how == Image::Missing {
        set(NOWHERE);
    }
    let mut changed = Instant::now();
    let mut names = [other, base.as_str()].into_iter().cycle();
    while !shared.stop.load(Ordering::Acquire) {
        thread::sleep(Duration::from_millis(10));
        if how != Image::Missing && changed.elapsed() > pause {
            names.next().map(set_present);
            changed = Instant::now();
        }
    }
    set_present(&base);
}

fn with_log(client: &Client, broken: &str) -> String {
    let log: Vec<&str> = client.log.iter().map(String::as_str).collect();
    format!("{broken}\n  {}", log.join("\n  "))
}
