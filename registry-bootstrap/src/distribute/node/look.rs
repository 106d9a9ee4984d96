//! Looks at the node's images and says how they are: how far things are often while something is wished, which images there are
//! seldom.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use engine::Labels;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::super::told::{Image, MAX_NAMES, Stock, Told, short};
use super::clean::names_of;
use super::pulls::disk;
use super::{Node, house};
use crate::chain;

/// How often is looked while something is wished, and otherwise.
const BUSY: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(30);
/// How soon a Docker that did not answer is asked again.
const AGAIN: Duration = Duration::from_secs(3);
/// How long more news are waited for after some.
const GATHER: Duration = Duration::from_millis(300);
/// The same for which images there are.
const GATHER_STOCK: Duration = Duration::from_secs(2);

impl Node {
    /// Look again and again how far things are, and tell what is new.
    pub(super) async fn keep_telling(&self, told: &watch::Sender<Told>) {
        let mut wishes = self.wishes.clone();
        loop {
            let now = self.look().await;
            told.send_if_modified(|said| {
                let is_news = !said.says_the_same(&now);
                *said = now;
                is_news
            });
            let pause = if wishes.borrow_and_update().is_empty() {
                IDLE
            } else {
                BUSY
            };
            let news = async {
                tokio::select! {
                    () = self.stirred.notified() => {}
                    Ok(()) = wishes.changed() => {}
                }
            };
            // Where there is none, it is looked all the same.
            let _ = timeout(pause, news).await;
            sleep(GATHER).await;
        }
    }

    async fn look(&self) -> Told {
        let fence = self.parts.fence.in_use().await;
        if let Some(used) = fence.as_ref().filter(|used| !used.id.is_empty()) {
            self.state().known.entry(used.id.clone()).or_default();
        }
        let state = self.state();
        Told {
            at: Timestamp::now(),
            pulls: state.pulls.clone(),
            trial: state.trial.clone(),
            fence,
        }
    }

    /// Look again and again which images there are.
    pub(super) async fn keep_counting(&self, stock: &watch::Sender<Stock>) {
        loop {
            let now = self.count().await;
            stock.send_if_modified(|said| {
                let is_news = !said.says_the_same(&now);
                *said = now;
                is_news
            });
            let pause = if stock.borrow().problem.is_empty() { IDLE } else { AGAIN };
            let _ = timeout(pause, self.restocked.notified()).await;
            sleep(GATHER_STOCK).await;
        }
    }

    async fn count(&self) -> Stock {
        let (images, problem) = match self.images().await {
            Ok(images) => (images, String::new()),
            Err(error) => (Vec::new(), short(&chain(&error))),
        };
        let host = self.parts.engine.host().await.ok();
        Stock {
            at: Timestamp::now(),
            problem,
            disk: host.and_then(|host| disk(Path::new(&host.data_dir))),
            ..Stock::of(images)
        }
    }

    async fn images(&self) -> engine::Result<Vec<Image>> {
        let mut users: HashMap<String, u32> = HashMap::new();
        for container in self.parts.engine.list(&Labels::new()).await? {
            *users.entry(container.image.0).or_default() += 1;
        }
        let fence = self.parts.fence.in_use().await;
        let policy = self.policy.borrow().clone().unwrap_or_default();
        let all = self.parts.engine.images().await?.into_iter().map(|image| {
            let known = self.state().known.contains_key(&image.id.0);
            let used = fence.as_ref().is_some_and(|fence| fence.id == image.id.0);
            Image {
                names: names_of(&image)
                    .into_iter()
                    .take(MAX_NAMES)
                    .map(|name| short(&name))
                    .collect(),
                bytes: image.size_bytes,
                containers: users.get(&image.id.0).copied().unwrap_or(0),
                configured: used || house::is_configured(&policy, &image),
                kept_house: known && house::can_be_had_again(&image),
                id: image.id.0,
            }
        });
        Ok(all.collect())
    }
}
