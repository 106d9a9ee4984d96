//! Has the node's Docker hold the images that are wished, one after the other: by their digests, which Docker checks.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use engine::{Error, Image, Progress};
use nix::sys::statvfs::statvfs;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};
use uuid::Uuid;

use super::super::told::{self, Disk, PullState, short};
use super::super::wish::Pull;
use super::Node;
use crate::chain;

/// How long a registry that does not answer is waited for, from the first to the longest pause.
const PATIENCE: Duration = Duration::from_secs(300);
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// How often what went wrong in another way is tried again.
const TRIES: usize = 3;
/// What an image takes on the disk, for each byte that comes over the network, while it is unpacked beside what came.
const UNPACKED: u64 = 3;
/// What stays free besides.
const SPARE: u64 = 256 << 20;
/// Steps of a pull that wait to be read.
const WAITING: usize = 256;

impl Node {
    /// Have what is wished, for ever.
    pub(super) async fn have_pulled(&self) {
        let mut wishes = self.wishes.clone();
        loop {
            let wanted = wishes.borrow_and_update().pulls.clone();
            self.forget_pulls(&wanted);
            for pull in wanted.iter().take(told::MAX_PULLS) {
                let mut later = self.wishes.clone();
                let is_gone = later.wait_for(|now| !now.pulls.iter().any(|other| other.job == pull.job));
                tokio::select! {
                    () = self.have(pull) => {}
                    _ = is_gone => break,
                }
            }
            if wishes.changed().await.is_err() {
                // Nobody wishes anything any more.
                return;
            }
        }
    }

    fn forget_pulls(&self, wanted: &[Pull]) {
        let mut state = self.state();
        state.pulls.retain(|job, _| wanted.iter().any(|pull| pull.job == *job));
        for pull in wanted.iter().take(told::MAX_PULLS) {
            state.pulls.entry(pull.job).or_default();
        }
    }

    /// Have one image and its name, unless that is so or cannot be.
    async fn have(&self, pull: &Pull) {
        let known = self.state().pulls.get(&pull.job).cloned().unwrap_or_default();
        if known.state == PullState::Failed || known.state == PullState::Here && known.named != pull.name.is_empty() {
            return;
        }
        match self.pulled(pull).await {
            Ok(image) => {
                self.state().known.insert(image.id.0.clone(), 0);
                let named = self.named(pull, &image).await;
                self.tell_pull(pull.job, |told| {
                    told.state = PullState::Here;
                    told.named = named;
                    told.problem.clear();
                });
                self.restocked.notify_one();
            }
            Err(problem) => {
                warn!(image = pull.exact, problem, "an image cannot be had");
                self.tell_pull(pull.job, |told| {
                    told.state = PullState::Failed;
                    told.problem = short(&problem);
                });
            }
        }
    }

    /// The image, pulled where it is not here; why it cannot be had.
    async fn pulled(&self, pull: &Pull) -> Result<Image, String> {
        let (begun, mut pause, mut failures) = (Instant::now(), PAUSES.0, 0);
        loop {
            let error = match self.parts.engine.image(&pull.exact).await {
                Ok(image) => return Ok(image),
                Err(error) if error.is_not_found() => {
                    self.has_room(pull).await?;
                    match self.pull(pull).await {
                        Ok(image) => return Ok(image),
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            failures += 1;
            let again = match &error {
                error if error.is_temporary() => begun.elapsed() < PATIENCE,
                Error::Failed { .. } => failures < TRIES,
                _ => false,
            };
            let problem = chain(&error);
            if !again {
                return Err(problem);
            }
            self.tell_pull(pull.job, |told| told.problem = short(&problem));
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn pull(&self, pull: &Pull) -> engine::Result<Image> {
        info!(image = pull.exact, "pulls an image");
        self.tell_pull(pull.job, |told| {
            told.state = PullState::Pulling;
            told.total = pull.bytes;
        });
        let account = engine::account(&self.parts.accounts, &pull.exact);
        let (sender, mut steps) = mpsc::channel(WAITING);
        let pulling = self.parts.engine.pull(&pull.exact, account.as_ref(), sender);
        tokio::pin!(pulling);
        let mut came = Came::default();
        loop {
            tokio::select! {
                done = &mut pulling => return done,
                Some(step) = steps.recv() => {
                    let current = came.with(step);
                    self.tell_pull(pull.job, |told| {
                        told.current = current;
                        told.total = told.total.max(current);
                    });
                }
            }
        }
    }

    /// Refuse what does not fit on the disk before anything of it is there.
    async fn has_room(&self, pull: &Pull) -> Result<(), String> {
        let Ok(host) = self.parts.engine.host().await else {
            // It is asked for the image next, and says what is wrong.
            return Ok(());
        };
        let needed = pull.bytes.saturating_mul(UNPACKED).saturating_add(SPARE);
        match disk(Path::new(&host.data_dir)) {
            Some(disk) if disk.free < needed => Err(format!(
                "the disk of {} has {} MiB free, and the image takes about {} MiB with what is to stay free",
                host.data_dir,
                disk.free >> 20,
                needed >> 20
            )),
            _ => Ok(()),
        }
    }

    /// Whether the image has the name that was wished.
    async fn named(&self, pull: &Pull, image: &Image) -> bool {
        if pull.name.is_empty() || self.is_anothers(pull, image).await {
            return false;
        }
        let tagged = self.parts.engine.tag(&image.id.0, &pull.name).await;
        if let Err(error) = &tagged {
            warn!(name = pull.name, error = chain(error), "could not name an image");
        }
        tagged.is_ok()
    }

    /// Whether the name is configured and is another image's here: whoever looks it up next would get this one untried.
    async fn is_anothers(&self, pull: &Pull, image: &Image) -> bool {
        let policy = self.policy.borrow().clone().unwrap_or_default();
        if !policy.configured.contains(&pull.name) {
            return false;
        }
        let present = self.parts.engine.image(&pull.name).await;
        let is_anothers = present.is_ok_and(|present| present.id != image.id);
        if is_anothers {
            info!(
                name = pull.name,
                "the name is configured and stays with the image that it has"
            );
        }
        is_anothers
    }

    fn tell_pull(&self, job: Uuid, change: impl FnOnce(&mut told::Pull)) {
        if let Some(told) = self.state().pulls.get_mut(&job) {
            change(told);
        }
        self.stir();
    }
}

/// The disk that a directory is on, where it can be seen.
pub(super) fn disk(directory: &Path) -> Option<Disk> {
    let stat = statvfs(directory).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
    Some(Disk {
        size: bytes(stat.blocks()),
        free: bytes(stat.blocks_available()),
    })
}

/// What came over the network so far, by layer.
#[derive(Default)]
struct Came(HashMap<String, u64>);

impl Came {
    /// The most layers that are counted.
    const MOST: usize = 1024;

    fn with(&mut self, step: Progress) -> u64 {
        let is_known = self.0.contains_key(&step.layer) || self.0.len() < Came::MOST;
        if step.status == "Downloading" && is_known {
            self.0.insert(step.layer, step.current);
        }
        self.0.values().fold(0, |all, one| all.saturating_add(*one))
    }
}
