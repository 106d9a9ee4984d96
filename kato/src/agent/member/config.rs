//! The configuration as this node sees it: followed and kept on disk, so that the node can say which revision it has seen.

use cluster::config::Config;

use super::{Member, Patience, images};

/// Follow the configuration, for ever.
pub async fn follow(member: &Member) {
    let cache = member.paths.agent_config_cache();
    let mut patience = Patience::new("read the configuration");
    let mut node = member.node.subscribe();
    loop {
        let name = node.borrow_and_update().name.clone();
        let config = Config::for_node(member.store.clone(), name.clone());
        let mut live = match config.watch(&cache).await {
            Ok(live) => live,
            Err(error) => {
                patience.wait(&error).await;
                continue;
            }
        };
        patience.restore();
        let renamed = node.wait_for(|node| node.name != name);
        tokio::pin!(renamed);
        loop {
            let current = live.current();
            let location = &current.cluster.registry.location;
            member.registry.send_if_modified(|known| {
                let is_news = known.as_ref() != Some(location);
                *known = Some(location.clone());
                is_news
            });
            let policy = Some(images::policy(&current.fence));
            member.images.send_if_modified(|known| {
                let is_news = *known != policy;
                *known = policy;
                is_news
            });
            let revision = current.revision;
            if member.config_revision.send_replace(Some(revision)) != Some(revision) {
                member.stir();
            }
            tokio::select! {
                changed = live.changed() => if changed.is_none() { break },
                _ = &mut renamed => break,
            }
        }
    }
}
